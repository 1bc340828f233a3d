"""What became of the peak, as one plain sentence a case."""

from gemmbench.analysis.gap import Gap, Limit
from gemmbench.show.text import digits, duration, percent, printable

LEAST = 0.005
"""A factor nearer to 1 is not worth a word."""

_REASONS = {
    "thermal": "too hot",
    "hw_slowdown": "a hardware slowdown",
    "power_brake": "the power brake",
    "sync_boost": "sync boost",
}


def sentence(one: Gap) -> str:
    """Which case, and what became of the peak, in plain words."""
    case = one.case
    shape = _shape(case.shape) + ("" if case.layout == "nn" else f" {case.layout}")
    kernel = case.kernel + (f" [{case.modes}]" if case.modes else "")
    return printable(f"{case.precision} {shape}, {kernel}: {became(one)}")


def became(one: Gap) -> str:
    """What became of the peak, for a place that names the case already."""
    top = one.causes.top
    if top is None:
        return printable(f"{digits(one.case.tflops)} TFLOP/s; {one.causes.why_not}")
    of = {
        "spec": f"the {'sparse' if top.sparse else 'dense'} peak",
        "roof": "the measured roof, as no sheet has a peak",
    }[top.kind]
    losses = {
        "memory": _of_memory,
        "cache": _of_memory,
        "launch": _of_launch,
    }.get(one.bound or "", _of_compute)(one)
    left = 100 * one.factors[-1].value
    if one.refuted:
        end = (
            f"the model is refuted: the kernel reaches {_whole(left)} of what it allows"
            f"{'' if one.refuted_surely else ', but 100% is within its interval'}"
        )
    elif losses:
        end = f"of what was left the kernel reaches {_whole(left)}"
    else:
        end = "nothing but the kernel itself is known to hold it back"
    middle = f"{', '.join(losses)}; " if losses else ""
    return printable(f"{_whole(one.pct_top)} of {of}; {middle}{end}")


def _shape(text: str) -> str:
    """8192³ of 8192x8192x8192."""
    sizes = text.split("x")
    return f"{sizes[0]}³" if len(sizes) == 3 and len(set(sizes)) == 1 else text.replace("x", "×")


def _whole(value: float) -> str:
    """A percentage as one says it, with more digits where it is small."""
    return f"{value:.0f}%" if value >= 9.5 else percent(value)


def _of_clock(one: Gap) -> list[str]:
    clock, top = one.causes.clock, one.causes.top
    assert top is not None
    if clock is None:
        return ["the clock was not seen"] if top.kind == "spec" else []
    change = clock.held_mhz / top.clock_mhz - 1
    if abs(change) < LEAST:
        return []
    said = f"({change:+.0%})".replace("-", "−")
    held, full = (f"{mhz:.0f}" for mhz in (clock.held_mhz, top.clock_mhz))
    if change > 0:
        return [f"the clock ran at {held} MHz where the peak is for {full} {said}"]
    return [f"the clock held {held} of {full} MHz{_why(one)} {said}"]


def _why(one: Gap) -> str:
    clock = one.causes.clock
    assert clock is not None
    if clock.limits is None:
        return ""
    if not clock.limits:
        return ", with no limit reported"
    return " " + " and ".join(_reason(limit, one) for limit in clock.limits[:2])


def _reason(limit: Limit, one: Gap) -> str:
    clock = one.causes.clock
    assert clock is not None
    part = "" if limit.share > 0.9 else f" in {_whole(100 * limit.share)} of the time"
    if limit.reason != "power":
        return f"for {_REASONS.get(limit.reason, printable(limit.reason, 40))}{part}"
    watts = clock.power_limit_w
    known = f"the {watts:.0f} W limit" if watts else "the power limit"
    lower = watts and clock.tdp_w and abs(watts / clock.tdp_w - 1) > LEAST
    sheet = f" (the sheet says {clock.tdp_w:.0f} W)" if lower else ""
    return f"at {known}{sheet}{part}"


def _of_tiles(one: Gap) -> list[str]:
    tiles, said = one.causes.tiling, []
    if tiles is None:
        return []
    if (padding := one.factor("padding")) < 1 - LEAST:
        size = "×".join(map(str, tiles.tile))
        said.append(f"{_whole(100 * (1 / padding - 1))} more work in whole {size} tiles")
    if (waves := one.factor("waves")) < 1 - LEAST:
        assert tiles.waves is not None
        idle = _whole(100 * (1 - waves))
        where = "the only wave" if tiles.waves == 1 else f"{tiles.waves} whole waves"
        said.append(f"{idle} of the units' time was idle in {where}")
    return said


def _of_compute(one: Gap) -> list[str]:
    return [*_of_clock(one), *_of_tiles(one)]


def _of_memory(one: Gap) -> list[str]:
    memory = one.causes.memory
    assert memory is not None
    how = "measured" if memory.measured else "of the sheet"
    moved = f"{_bytes(memory.bytes)} through {memory.level} at {digits(memory.gbps)} GB/s ({how})"
    return [f"{moved} allow {_whole(one.pct_allowed)} of it"]


def _of_launch(one: Gap) -> list[str]:
    floor = one.causes.floor
    assert floor is not None
    what = "an empty launch" if floor.launches == 1 else f"{floor.launches} empty launches"
    return [
        f"{what} of {duration(floor.us)} allow{'s' * (floor.launches == 1)} "
        f"{_whole(one.pct_allowed)} of it"
    ]


def _bytes(count: int) -> str:
    for scale, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= scale:
            return f"{digits(count / scale, 3)} {unit}"
    return f"{count} bytes"
