"""Is a kernel right? An exact check that finds one wrong element, and a derived rounding bound.

Exact: A and B hold small integers, built so that every partial sum of C on the way passes 2¹²
(more for wider types), while C itself is small: column K-1-k of A is minus its column k, plus a
sparse difference. All is exact in the promised accumulator, so C must be equal bit for bit; one
that is too short, a dropped tile, swapped rows or one wrong element are not.

Rounding: the timed distribution against float64 of the operands as stored. The bound is the
probabilistic one of Higham & Mary, "A new approach to probabilistic rounding error analysis"
(SIAM J. Sci. Comput. 41(5), 2019): |C - R| <= γ̃_K(λ) |A||B| with γ̃_K(λ) = exp(λ √K u + K u² /
(1 - u)) - 1, which fails for one element with probability below 2 K exp(-λ² (1 - u)² / 2).
"""

import math
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gemmkernels import encoding
from gemmkernels.operands import Operands, fill, poison, product, values
from gemmkernels.precision import Precision

if TYPE_CHECKING:
    import torch

Execute = Callable[[], "tuple[torch.Tensor, ...]"]
"""Runs the timed launch once and returns the output of each operand set that it wrote."""

PRODUCT_FLOP = {"cpu": 1e11, "gpu": 1e12}
"""Past this many FLOP the exact check is Freivalds': a float64 product would take seconds."""

ROUNDING_FLOP = {"cpu": 2e9, "gpu": 4e11}
"""FLOP of the float64 products of the rounding check: it looks at as many rows as fit."""

VECTORS = 20
"""Freivalds' check misses a wrong row with probability 2⁻²⁰."""

FAILURE = 1e-6
"""Probability that a right kernel exceeds the rounding bound anywhere."""

CACHED_BYTES = 256 * 2**20


class WrongError(Exception):
    """The kernel is wrong, and where."""


@dataclass(frozen=True, kw_only=True)
class Numerics:
    """Constants of a precision. `unit_in`: relative error of an input inside the unit;
    `unit_acc`: of one addition; `unit_out`: of the final rounding. `largest`: integers up to it
    are exact inputs. `partial`: what the partial sums of the exact check pass. `source` of
    `unit_acc`.
    """

    unit_in: float = 0.0
    unit_acc: float = 2.0**-23
    unit_out: float
    largest: int
    partial: float = 6000.0
    least: int = 0
    source: str = (
        "fp32 sums truncated, not rounded: Fasi, Higham, Mikaitis & Pranesh, "
        "Numerical behavior of NVIDIA tensor cores, PeerJ CS 7:e330, 2021"
    )


_HOPPER_FP8 = (
    "fp8 sums of 14 bits on Hopper: DeepSeek-V3 technical report (arXiv 2412.19437), section 3.3.2"
)
_NUMERICS = {
    # A of 25 bits: an fp32 step anywhere would lose its last ones.
    "fp64": Numerics(
        unit_acc=2.0**-53,
        unit_out=0.0,
        largest=2**25,
        least=2**24 + 1,
        partial=2.0**33,
        source="IEEE 754",
    ),
    # A of 12 bits: TF32 would lose the last one.
    "fp32": Numerics(unit_out=0.0, largest=4095, least=2049, partial=2.0**22),
    "tf32": Numerics(unit_in=2.0**-10, unit_out=0.0, largest=2048),
    # Two bf16 hold 16 bits; the product of the low halves is left out. A of 12 bits, B of 8: B has
    # no low half, all is exact, and TF32 would lose A's last bit.
    "bf16x3": Numerics(unit_in=2.0**-16, unit_out=0.0, largest=4095, least=2049, partial=2.0**18),
    "fp16": Numerics(unit_out=2.0**-11, largest=2048),
    "bf16": Numerics(unit_out=2.0**-8, largest=256),
    "fp8_e4m3": Numerics(
        unit_acc=2.0**-13, unit_out=2.0**-8, largest=16, partial=5000.0, source=_HOPPER_FP8
    ),
    "fp8_e5m2": Numerics(
        unit_acc=2.0**-13, unit_out=2.0**-8, largest=8, partial=5000.0, source=_HOPPER_FP8
    ),
    "int8": Numerics(unit_acc=0.0, unit_out=0.0, largest=127, partial=2.0**17, source="exact"),
    "mxfp8": Numerics(unit_out=2.0**-8, largest=16, partial=5000.0),
    "mxfp4": Numerics(unit_out=2.0**-8, largest=4),
    "nvfp4": Numerics(unit_out=2.0**-8, largest=4),
}


