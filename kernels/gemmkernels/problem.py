"""A matrix multiplication to be done: C[M, N] = A[M, K] @ B[K, N], `batch` times."""

import re
from dataclasses import dataclass

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Shape, layout and precision of one GEMM.

    `layout` is BLAS's pair of letters: is A, is B stored transposed. Raises GemmbenchError for a
    dimension that is not in 1 … 2³¹-1, and UnknownNameError for an unknown layout or precision.
    """

    m: int
    n: int
    k: int
    precision: str
    batch: int = 1
    layout: str = "nn"
    label: str = ""

    def __post_init__(self) -> None:
        for name in ("m", "n", "k", "batch"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise GemmbenchError(f"{name} = {str(value)[:60]!r} is not a whole number")
            if not 1 <= value <= MAX_DIMENSION:
                # repr() refuses a number of thousands of digits
                told = value if abs(value) < 10**40 else f"a number of {value.bit_length()} bits"
                raise GemmbenchError(f"{name} = {told} must lie in 1 … {MAX_DIMENSION}")
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
        """The fewest bytes that must move: A and B read once, C written once."""
        row = self.numerics
        read = (self.m * self.k + self.k * self.n) * row.bytes_in
        return self.batch * (read + self.m * self.n * row.bytes_out)

    @property
    def intensity(self) -> float:
        """Arithmetic intensity, FLOP/byte."""
        return self.flop / self.min_bytes

    @property
    def shape(self) -> str:
        core = f"{self.m}x{self.n}x{self.k}"
        return core if self.batch == 1 else f"{self.batch}*{core}"
