"""MI300X beside H100 in what others published: sets of figures, and what differs within each."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import geometric_mean

from gemmbench.analysis.claims.claim import Decision, Figure, Verdict, number
from gemmbench.analysis.claims.evidence import H100, MI300X
from gemmbench.analysis.published import KINDS
from gemmbench.records.published import Published, published
from gemmkernels.problem import shape_text

_NO_RESULT = ("vendor_acceptance_floor", "claim")
_BEST = ("measured_best_shape", "vendor_measured_best_shape")
_OF_SHAPES = "of several shapes, in one figure"


@dataclass(frozen=True)
class _Pair:
    """The figure of an MI300X, and that of an H100 that it stands beside."""

    mine: Published
    theirs: Published

    @property
    def ratio(self) -> float:
        return self.mine.tflops / self.theirs.tflops


Set = tuple[_Pair, ...]
"""Pairs of one precision, kind, and source for each chip: what one mean may be taken of."""


def within(mean: float) -> bool:
    """Is it 60 … 70%, as whole percents are rounded?"""
    return 0.595 <= mean < 0.705


def by_published(*, needs: str) -> Decision:
    """The rule for runs, put to each set of figures: the geometric mean against 60 … 70%.

    Only where all sets are on one side of it, or in it, do they decide.
    """
    found = _sets(published())
    sets = [one for one in found if not _caution(one)]
    if not sets:
        return Decision(
            verdict="undecided here", because="Nothing is published of both.", needs=needs
        )
    sides = {_side(_mean(one)) for one in sets}
    verdict: Verdict = "undecided here"
    because = "Published measurements only, and they do not agree"
    if len(sides) == 1:
        verdict = "holds" if sides == {0} else "does not hold"
        because = "Published measurements only"
    because += f": {'. '.join(map(_told, sets))}."
    for one in found:
        if caution := _caution(one):
            because += f" Left out: {_head(one)} {_percent(_mean(one))}, {caution}."
    return Decision(
        verdict=verdict,
        because=because,
        figures=tuple(_figure(pair) for one in sets for pair in one),
        needs=needs,
    )


def _sets(rows: Iterable[Published]) -> list[Set]:
    fastest: dict[tuple[object, ...], Published] = {}
    for row in rows:
        if row.device_id in (MI300X, H100) and not row.scope and row.kind not in _NO_RESULT:
            of_row = (row.device_id, row.precision, row.kind, row.shape)
            key = (*of_row, row.source, row.method, row.caution)
            if key not in fastest or row.tflops > fastest[key].tflops:
                fastest[key] = row
    found: dict[tuple[str, ...], list[_Pair]] = {}
    for mine in fastest.values():
        for theirs in fastest.values():
            if mine.device_id == MI300X and theirs.device_id == H100 and _alike(mine, theirs):
                parties = (mine.source, theirs.source, mine.caution, theirs.caution)
                case = (mine.precision, mine.kind, *parties)
                found.setdefault(case, []).append(_Pair(mine, theirs))
    return [tuple(pairs) for pairs in found.values()]


def _alike(mine: Published, theirs: Published) -> bool:
    """One precision and kind, and one shape, or the same search or list of shapes."""
    if (mine.precision, mine.kind) != (theirs.precision, theirs.kind):
        return False
    if mine.kind not in _BEST and mine.shape is not None:
        return mine.shape == theirs.shape
    by_one = (mine.source, mine.method) == (theirs.source, theirs.method)
    return by_one and (mine.kind in _BEST or theirs.shape is None)


def _caution(pairs: Set) -> str:
    return pairs[0].mine.caution or pairs[0].theirs.caution


def _mean(pairs: Set) -> float:
    return geometric_mean([one.ratio for one in pairs])


def _side(mean: float) -> int:
    return 0 if within(mean) else -1 if mean < 0.65 else 1


def _head(pairs: Set) -> str:
    first = pairs[0].mine
    return f"{first.precision}, {KINDS[first.kind]},"


def _told(pairs: Set) -> str:
    """The share with its shapes, and what the two figures do not have in common."""
    where = _shapes(pairs[0])
    share = f"{_percent(_mean(pairs))} ({where})"
    if len(pairs) > 1:
        ordered = sorted(pairs, key=lambda one: one.ratio)
        share = (
            f"{_percent(_mean(pairs))} in the geometric mean of {len(pairs)} equal shapes, from "
            f"{_percent(ordered[0].ratio)} ({_shapes(ordered[0])}) to "
            f"{_percent(ordered[-1].ratio)} ({_shapes(ordered[-1])})"
        )
    one_party = pairs[0].mine.source == pairs[0].theirs.source
    parts = [
        "both by one party" if one_party else "by two parties",
        _both(pairs, "method", lambda row: row.method, say_same=one_party),
        _both(pairs, "software", lambda row: row.software),
        _both(pairs, "encoding", lambda row: row.encoding),
    ]
    return f"{_head(pairs)} {share}, {'; '.join(filter(None, parts))}"


def _both(pairs: Set, what: str, of: Callable[[Published], str], *, say_same: bool = False) -> str:
    mine, theirs = (
        " / ".join(dict.fromkeys(of(row) or "not stated" for row in rows))
        for rows in ([one.mine for one in pairs], [one.theirs for one in pairs])
    )
    if mine == theirs:
        return f"one {what}" if say_same else ""
    return f"{what} “{mine}” against “{theirs}”"


def _shapes(pair: _Pair) -> str:
    if pair.mine.shape is None or pair.theirs.shape is None:
        return _OF_SHAPES
    mine, theirs = shape_text(*pair.mine.shape), shape_text(*pair.theirs.shape)
    return mine if mine == theirs else f"{mine} against {theirs}"


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.1f}%"


def _figure(pair: _Pair) -> Figure:
    mine, theirs = pair.mine, pair.theirs
    parts = [" against ".join(dict.fromkeys((mine.source, theirs.source)))]
    if mine.method == theirs.method:
        parts.append(mine.method)
    return Figure(
        what=(
            f"published, {mine.precision} {_shapes(pair)}: {number(mine.tflops)} over "
            f"{number(theirs.tflops)} TFLOPS"
        ),
        value=100 * pair.ratio,
        unit="%",
        source="; ".join(filter(None, parts)),
    )