def numerics(precision: Precision) -> Numerics:
    """The constants that hold for a precision on any device."""
    return _NUMERICS[precision.arithmetic]


@dataclass(kw_only=True)
class Verifier:
    """Checks kernels on the operands of one problem, whose first set it refills in place.

    References are kept between kernels where they are small. `data` and `seed` name the timed
    inputs; `restore()` puts them back.
    """

    operands: Operands
    data: str = "normal"
    seed: int = 0
    checks: int = 0
    error: float = 0.0
    rows: int = 0
    _exact: "dict[int, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]" = field(
        default_factory=dict
    )
    _rounding: "tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None" = None

    @property
    def exact_by(self) -> str:
        problem = self.operands.problem
        limit = PRODUCT_FLOP[self.operands.device.kind]
        return "product" if problem.flop <= limit else "freivalds"

    def begin(self) -> None:
        """Forget what was seen of the last kernel."""
        self.checks, self.error, self.rows = 0, 0.0, 0

    def restore(self) -> None:
        """Fill the first set with the timed distribution."""
        fill(self.operands, data=self.data, seed=self.seed)

    def exact(
        self, execute: Execute, *, salt: int, spread: Callable[[], None] | None = None
    ) -> None:
        """Refill with integers, run, compare bit for bit. Raises WrongError.

        `salt` chooses the integers: another one than the last time finds a kernel that returns
        its last result. `spread` copies the inputs to the other operand sets.
        """
        reference = self._fill_exact(salt)
        for index, out in enumerate(self._run(execute, spread)):
            where = f" of operand set {index}" if index else ""
            if reference is not None:
                _compare_exact(out, reference, where)
            else:
                _freivalds(self.operands, out, salt, where)

    def rounding(self, execute: Execute, *, spread: Callable[[], None] | None = None) -> None:
        """Run on the timed data and hold the errors against the bound. Raises WrongError."""
        self.restore()
        rows, reference, bound = self._bound()
        self.rows = len(rows)
        for index, out in enumerate(self._run(execute, spread)):
            where = f" of operand set {index}" if index else ""
            found = _rows(out, rows).double()
            self.error = max(self.error, hold(found, reference, bound, rows, where))

    def _run(
        self, execute: Execute, spread: Callable[[], None] | None
    ) -> "tuple[torch.Tensor, ...]":
        poison(self.operands)
        if spread:
            spread()
        self.checks += 1
        return execute()

    def _fill_exact(self, salt: int) -> "torch.Tensor | None":
        """Inputs in place; the reference, or None where Freivalds' check is to be used."""
        operands = self.operands
        _scale_exactly(operands)
        if kept := self._exact.get(salt):
            operands.a.copy_(kept[0])
            operands.b.copy_(kept[1])
            return kept[2]
        fill_exact(operands, salt)
        if self.exact_by == "freivalds":
            return None
        reference = product(operands, *values(operands)).to(operands.out.dtype)
        size = sum(t.numel() * t.element_size() for t in (operands.a, operands.b, reference))
        if size <= CACHED_BYTES:
            self._exact[salt] = (operands.a.clone(), operands.b.clone(), reference)
        return reference

    def _bound(self) -> "tuple[torch.Tensor, torch.Tensor, torch.Tensor]":
        """(rows, R, bound) of the rows looked at: first, last, and a seeded choice between."""
        if self._rounding is not None:
            return self._rounding
        operands, problem = self.operands, self.operands.problem
        device = operands.a.device
        each = 4 * problem.batch * problem.n * problem.k
        wanted = min(problem.m, max(8, int(ROUNDING_FLOP[operands.device.kind] / each)))
        wanted = problem.m if problem.experts > 1 else wanted  # no row of any expert is left out
        rows = sample(problem.m, wanted, seed=self.seed).to(device)
        a, b = values(operands)
        a = _rows(a, rows)
        reference, size = product(operands, a, b), product(operands, a.abs(), b.abs())
        constants = numerics(problem.numerics)
        terms = problem.batch * problem.m * problem.n * problem.k
        size_of = gamma(problem.k, constants.unit_acc, terms) + 2 * constants.unit_in
        # Two more roundings in fp32: of the scales' product, and of the scaled sum.
        last = constants.unit_out + (2.0**-22 if operands.scale_a is not None else 0.0)
        bound = size * size_of * (1 + last) + reference.abs() * last
        self._rounding = (rows, reference, bound)
        return self._rounding


