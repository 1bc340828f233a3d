"""The gate of a comparison: what fails it, and what it could not judge."""

from collections.abc import Sequence

from gemmbench.analysis.comparison import Compared, Comparison
from gemmbench.show.comparison import MOST_NAMED, case_text, complain, interval, share_text
from gemmbench.show.text import times
from gemmkernels.errors import GemmbenchError


def gate(found: Comparison, share: float) -> int:
    """1 if a row is slower by more than `share`, a fraction, with its whole interval; else 0.

    Names those rows on standard error, and what is in b alone. Raises GemmbenchError where none is
    slower, but a row could never be among them, or a case has no row: a gate that cannot fail must
    not pass.
    """
    gated = f"--fail-if-slower {share_text(share)}"
    slower = found.slower_than(share)
    for row in slower:
        complain(
            f"slower by more than {share_text(share)}: {case_text(found, row)}, "
            f"b / a {interval(row.ratio_low, row.ratio_high)}"
        )
    if found.on_both:
        raise GemmbenchError(
            f"{gated}: no row can fail: {found.on_both[0]} is on both sides; name another run"
        )
    if found.machine == "moved":
        raise GemmbenchError(
            f"{gated}: no row can fail: the machine changed between the two sides: its self-test "
            f"reads {times(found.anchor.value)} in b; measure both sides again, in turns"
        )
    not_judged = [
        *(f"{case_text(found, row)}: {_why_not_judged(found, row)}" for row in found.not_judged()),
        *found.lost,
    ]
    if not_judged:
        told = f"{gated}: {len(not_judged)} of {len(found.rows) + len(found.lost)} not judged: "
        told += _first(not_judged) + _remedy(found, not_judged)
        if not slower:
            raise GemmbenchError(told)
        complain(f"warning: {told}")
    if found.new:
        complain(f"warning: {gated} is of what a has; b alone has {_first(found.new)}")
    if share < found.delta:
        complain(
            f"warning: a change below {share_text(found.delta)} does not count here, so "
            f"{gated} fails from there on: --delta sets it"
        )
    return 1 if slower else 0


def _why_not_judged(found: Comparison, row: Compared) -> str:
    if row.why:
        return row.why
    sides = zip("ab", (found.a, found.b), row.repeats, strict=True)
    few = [f"{count} of {one.repeats} in {side}" for side, one, count in sides if count < 2]
    return f"no interval, as too few repeats count ({', '.join(few)})"


def _remedy(found: Comparison, not_judged: Sequence[str]) -> str:
    """What would let all of them be judged, as far as that is known."""
    if any("contended" in one for one in not_judged):
        return ". Others used the cores: end what else runs there, and measure both sides again"
    if min(found.a.repeats, found.b.repeats) < 2:
        return ". Measure both sides with --repeat 3 or more"
    return ". See what became of them with `gemmbench show`"


def _first(some: Sequence[str]) -> str:
    more = f"; and {len(some) - MOST_NAMED} more" if len(some) > MOST_NAMED else ""
    return "; ".join(some[:MOST_NAMED]) + more
