"""The claim about collectives: all-reduce by RCCL beside all-reduce by NCCL."""

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import geometric_mean

from gemmbench.analysis.claims.alike import (
    LARGE,
    Pair,
    Side,
    Size,
    apart,
    overall_of,
    sides_of,
    size_of,
)
from gemmbench.analysis.claims.claim import Decision, Figure, Verdict, number
from gemmbench.analysis.claims.evidence import H100, MI300X, Known, decide, said, standing
from gemmbench.quantities import size_text
from gemmbench.timing.statistics import Estimate

RANKS = 8

LEAST, MOST = 0.65, 0.75
"""30% slower, as whole tens are rounded: 65 … 75% of the bus bandwidth."""

_READ = "30% slower is read as 25 to 35% less bus bandwidth"
_RUN = "torchrun --nproc-per-node 8 -m gemmbench parallel --suite collectives"
_THEN = "then gemmbench claims NCCL.jsonl RCCL.jsonl"


def rccl_30(known: Known) -> Decision:
    """RCCL's all-reduce bus bandwidth over NCCL's on 8 GPUs each, against 70%."""
    sides = sides_of(known, "all-reduce")
    pairs = [Pair(*pair) for pair in apart(sides, "nccl", "rccl")]
    best = max(filter(_may, pairs), key=_worth, default=None)
    others = [pair for pair in pairs if pair != best and pair.shared]
    here = (*map(_told_pair, others), *map(_told_side, _alone(sides, best, others)))
    if best is None:
        because = f"It is about all-reduce over 8 GPUs. {_missing(known, sides, pairs)}"
        return Decision(verdict="undecided here", because=because, here=here, needs=_needs(sides))
    overall, sizes = overall_of(best), [size_of(best, one) for one in best.shared]
    measured = best.nccl.decides and best.rccl.decides
    verdict = _verdict(overall) if measured else "undecided here"
    return Decision(
        verdict=verdict,
        because=_because(best, overall, sizes),
        figures=tuple(_figures(best, overall, sizes)),
        here=here,
        needs=_more(overall, sides, measured=measured) if verdict == "undecided here" else "",
    )


def _is_the_claims(pair: Pair) -> bool:
    """Is it of 8 H100 and 8 MI300X, each in one machine?"""
    return all(
        (side.device_id, side.ranks, side.on_node) == (device, RANKS, RANKS)
        for side, device in ((pair.nccl, H100), (pair.rccl, MI300X))
    )


def _may(pair: Pair) -> bool:
    return _is_the_claims(pair) and bool(pair.large)


def _worth(pair: Pair) -> tuple[bool, int, int, int]:
    """Of several pairs the one that may rather decide, then that of more sizes and repeats."""
    rank = (pair.nccl.is_sustained, -max(map(standing, pair.rows)))
    return *rank, len(pair.large), len(pair.rows)


def _verdict(overall: Estimate) -> Verdict:
    """Only where the whole interval is in the band, or outside of it, does it decide."""
    if overall.low >= LEAST and overall.high <= MOST:
        return "holds"
    return "does not hold" if overall.high < LEAST or overall.low > MOST else "undecided here"


def _because(pair: Pair, overall: Estimate, sizes: Sequence[Size]) -> str:
    large = [one for one in sizes if one.message_bytes >= LARGE]
    small = [one for one in sizes if one.message_bytes < LARGE]
    by_size = ", ".join(f"{size_text(one.message_bytes)} {_percent(one.ratio)}" for one in large)
    text = (
        f"{said(*pair.rows)}: over 8 GPUs in {pair.nccl.way[0]}, {pair.rccl.name} has "
        f"{_percent(overall)} of the bus bandwidth of {pair.nccl.name}, {_less(overall.value)}, in "
        f"{_over(large)}; by size: {by_size}. {_READ}."
    )
    if small:
        mean = geometric_mean([one.ratio.value for one in small])
        text += f" Smaller messages, which tell latency, count apart: {100 * mean:.1f}%."
    if not pair.nccl.is_sustained:
        text += f" The preset {pair.nccl.way[1]} measures no sustained rate: it decides nothing."
    return text + " It is of the libraries and of the links of the two machines together."


def _over(sizes: Sequence[Size]) -> str:
    if len(sizes) == 1:
        return f"all-reduce of {size_text(sizes[0].message_bytes)}"
    first, last = (size_text(sizes[end].message_bytes) for end in (0, -1))
    return f"the geometric mean over {len(sizes)} sizes of all-reduce, {first} to {last}"


def _less(ratio: float) -> str:
    apart_by = f"{100 * abs(1 - ratio):.1f}%"
    return f"{apart_by} {'less' if ratio < 1 else 'more'}"


