"""A matrix multiplication to be done: C[M, N] = A[M, K] @ B[K, N], `batch` times.

With `experts` the M rows are shared out among so many matrices B, unevenly, as a mixture of experts
does with its tokens: one grouped product.
"""

import random
import re
from dataclasses import dataclass
from itertools import pairwise

from gemmkernels.errors import GemmbenchError, UnknownNameError
from gemmkernels.precision import Precision, precision

LAYOUTS = ("nn", "nt", "tn", "tt")
MAX_DIMENSION = 2**31 - 1
_SHAPE = re.compile(r"([^xX×]+)[xX×]([^xX×]+)[xX×]([^xX×]+)")


def check_layout(layout: str) -> str:
    if layout not in LAYOUTS:
        raise UnknownNameError("layout", layout, LAYOUTS)
    return layout


def parse_shape(text: str) -> tuple[int, int, int]:
    """(M, N, K) of "4096x4096x4096"; raises GemmbenchError for anything else."""
    found = _SHAPE.fullmatch(text.strip())
    numbers = [part.strip() for part in found.groups()] if found else []
    if not numbers or not all(re.fullmatch(r"[0-9]{1,10}", part) for part in numbers):
        raise GemmbenchError(
            f"shape {text[:60]!r} is not MxNxK in whole numbers: write --shape 4096x4096x4096"
        )
    m, n, k = (int(part) for part in numbers)
    return m, n, k


def shape_text(m: int, n: int, k: int, batch: int = 1, experts: int = 1) -> str:
    """MxNxK; 8*MxNxK for a batch of 8; 8@MxNxK for M rows shared out among 8 experts."""
    core = f"{m}x{n}x{k}"
    if experts > 1:
        return f"{experts}@{core}"
    return core if batch == 1 else f"{batch}*{core}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Shape, layout and precision of one GEMM, or of one grouped GEMM if `experts` is over 1.

    `layout` is BLAS's pair of letters: is A, is B stored transposed. Raises GemmbenchError for a
    dimension that is not in 1 … 2³¹-1, or a batch of experts, and UnknownNameError for an unknown
    layout or precision.
    """

    m: int
    n: int
    k: int
    precision: str
    batch: int = 1
    layout: str = "nn"
    label: str = ""
    experts: int = 1

    def __post_init__(self) -> None:
        for name in ("m", "n", "k", "batch", "experts"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise GemmbenchError(f"{name} = {str(value)[:60]!r} is not a whole number")
            if not 1 <= value <= MAX_DIMENSION:
                # repr() refuses a number of thousands of digits
                told = value if abs(value) < 10**40 else f"a number of {value.bit_length()} bits"
                raise GemmbenchError(f"{name} = {told} must lie in 1 … {MAX_DIMENSION}")
        if self.batch > 1 and self.experts > 1:
            raise GemmbenchError(
                f"batch = {self.batch} and experts = {self.experts}: a grouped product has no batch"
            )
        check_layout(self.layout)
        precision(self.precision)

    @property
    def numerics(self) -> Precision:
        return precision(self.precision)

    @property
    def flop(self) -> int:
        """2 · batch · M · N · K: a multiply and an add for each term."""
        return 2 * self.batch * self.m * self.n * self.k

    @property
    def min_bytes(self) -> int:
        """The fewest bytes that must move: A, B and their scales read once, C written once.

        Of a sparse A half of the terms, and two bits for the place of each.
        """
        row, m, n, k = self.numerics, self.m, self.n, self.k
        a = row.input_bytes(m, k)
        if row.sparse:
            a = a // 2 + m * k // 8
        b = self.experts * row.input_bytes(n, k)
        scales = row.scale_bytes(m, k) + self.experts * row.scale_bytes(n, k)
        return self.batch * (a + b + scales + m * n * row.bytes_out)

    @property
    def misfit(self) -> str | None:
        """Why no operands of this shape and layout can be made in the precision; None if they can.

        Block-scaled formats are stored along K, a whole number of blocks; 2:4 sparse ones too.
        """
        row = self.numerics
        along = row.block or (4 if row.sparse else 1)
        if self.k % along:
            return f"{row.name} takes K in multiples of {along}, and K = {self.k}"
        if row.is_blockwise and self.layout != "nt":
            return f"{row.name} is stored along K: layout nt only, not {self.layout}"
        return None

    @property
    def tokens(self) -> tuple[int, ...]:
        """How many rows of A each expert gets; together M, and the same for the same problem.

        Drawn evenly from 0.7 … 1.3 of the mean, as DeepGEMM's tests do; few rows leave some none.
        """
        draw = random.Random(f"{self.m} rows, {self.experts} experts")
        shares = [draw.uniform(0.7, 1.3) for _ in range(self.experts)]
        bounds, total, seen = [0], sum(shares), 0.0
        for share in shares:
            seen += share
            bounds.append(round(self.m * seen / total))
        return tuple(stop - start for start, stop in pairwise(bounds))

    @property
    def intensity(self) -> float:
        """Arithmetic intensity, FLOP/byte."""
        return self.flop / self.min_bytes

    @property
    def shape(self) -> str:
        return shape_text(self.m, self.n, self.k, self.batch, self.experts)
