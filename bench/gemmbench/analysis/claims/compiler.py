"""Claims about matrix units: by datasheets what one does in a clock, by the compiler which
instructions there are, and for which types."""

import re
from collections.abc import Sequence

from gemmbench.analysis.claims.claim import Decision, Figure, number
from gemmbench.analysis.claims.evidence import Known, cited, peak, sheet
from gemmbench.records.evidence import Cast, Emitted

_EXPLICIT = re.compile(r"(\d+)x(\d+)x(\d+)")
_COMPACT = {
    "16816": (16, 8, 16),
    "16832": (16, 8, 32),
    "1688": (16, 8, 8),
    "884": (8, 8, 4),
}
"""How SASS writes M, N and K of an MMA in one number (CUDA Binary Utilities; PTX ISA, mma)."""

_DEVICES = {"sm_80": "a100-sxm4-80gb", "sm_90": "h100-sxm5", "gfx942": "mi300x"}
"""The datasheet by which an instruction's clocks are told."""

_REPORTED = (
    "On a GPU autocast casts as it is told, and torch's linear layer then has no fp8 product: "
    "\"addmm_cuda\" not implemented for 'Float8_e4m3fn' (torch 2.10.0+cu130, in "
    "github:capitan01R/ComfyUI-Flux2Klein-Enhancer issue 16)."
)
"""What could not be tried where the evidence was gathered."""

TENSOR_CORES = {"v100-sxm2": 8, "a100-sxm4-80gb": 4, "h100-sxm5": 4}
"""Tensor Cores of an SM: NVIDIA's whitepapers of the V100 ("Tesla V100 GPU architecture", volta
SM), A100 and H100 architectures, in their comparison tables. V100's says 64 FMA a clock of each,
A100's 256; H100's, twice the A100's rate of an SM."""

_CLAIMED: dict[float, str] = {4**3: "4×4×4", 8**3: "8×8×8"}
"""Multiply-adds of a 4×4 block by another, and of 8×8 blocks."""

_TILES = ((4, 4), (8, 8))

_NOT_ASKED = "No compiler was asked for the tiles of its instructions."


def shape_of(mnemonic: str) -> tuple[int, int, int] | None:
    """(M, N, K) of a matrix instruction; None where a descriptor holds them, as on sm_100."""
    if found := _EXPLICIT.search(mnemonic):
        m, n, k = (int(part) for part in found.groups())
        return m, n, k
    digits = re.search(r"\.(\d{3,5})(?:\.|$)", mnemonic)
    return _COMPACT.get(digits.group(1)) if digits else None


def tile_4x4(known: Known) -> Decision:
    """Multiply-adds a clock of one Tensor Core in fp16, against those of 4×4 and 8×8 blocks; and
    the tiles of the instructions that the compiler emits, which are another matter.

    It holds as a rate where V100 and H100 both have one of the two.
    """
    rates = {name: _multiply_adds(name) for name in TENSOR_CORES}
    told_rates = ", ".join(
        f"{rate:g} on {name} ({_CLAIMED.get(rate, 'neither')})" for name, rate in rates.items()
    )
    figures = tuple(
        Figure(
            what=f"{name}: one Tensor Core in fp16",
            value=rate,
            unit="multiply-adds a clock",
            source=(
                f"{cited(name, sheet(name).sources['flop_per_clock'])}, over 2 and the "
                f"{TENSOR_CORES[name]} Tensor Cores of an SM: NVIDIA's whitepaper of the "
                "architecture"
            ),
        )
        for name, rate in rates.items()
    )
    holds = rates["v100-sxm2"] in _CLAIMED and rates["h100-sxm5"] in _CLAIMED
    tiles, told = _instructions(known)
    return Decision(
        verdict="holds" if holds else "does not hold",
        because=(
            f"As a rate {'it holds' if holds else 'it does not hold'}: in fp16 one Tensor Core "
            f"does, in multiply-adds a clock, {told_rates}. That the number is a block's does not "
            f"say that the hardware has it in that shape. {told}"
        ),
        figures=(*figures, *tiles),
        needs="" if told != _NOT_ASKED else "pip install triton, then gemmbench claims --measure",
    )


def _multiply_adds(device_id: str) -> float:
    """Multiply-adds a clock of one Tensor Core in fp16, by the datasheet."""
    rate = peak(device_id, "fp16").flop_per_clock
    assert rate is not None, f"{device_id} has no FLOP a clock"
    return rate / 2 / TENSOR_CORES[device_id]