def _percent(ratio: Estimate) -> str:
    text = f"{100 * ratio.value:.1f}%"
    if math.isnan(ratio.low):
        return text
    return f"{text} ({100 * ratio.low:.1f} … {100 * ratio.high:.1f})"


def _figures(pair: Pair, overall: Estimate, sizes: Sequence[Size]) -> Iterator[Figure]:
    source = f"{pair.nccl.source}; {pair.rccl.source}"
    yield Figure(
        what=f"RCCL over NCCL, messages from {size_text(LARGE)}",
        value=100 * overall.value,
        unit="%",
        source=source,
    )
    for one in sizes:
        yield Figure(
            what=f"the same, {size_text(one.message_bytes)}",
            value=100 * one.ratio.value,
            unit="%",
            source=f"bus bandwidth {number(one.rccl_gbps)} over {number(one.nccl_gbps)} GB/s",
        )


def _told_pair(pair: Pair) -> str:
    """A pair that is not the claim's, or not the best."""
    where = f"{pair.nccl.over} and {pair.rccl.over}"
    if pair.nccl.over == pair.rccl.over:
        where = pair.nccl.over
    start = f"{where}: {pair.rccl.name} beside {pair.nccl.name}"
    if not pair.large:
        return f"{start}: no message from {size_text(LARGE)} in both"
    sizes = [size_of(pair, one) for one in pair.large]
    mark = "" if decide(*pair.rows) else f", {said(*pair.rows).lower()}"
    return f"{start} has {_percent(overall_of(pair))} of the bus bandwidth, {_over(sizes)}{mark}"


def _told_side(side: Side) -> str:
    size = max(side.rows)
    gbps = geometric_mean([row.busbw_gbps for row in side.rows[size]])
    mark = "" if decide(*side.all) else f", {said(*side.all).lower()}"
    mark += "" if side.is_sustained else f", {side.way[1]}"
    return (
        f"{side.over}: {side.name}: {number(gbps)} GB/s bus bandwidth of all-reduce at "
        f"{size_text(size)}{mark}"
    )


def _alone(sides: Sequence[Side], best: Pair | None, others: Sequence[Pair]) -> Iterator[Side]:
    told = [side for pair in (*others, *filter(None, (best,))) for side in (pair.nccl, pair.rccl)]
    return (side for side in sides if side not in told)


def _missing(known: Known, sides: Sequence[Side], pairs: Sequence[Pair]) -> str:
    """Why these runs do not decide it."""
    if not sides:
        if known.collectives is None or known.collectives.empty:
            return "No run of a collective is given."
        return "The runs of collectives have no all-reduce that is right and was not disturbed."
    by_library = _by_library(sides)
    gone = [name.upper() for name in ("nccl", "rccl") if name not in by_library]
    if gone:
        there = " and ".join(sorted({side.label for side in sides}))
        return f"The runs are of {there}: none is of {' or '.join(gone)}."
    of_claim = [pair for pair in pairs if _is_the_claims(pair)]
    if any(pair.shared for pair in of_claim):
        return f"Both have no size of message from {size_text(LARGE)} in common."
    if of_claim:
        return "The two runs have no size of message in common."
    if pairs:
        return "None is of 8 H100 in one machine beside 8 MI300X in one machine."
    how = {name: sorted({side.how for side in some}) for name, some in by_library.items()}
    return (
        f"NCCL was measured {' or '.join(how['nccl'])}, RCCL {' or '.join(how['rccl'])}: only what "
        "was measured alike is compared."
    )


def _by_library(sides: Sequence[Side]) -> Mapping[str, list[Side]]:
    return {
        name: [side for side in sides if side.library == name]
        for name in dict.fromkeys(side.library for side in sides)
    }


def _needs(sides: Sequence[Side]) -> str:
    has = {
        (side.library, side.device_id)
        for side in sides
        if (side.ranks, side.on_node) == (RANKS, RANKS) and side.decides
    }
    wanted = [
        name
        for name, key in (
            ("8 H100 of one machine", ("nccl", H100)),
            ("8 MI300X of one machine", ("rccl", MI300X)),
        )
        if key not in has
    ]
    return f"on {' and on '.join(wanted) or 'both, alike'}: {_RUN}, {_THEN}"


def _more(overall: Estimate, sides: Sequence[Side], *, measured: bool) -> str:
    if not measured:
        return _needs(sides)
    if math.isnan(overall.low):
        return f"more rounds, as there are too few for an interval: {_RUN}, {_THEN}"
    return (
        "an interval on one side of 65% and 75%, which more runs of each make narrower (5, say): "
        f"{_RUN}, then gemmbench claims with all of them"
    )
