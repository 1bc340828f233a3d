"""The innermost loop of a packed product: a tile of C in vector registers over K, in LLVM's IR.

Six rows of four vectors are 24 accumulators in AVX-512's 32 registers, four rows of three 12 in
AVX2's 16; each term costs a load for each vector and for each row, and a multiply-add for each
accumulator.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core.cgutils import get_or_insert_function
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError

ROWS = {64: 6, 32: 4}
VECTORS = {64: 4, 32: 3}
"""Of a tile of C, by the bytes of a vector."""


def compiled_for() -> frozenset[str]:
    """The CPU features, as LLVM spells them, that numba compiles for in this process."""
    found = cpu_target.target_context.codegen().magic_tuple()[2]
    return frozenset(name[1:] for name in found.split(",") if name.startswith("+"))


def vector_bytes(device: Device) -> int:
    """64 or 32: what both the device and numba's compiler have.

    Raises GemmbenchError where numba was told to compile for a CPU without AVX2.
    """
    compiler = compiled_for()
    if "avx512f" in device.features and compiler >= {"avx512f", "avx512bw", "fma"}:
        return 64
    if compiler >= {"avx2", "fma"}:
        return 32
    raise GemmbenchError(
        "numba compiles without AVX2 and FMA here: unset NUMBA_CPU_NAME, NUMBA_CPU_FEATURES and "
        "NUMBA_ENABLE_AVX"
    )


def _multiply_add(builder: Any, x: Any, y: Any, z: Any) -> Any:
    """z + x · y; of int32 words each of two int16 terms, z + x₀ · y₀ + x₁ · y₁.

    LLVM makes one instruction of the two where the CPU has VNNI.
    """
    vector = x.type
    lanes = vector.count
    bits = lanes * _size(vector.element) * 8
    if not isinstance(vector.element, ir.IntType):
        name = f"llvm.fma.v{lanes}f{bits // lanes}"
        fma = get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), name)
        return builder.call(fma, [x, y, z])
    halves = ir.VectorType(ir.IntType(16), 2 * lanes)
    name = "llvm.x86.avx512.pmaddw.d.512" if bits == 512 else "llvm.x86.avx2.pmadd.wd"
    dot = get_or_insert_function(builder.module, ir.FunctionType(vector, [halves] * 2), name)
    return builder.add(
        z, builder.call(dot, [builder.bitcast(x, halves), builder.bitcast(y, halves)])
    )


def _size(kind: Any) -> int:
    return 8 if isinstance(kind, ir.DoubleType) else 4


@intrinsic(prefer_literal=True)
def microkernel(
    _typing: Any,
    c: Any,
    ldc: Any,  # noqa: ARG001
    a: Any,
    b: Any,
    depth: Any,  # noqa: ARG001
    first: Any,  # noqa: ARG001
    width: Any,
) -> Any:
    """c[r · ldc + j] (+)= Σ a[k · rows + r] · b[k · columns + j]; `first`: c holds nothing yet.

    Pointers to elements of one type; `width` is the bytes of a vector, a constant.
    """
    size_of_vector = width.literal_value
    rows, vectors = ROWS[size_of_vector], VECTORS[size_of_vector]

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        c, ldc, a, b, depth, first, _ = values
        kind = context.get_value_type(signature.args[0].dtype)
        size = _size(kind)
        lanes = size_of_vector // size
        vector, index, lane = ir.VectorType(kind, lanes), depth.type, ir.IntType(32)
        places = [
            builder.gep(c, [builder.add(builder.mul(ldc, index(row)), index(lanes * part))])
            for row in range(rows)
            for part in range(vectors)
        ]

        def load(place: Any) -> Any:
            found = builder.load(builder.bitcast(place, vector.as_pointer()))
            found.align = size
            return found

        def store(value: Any, place: Any) -> None:
            builder.store(value, builder.bitcast(place, vector.as_pointer())).align = size

        # C is wanted only after the loop: until then it can be on its way from memory.
        byte = ir.IntType(8).as_pointer()
        hint = ir.FunctionType(ir.VoidType(), [byte, lane, lane, lane])
        prefetch = get_or_insert_function(builder.module, hint, "llvm.prefetch.p0")
        for place in places:
            builder.call(prefetch, [builder.bitcast(place, byte), lane(1), lane(3), lane(1)])

        nothing = ir.Constant(vector, ir.Undefined)
        everywhere = ir.Constant(ir.VectorType(lane, lanes), None)
        entry, loop = builder.block, builder.append_basic_block("terms")
        builder.branch(loop)
        builder.position_at_end(loop)
        k, sums = builder.phi(index), [builder.phi(vector) for _ in places]
        at_a, at_b = builder.mul(k, index(rows)), builder.mul(k, index(vectors * lanes))
        of_b = [
            load(builder.gep(b, [builder.add(at_b, index(lanes * part))]))
            for part in range(vectors)
        ]
        totals = []
        for row in range(rows):
            one = builder.load(builder.gep(a, [builder.add(at_a, index(row))]))
            spread = builder.insert_element(nothing, one, lane(0))
            spread = builder.shuffle_vector(spread, nothing, everywhere)
            for part in range(vectors):
                acc = sums[row * vectors + part]
                totals.append(_multiply_add(builder, spread, of_b[part], acc))
        following = builder.add(k, index(1))
        zero = ir.Constant(vector, None)
        starts = (index(0), *(zero for _ in sums))
        for value, start, update in zip((k, *sums), starts, (following, *totals), strict=True):
            value.add_incoming(start, entry)
            value.add_incoming(update, loop)
        done = builder.append_basic_block("done")
        builder.cbranch(builder.icmp_signed("<", following, depth), loop, done)
        builder.position_at_end(done)
        plus = builder.add if isinstance(kind, ir.IntType) else builder.fadd
        with builder.if_else(first) as (fresh, more):
            with fresh:
                for place, total in zip(places, totals, strict=True):
                    store(total, place)
            with more:
                for place, total in zip(places, totals, strict=True):
                    store(plus(load(place), total), place)
        return context.get_dummy_value()

    whole = types.intp
    return types.void(c, whole, a, b, whole, types.boolean, width), generate


@intrinsic
def moved(_typing: Any, pointer: Any, elements: Any) -> Any:  # noqa: ARG001
    """The pointer so many elements further on."""

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.gep(values[0], [values[1]])

    return pointer(pointer, types.intp), generate