def gamma(k: int, unit: float, terms: int) -> float:
    """γ̃_K(λ), with λ such that all `terms` steps together fail with probability 1e-6 at most."""
    if unit == 0:
        return 0.0
    confidence = math.sqrt(2 * math.log(2 * terms / FAILURE)) / (1 - unit)
    return math.expm1(confidence * math.sqrt(k) * unit + k * unit**2 / (1 - unit))


def sample(count: int, wanted: int, *, seed: int) -> "torch.Tensor":
    """The rows to look at, in order: all, or the first, the last, and a choice of the others."""
    import torch

    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    if wanted < count:
        inner = order[(order > 0) & (order < count - 1)][: wanted - 2]
        order = torch.cat((torch.tensor([0, count - 1]), inner))
    return torch.sort(order).values


def _rows(matrix: "torch.Tensor", rows: "torch.Tensor") -> "torch.Tensor":
    return matrix.index_select(matrix.dim() - 2, rows)


def fill_exact(operands: Operands, salt: int) -> None:
    """Integers whose product is exact and whose partial sums grow large: see the module."""
    import torch

    problem = operands.problem
    constants = numerics(problem.numerics)
    a, b = operands.a, operands.b
    generator = torch.Generator(device=a.device)
    generator.manual_seed(zlib.crc32(f"exact:{salt}".encode()))
    row = problem.numerics
    wide = torch.float64 if problem.precision == "fp64" else torch.float32
    half = problem.k // 2
    pairs = max(1, half // 2 if row.sparse else half)

    def draw(shape: tuple[int, ...], mean: float) -> torch.Tensor:
        """Whole numbers of that mean, within about half of it either side, at most `largest`."""
        u, v = (
            torch.rand(shape, generator=generator, device=a.device, dtype=wide) for _ in range(2)
        )
        return (mean * (0.5 + u) + v).floor_().clamp_(max=constants.largest)

    of_a, of_b = a.shape[:-2], b.shape[:-2]
    if constants.least:  # long A, short B
        mean_b = min(2.0**9, constants.partial / pairs / (0.75 * constants.largest))
        left = torch.randint(
            constants.least,
            constants.largest,
            (*of_a, problem.m, problem.k - half),
            generator=generator,
            device=a.device,
        ).to(wide)
    else:
        mean = math.sqrt(constants.partial / pairs)
        mean_b = min(mean, constants.largest / 1.5)
        left = draw((*of_a, problem.m, problem.k - half), mean_b)
    right = draw((*of_b, problem.k - half, problem.n), mean_b)
    # A standard deviation of 30 in C keeps it within 256, which bf16 still holds exactly.
    square = float(right.square().mean()) or 1.0
    density = min(1.0, max(900.0 / (pairs * square), min(1.0, 8.0 / pairs)))
    shape = (*of_a, problem.m, half)
    sign = (
        torch.randint(0, 2, shape, generator=generator, device=a.device, dtype=torch.int8) * 2 - 1
    )
    keep = torch.rand(shape, generator=generator, device=a.device) < density
    mirrored = left[..., :half].flip(-1)
    back = (sign * keep).to(wide) - mirrored
    if constants.least == 0:
        back.clamp_(-constants.largest, constants.largest)
    if problem.k > half * 2:  # the middle column of an odd K has no partner
        left[..., half:] = sign.new_ones(1).to(wide) * (left[..., half:] % 2)
    if row.sparse:
        mask = _sparse_mask(left.shape, generator)
        left *= mask
        back *= mask.flip(-1)
    whole_a = torch.cat((left, back), dim=-1)
    whole_b = torch.cat((right, right[..., :half, :].flip(-2)), dim=-2)
    if row.is_blockwise:
        a.copy_(encoding.pack(whole_a, row))
        b.mT.copy_(encoding.pack(whole_b.mT, row))
    else:
        a.copy_(whole_a)
        b.copy_(whole_b)


def _sparse_mask(shape: tuple[int, ...], generator: "torch.Generator") -> "torch.Tensor":
    """Of each four columns two, at random, are 1; of two that are left over at the end, one.

    Mirrored, the two that are left over and their images are half of one block of four.
    """
    import torch

    drawn = torch.rand(shape, generator=generator, device=generator.device)
    whole = shape[-1] // 4 * 4
    blocks = torch.unflatten(drawn[..., :whole], -1, (-1, 4))
    kept = torch.zeros_like(drawn)
    kept[..., :whole] = torch.zeros_like(blocks).scatter_(-1, blocks.topk(2).indices, 1).flatten(-2)
    if whole < shape[-1]:
        kept[..., whole:] = torch.zeros_like(drawn[..., whole:]).scatter_(
            -1, drawn[..., whole:].argmax(-1, keepdim=True), 1
        )
    return kept


def _scale_exactly(operands: Operands) -> None:
    """Powers of two, so that nothing is rounded; where there are many, no two neighbours agree.

    Those of a block of A and of B have the same product for every block of K, so that sums cancel
    as they do without scales, while a scale of another block's or row's spoils the result.
    """
    import torch

    scale_a, scale_b = operands.scale_a, operands.scale_b
    if scale_a is None or scale_b is None:
        return
    if operands.problem.numerics.scaling == "tensorwise":
        scale_a.fill_(0.5)
        scale_b.fill_(2.0)
        return

    def powers(exponents: "torch.Tensor") -> "torch.Tensor":
        return torch.ldexp(torch.ones_like(exponents, dtype=torch.float32), exponents)

    def thirds(count: int) -> "torch.Tensor":
        return torch.arange(count, device=scale_a.device) % 3 - 1

    if not operands.problem.numerics.is_blockwise:
        scale_a.copy_(powers(thirds(scale_a.shape[-2]))[:, None].expand(scale_a.shape))
        scale_b.copy_(powers(-thirds(scale_b.shape[-1]))[None].expand(scale_b.shape))
        return
    of_block = thirds(scale_a.shape[-1])
    for scale, sign in ((scale_a, 1), (scale_b, -1)):
        found = powers(thirds(scale.shape[-2])[:, None] + sign * of_block)
        scale.copy_(found.to(scale.dtype).expand(scale.shape))


def hold(
    found: "torch.Tensor",
    reference: "torch.Tensor",
    bound: "torch.Tensor",
    rows: "torch.Tensor",
    where: str = "",
) -> float:
    """The largest error as a multiple of the bound; raises WrongError above 1, or for a NaN."""
    import torch

    excess = (found - reference).abs()
    ratio = torch.where(excess == 0, 0.0, excess / bound).nan_to_num(nan=math.inf, posinf=math.inf)
    worst = float(ratio.max())
    if worst <= 1:
        return worst
    flat = int(ratio.argmax())
    row = int(rows[flat // ratio.shape[-1] % len(rows)])
    raise WrongError(
        f"rounding: element ({row}, {flat % ratio.shape[-1]}){where} is "
        f"{float(found.flatten()[flat]):.9g}, expected {float(reference.flatten()[flat]):.9g}: "
        f"{worst:.3g} times the bound"
    )


def _compare_exact(out: "torch.Tensor", reference: "torch.Tensor", where: str) -> None:
    import torch

    if torch.equal(out, reference):
        return
    differ = out != reference
    count = int(differ.sum())
    # Rows first: a GPU's nonzero refuses more than 2³¹ elements, and takes 16 bytes for each found.
    at = tuple(int(i) for i in differ.any(-1).nonzero()[0])
    at += (int(differ[at].nonzero()[0]),)
    row, column = at[-2:]
    raise WrongError(
        f"exact: element ({row}, {column}){where} is {float(out[at]):.9g}, expected "
        f"{float(reference[at]):.9g}; {count} of {out.numel()} differ"
    )


def _freivalds(operands: Operands, out: "torch.Tensor", salt: int, where: str) -> None:
    """C x = A (B x) for random 0/1 vectors x, in float64, where every step is exact."""
    import torch

    generator = torch.Generator(device=out.device)
    generator.manual_seed(zlib.crc32(f"freivalds:{salt}".encode()))
    shape = (out.shape[-1], VECTORS)
    x = torch.randint(0, 2, shape, generator=generator, device=out.device).double()
    found = _by_rows(out, x)
    # Tensorwise scales are 0.5 and 2: they cancel, and what is stored need not be copied.
    many = operands.problem.numerics.scaling in ("rowwise", "blockwise")
    a, b = values(operands) if many else (operands.a, operands.b)
    through_b = _by_rows(b, x)
    if operands.problem.experts > 1:
        expected = product(operands, a.double(), through_b)
    else:
        expected = _by_rows(a, through_b)
    differ = (found != expected).any(-1)
    if bool(differ.any()):
        row = int(differ.nonzero()[0][-1])
        raise WrongError(
            f"exact: row {row}{where} fails Freivalds' check; {int(differ.sum())} rows of "
            f"{differ.numel()} do"
        )


def _by_rows(matrix: "torch.Tensor", x: "torch.Tensor", block: int = 4096) -> "torch.Tensor":
    """matrix @ x in float64, some rows at a time: a float64 copy of all would be large."""
    import torch

    parts = [part.double() @ x for part in torch.split(matrix, block, dim=-2)]
    return torch.cat(parts, dim=-2)