def _instructions(known: Known) -> tuple[tuple[Figure, ...], str]:
    """(Clocks of an instruction, what is to be said of the tiles). fp64 is apart: it is no type of
    the article's, and its tile is 8×8."""
    emitted = [one for one in known.asked.emitted if not one.encoding]
    usual = _tiles([one for one in emitted if one.precision != "fp64"])
    double = _tiles([one for one in emitted if one.precision == "fp64"])
    if not any(target.startswith("sm_") for target, _, _ in usual):
        return (), _NOT_ASKED
    source = f"Triton {known.asked.triton}, triton-matrix-core"
    figures = tuple(
        Figure(
            what=f"{target}: {name}, clocks of a whole unit",
            value=2 * m * n * k / rate,
            unit="clocks",
            source=f"{source}; {cited(_DEVICES[target], peak(_DEVICES[target], 'bf16').sources)}",
        )
        for target, name, (m, n, k) in usual
        if target in _DEVICES and "BF16" in name.upper() and (rate := _rate(target))
    )
    tiles = [size[:2] for target, _, size in usual if target.startswith("sm_")]
    as_claimed = sum(tile in _TILES for tile in tiles)
    how_many = {0: "none", len(tiles): "each"}.get(as_claimed, f"{as_claimed} of {len(tiles)}")
    shapes = "; ".join(_listed(usual, target) for target in dict.fromkeys(one[0] for one in usual))
    told = (
        f"As the tile of an instruction {how_many} of NVIDIA's is 4×4 or 8×8: one multiplies, as "
        f"M×N×K, {shapes} ({source})"
    )
    told += "; clocks of one:" * bool(figures) + ",".join(
        f" {figure.what.partition(',')[0]} {number(figure.value)} of a whole "
        f"{sheet(_DEVICES[figure.what.partition(':')[0]]).unit_kind}"
        for figure in figures
    )
    told += "."
    if double:
        told += " Only fp64 has a tile of 8×8." if _has(double, (8, 8)) else ""
    return figures, told + (" sm_100 has the tile in a descriptor." if _descriptor(emitted) else "")


def mi300x_fp8_autocast(known: Known) -> Decision:
    """Types that autocast takes, and what the compiler makes of both e4m3 on gfx942."""
    eights = [one for one in known.asked.casts if one.dtype.startswith("float8")]
    asked = known.asked
    code = {
        one.encoding: one
        for one in asked.emitted
        if one.target == "gfx942" and one.encoding.startswith("float8")
    }
    if not eights:
        return Decision(
            verdict="undecided here",
            because="torch.autocast was not asked.",
            needs="gemmbench claims --measure",
        )
    takes = [one for one in eights if one.accepted and one.made.startswith("float8")]
    others = [one.dtype for one in asked.casts if one.accepted and one not in eights]
    kinds = ", ".join(dict.fromkeys(one.device_type for one in asked.casts))
    because = (
        f"torch {asked.torch} autocast ({kinds}) casts to {' and '.join(others) or 'no 16 bits'}; "
        f"{_refusal(eights)}. "
        if not takes
        else f"torch {asked.torch} autocast runs a linear layer in {takes[0].dtype}. "
    )
    if not takes:
        because += "" if "cuda" in kinds else f"{_REPORTED} "
        because += "The lack is torch's, on every device, and not MI300X's. "
    if code:
        because += f"{' '.join(map(_emitted, code.values()))} (Triton {asked.triton})"
    return Decision(
        verdict="does not hold" if takes else "holds",
        because=because.strip(),
        needs="" if "cuda" in kinds else "gemmbench claims --measure on an MI300X",
    )


def _tiles(emitted: Sequence[Emitted]) -> list[tuple[str, str, tuple[int, int, int]]]:
    """(Target, mnemonic, M N K) of each instruction whose name tells its shape, once."""
    found = {
        (one.target, name): size
        for one in emitted
        for name in one.instructions
        if (size := shape_of(name)) is not None
    }
    return [(target, name, size) for (target, name), size in found.items()]


def _listed(tiles: Sequence[tuple[str, str, tuple[int, int, int]]], target: str) -> str:
    shapes = dict.fromkeys("×".join(map(str, size)) for one, _, size in tiles if one == target)
    return f"{target} {', '.join(shapes)}"


def _has(tiles: Sequence[tuple[str, str, tuple[int, int, int]]], tile: tuple[int, int]) -> bool:
    return any(size[:2] == tile for _, _, size in tiles)


def _descriptor(emitted: Sequence[Emitted]) -> bool:
    return any(name.startswith("UTC") for one in emitted for name in one.instructions)


def _rate(target: str) -> float | None:
    """FLOP a clock of one SM or CU in bf16, by the datasheet."""
    return peak(_DEVICES[target], "bf16").flop_per_clock


def _refusal(casts: Sequence[Cast]) -> str:
    said = next((one.said for one in casts if one.said), "")
    names = " and ".join(one.dtype for one in casts)
    if any(one.accepted for one in casts):
        return f"it takes {names}, and then a linear layer fails: {said}"
    return f"{names} disable it: {said.rstrip('.')}"


def _emitted(one: Emitted) -> str:
    names = ", ".join(one.instructions)
    how = "natively" if one.verdict == "matrix cores" else f"{one.verdict}, converted first"
    return f"On gfx942 the compiler multiplies {one.encoding} {how}: {names}."
