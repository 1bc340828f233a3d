"""How times are taken: the presets, and what each means on a CPU and on a GPU."""

from typing import Literal, get_args

import msgspec

from gemmkernels.errors import GemmbenchError, UnknownNameError

Preset = Literal["sustained", "cold", "quick"]
PRESETS: tuple[str, ...] = get_args(Preset)
LAUNCHES = ("graph", "stream")

LEAST_SAMPLE_S = 200e-6
"""A shorter sample would measure its own loop: 1 µs calls timed singly read 15% high."""


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """The constants of a method. Seconds; `target` is a half-width as a fraction of the value.

    `cache`: hot (one operand set), rotated (sets of twice the last-level cache), flushed.
    `launch`: graph, stream (batches), single (one launch behind a spin kernel), loop (a CPU's
    batches of calls). A turn is `settle_s` untimed and `turn_s` timed. `max_time_s` is for the
    rounds after the first `least_rounds`, which are always taken.
    """

    preset: str
    cache: str
    launch: str
    settle_s: float
    turn_s: float
    sample_s: float
    min_rounds: int
    max_rounds: int
    max_time_s: float
    target: float
    repeats: int
    least_rounds: int = 1
    unsettled: bool = False


def _cpu(preset: str) -> Timing:
    # 10 ms settle every kernel tried to 0.6% or better; five processes of 8 rounds hold the
    # median over processes, which 40 rounds of one process do not.
    base = Timing(
        preset=preset,
        cache="rotated",
        launch="loop",
        settle_s=0.010,
        turn_s=0.040,
        sample_s=0.002,
        min_rounds=8,
        max_rounds=8,
        max_time_s=60.0,
        target=0.02,
        repeats=5,
        least_rounds=8,
    )
    if preset == "quick":
        return msgspec.structs.replace(
            base, min_rounds=10, max_rounds=10, least_rounds=10, repeats=1, unsettled=True
        )
    return base


def _gpu(preset: str, launch: str) -> Timing:
    sustained = Timing(
        preset=preset,
        cache="rotated",
        launch=launch,
        settle_s=0.1,
        turn_s=0.4,
        sample_s=0.002,
        min_rounds=10,
        max_rounds=80,
        max_time_s=60.0,
        target=0.005,
        repeats=1,
        least_rounds=10,
    )
    if preset == "quick":
        return msgspec.structs.replace(
            sustained,
            settle_s=0.02,
            turn_s=0.1,
            max_rounds=10,
            target=0.01,
            unsettled=True,
        )
    if preset == "cold":
        return msgspec.structs.replace(
            sustained, cache="flushed", launch="single", settle_s=0.0, turn_s=0.1, sample_s=0.0
        )
    return sustained


def timing(preset: str, *, kind: str, vendor: str, launch: str | None = None) -> Timing:
    """The constants of a preset on a `kind` of device (cpu or gpu).

    On a GPU `launch` chooses between graph and stream; None is graph on NVIDIA, stream on AMD,
    where graphs have returned wrong results (ROCm 7.2, clr issue 279). Raises GemmbenchError for
    `cold` on a CPU, and for a launch that the device does not have.
    """
    if preset not in PRESETS:
        raise UnknownNameError("preset", preset, PRESETS)
    if launch is not None and launch not in LAUNCHES:
        raise UnknownNameError("launch", launch, LAUNCHES)
    if kind == "cpu":
        if preset == "cold":
            raise GemmbenchError(
                "preset cold needs a GPU: a CPU's caches cannot be flushed from Python; "
                "take sustained, whose operands rotate through memory"
            )
        if launch is not None:
            raise GemmbenchError(f"--launch {launch} needs a GPU: a CPU has no launches to capture")
        return _cpu(preset)
    return _gpu(preset, launch or ("graph" if vendor == "nvidia" else "stream"))


def operand_sets(set_bytes: int, *, cache: str, llc_bytes: int | None, memory_bytes: int) -> int:
    """How many operand sets to rotate through, of `set_bytes` each.

    At least two, together at least twice the last-level cache, and within a quarter of the memory;
    one when the cache is meant to be hot or is flushed, or when two do not fit.
    """
    if cache != "rotated":
        return 1
    wanted = max(2, -(-2 * (llc_bytes or 32 * 2**20) // set_bytes))
    return max(1, min(wanted, memory_bytes // 4 // set_bytes))
