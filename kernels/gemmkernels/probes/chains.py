"""Independent chains of multiply-adds on a CPU's vector registers, in LLVM's IR.

Each step adds a product to every accumulator; enough accumulators hide the latency of the units,
and all of it stays in registers, so nothing but those units sets the pace. Starts, factors and the
number of steps are known only at run time: no compiler can shorten the loop.
"""

from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic


@dataclass(frozen=True)
class Shape:
    """What fills the registers: accumulators, and factors x and y of which each takes a pair."""

    accumulators: int
    x: int
    y: int

    @property
    def vectors(self) -> int:
        """Vectors that a probe is given: starts, then x, then y."""
        return self.accumulators + self.x + self.y

    def pair(self, index: int) -> tuple[int, int]:
        """Which x and which y an accumulator's products are of."""
        return index % self.x, index % self.y


SHAPES = {64: Shape(24, 4, 3), 32: Shape(12, 2, 1)}
"""By the bytes of a vector: AVX-512 has 32 registers, AVX2 16. Units that take 5 cycles and start
two products in each need ten accumulators."""

_WORDS = {
    "fp64": (ir.DoubleType(), 8, ""),
    "fp32": (ir.FloatType(), 4, ""),
    "bf16": (ir.FloatType(), 4, "vdpbf16ps"),
    "int8": (ir.IntType(32), 4, "vpdpbusd"),
}
"""A word of an accumulator, its bytes, and the instruction where LLVM has no fma for it.

Of the instruction's types LLVM changed its mind from version to version; assembly stays.
"""


def _multiply_add(builder: Any, precision: str, vector: Any, total: Any, x: Any, y: Any) -> Any:
    _, size, instruction = _WORDS[precision]
    if instruction:
        prefix = "{vex} " if instruction == "vpdpbusd" and vector.count * size == 32 else ""
        given = ir.FunctionType(vector, [vector] * 3)
        text = f"{prefix}{instruction} $2, $1, $0"
        return builder.asm(given, text, "=v,v,v,0", (x, y, total), side_effect=False)
    name = f"llvm.fma.v{vector.count}f{8 * size}"
    fma = get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), name)
    return builder.call(fma, [x, y, total])


@intrinsic(prefer_literal=True)
def chains(
    _typing: Any,
    given: Any,
    steps: Any,  # noqa: ARG001
    out: Any,
    precision: Any,
    width: Any,
) -> Any:
    """out[i] = given[i] + steps · (x · y of accumulator i), vector by vector.

    `given` and `out` point to bytes; `width` is the bytes of a vector. It and `precision` are
    constants. `steps` is at least 1.
    """
    name, size = precision.literal_value, width.literal_value
    shape = SHAPES[size]
    kind, bytes_of_word, _ = _WORDS[name]

    def generate(context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        given, steps, out, _, _ = values
        vector, index = ir.VectorType(kind, size // bytes_of_word), steps.type

        def place(pointer: Any, number: int) -> Any:
            at = builder.gep(pointer, [index(number * size)])
            return builder.bitcast(at, vector.as_pointer())

        loaded = [builder.load(place(given, number)) for number in range(shape.vectors)]
        for one in loaded:
            one.align = 1
        starts = loaded[: shape.accumulators]
        x = loaded[shape.accumulators : shape.accumulators + shape.x]
        y = loaded[shape.accumulators + shape.x :]
        entry, loop = builder.block, builder.append_basic_block("steps")
        builder.branch(loop)
        builder.position_at_end(loop)
        step = builder.phi(index)
        sums = [builder.phi(vector) for _ in starts]
        totals = []
        for number, total in enumerate(sums):
            of_x, of_y = shape.pair(number)
            totals.append(_multiply_add(builder, name, vector, total, x[of_x], y[of_y]))
        following = builder.add(step, index(1))
        first = (index(0), *starts)
        for value, start, update in zip((step, *sums), first, (following, *totals), strict=True):
            value.add_incoming(start, entry)
            value.add_incoming(update, loop)
        done = builder.append_basic_block("done")
        builder.cbranch(builder.icmp_signed("<", following, steps), loop, done)
        builder.position_at_end(done)
        for number, total in enumerate(totals):
            builder.store(total, place(out, number)).align = 1
        return context.get_dummy_value()

    return types.void(given, types.int64, out, precision, width), generate
