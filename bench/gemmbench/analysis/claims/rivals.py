"""Claims about one chip against another: two runs of the same problems, or what is published."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import geometric_mean
from typing import Any

from gemmbench.analysis.claims.claim import Decision, Figure, about
from gemmbench.analysis.claims.evidence import H100, MI300X, WORST, Known, decide, said, standing
from gemmbench.analysis.claims.rivals_published import by_published, within
from gemmkernels.precision import PRECISIONS
from gemmkernels.problem import shape_text

_MATRIX = frozenset(
    name
    for name, row in PRECISIONS.items()
    if row.arithmetic in ("fp16", "bf16", "tf32", "fp8_e4m3", "fp8_e5m2", "int8")
)
"""Precisions of matrix units alone: what both chips are bought for."""

_COMMAND = (
    "gemmbench run --suite square -p bf16 -p fp8_e4m3 --preset sustained on each, then "
    "gemmbench claims and gemmbench compare with both"
)

Way = tuple[str, str, str]
"""Preset, cache and data of a row."""

Case = tuple[int, Way, tuple[object, ...]]
"""What a row may decide, how it was measured, and its problem."""


@dataclass(frozen=True)
class _Pair:
    """One problem on both: how fast the second is beside the first, its name, and their rows."""

    name: str
    ratio: float
    mine: Any
    theirs: Any


def mi300x_60_70(known: Known) -> Decision:
    """MI300X over H100: geometric mean over shared problems of matrix units, against 60 … 70%."""
    mine, theirs = _cases(known, MI300X), _cases(known, H100)
    pairs = _paired(mine, theirs)
    if not pairs:
        return _without_pairs(mine, theirs)
    mean = _geomean(pairs)
    low, high = min(pairs, key=lambda one: one.ratio), max(pairs, key=lambda one: one.ratio)
    because = (
        f"{said(*_rows(pairs))}: {100 * mean:.1f}%, the geometric mean over {len(pairs)} "
        f"problems, each with the fastest kernel there: from {_told(low)} to {_told(high)}."
    )
    figure = Figure(what="MI300X over H100", value=100 * mean, unit="%", source=_files(pairs))
    if not decide(*_rows(pairs)):
        others = by_published(needs=f"a run of our own on each of the same problems: {_COMMAND}")
        return replace(
            others, because=f"{others.because} {because}", figures=(*others.figures, figure)
        )
    return Decision(
        verdict="holds" if within(mean) else "does not hold", because=because, figures=(figure,)
    )


def _without_pairs(mine: Mapping[Case, Any], theirs: Mapping[Case, Any]) -> Decision:
    """By what is published, and why not by the runs at hand."""
    missing = " and ".join(
        name for name, there in (("an MI300X", mine), ("an H100", theirs)) if not there
    )
    found = by_published(
        needs=f"a run of our own on {missing or 'each'} of the same problems: {_COMMAND}"
    )
    if missing:
        return found
    ways = [_ways(side) for side in (mine, theirs)]
    why = (
        "the two runs share no problem"
        if ways[0] & ways[1]
        else f"the two were measured in different ways, {' and '.join(map(_ways_told, ways))}"
    )
    return replace(found, because=f"Not decided by these runs: {why}. {found.because}")


def sixty_percent(known: Known) -> Decision:
    """Which problems a chip with about 60% of the leader's rate reaches 60% on."""
    needs = "runs of the same problems on two GPUs: gemmbench claims LEADER.jsonl OTHER.jsonl"
    ids = list(dict.fromkeys(row.device_id for row in known.sound()))
    ids = [one for one in ids if isinstance(one, str)]
    if len(ids) < 2:
        return Decision(
            verdict="undecided here",
            because="What satisfies users no run says; how many problems reach 60% two runs say.",
            needs=needs,
        )
    ids = [H100, MI300X] if {H100, MI300X} <= set(ids) else ids[:2]
    sides = [_cases(known, one, every=True) for one in ids]
    pairs = _paired(sides[1], sides[0])
    if not pairs:
        return Decision(
            verdict="undecided here",
            because=f"The runs of {ids[0]} and {ids[1]} share no problem in one preset.",
            needs=needs,
        )
    if _geomean(pairs) > 1:
        ids.reverse()
        pairs = [replace(one, ratio=1 / one.ratio) for one in pairs]
    mean, reached = _geomean(pairs), [one for one in pairs if one.ratio >= 0.6]
    share = len(reached) / len(pairs)
    below = sorted((one for one in pairs if one.ratio < 0.6), key=lambda one: one.ratio)
    because = (
        f"{said(*_rows(pairs))}: of {len(pairs)} problems {len(reached)} reach 60% of {ids[0]} on "
        f"{ids[1]}, which has {100 * mean:.0f}% of it in the geometric mean."
    )
    if below:
        because += f" Below: {', '.join(map(_told, below[:4]))}{', …' if below[4:] else ''}."
    figures = (
        Figure(what="problems that reach 60%", value=100 * share, unit="%", source=_files(pairs)),
    )
    if not about(mean, 0.6):
        because += " That is no chip with about 60% of the leader's performance."
    if not about(mean, 0.6) or not decide(*_rows(pairs)):
        return Decision(verdict="undecided here", because=because, figures=figures, needs=needs)
    return Decision(
        verdict="holds" if share > 0.5 else "does not hold",
        because=f'{because} "Most users" is read as more than half of the problems.',
        figures=figures,
    )


def _cases(known: Known, device_id: str, *, every: bool = False) -> dict[Case, Any]:
    """The fastest row of each problem, standing and way on a device."""
    found: dict[Case, Any] = {}
    for row in known.sound():
        if row.device_id != device_id or not (every or row.precision in _MATRIX):
            continue
        problem = (row.precision, row.m, row.n, row.k, row.batch, row.experts, row.layout)
        case = (standing(row), _way(row), problem)
        if case not in found or row.tflops > found[case].tflops:
            found[case] = row
    return found


def _paired(mine: Mapping[Case, Any], theirs: Mapping[Case, Any]) -> list[_Pair]:
    """The problems that both have, in one way: in that of the best standing, and then of most."""
    found: dict[tuple[int, Way], dict[object, _Pair]] = {}
    for (rank, way, problem), row in mine.items():
        for other in range(WORST + 1):
            if (beside := theirs.get((other, way, problem))) is not None:
                pairs = found.setdefault((max(rank, other), way), {})
                pairs.setdefault(
                    problem, _Pair(_name(row), row.tflops / beside.tflops, row, beside)
                )
    best = min(found, key=lambda key: (key[0], -len(found[key])), default=None)
    return list(found[best].values()) if best else []


def _rows(pairs: Sequence[_Pair]) -> list[Any]:
    return [row for one in pairs for row in (one.mine, one.theirs)]


def _name(row: Any) -> str:
    return f"{row.precision} {shape_text(row.m, row.n, row.k, row.batch, row.experts)}"


def _told(pair: _Pair) -> str:
    return f"{100 * pair.ratio:.0f}% ({pair.name})"


def _geomean(pairs: Sequence[_Pair]) -> float:
    return geometric_mean([one.ratio for one in pairs])


def _way(row: Any) -> Way:
    return row.preset, row.cache, row.data


def _ways(cases: Mapping[Case, Any]) -> set[Way]:
    return {way for _, way, _ in cases}


def _ways_told(ways: set[Way]) -> str:
    return " or ".join(sorted("/".join(way) for way in ways))


def _files(pairs: Sequence[_Pair]) -> str:
    names = {row.file: "" if decide(row) else f" ({said(row).lower()})" for row in _rows(pairs)}
    return ", ".join(f"{name}{what}" for name, what in names.items())
