"""A step of a case on all ranks: what goes wrong on any of them ends the case on all."""

from collections.abc import Callable

from gemmbench.records.schema import Status
from gemmbench.runner.parallel.ranks import Ranks
from gemmbench.runner.reason import reason_of
from gemmbench.runner.recording import Progress
from gemmbench.verify import WrongError


class BrokenError(Exception):
    """Some ranks came through a collective and others did not: they can do nothing more."""


def passed(
    ranks: Ranks, progress: Progress, work: Callable[[], None], *, apart: bool = False
) -> bool:
    """Do it on every rank; False where the case has ended, on all.

    `apart` is work that exchanges nothing: one rank that lacks memory costs the case, and no more.
    Elsewhere one that fails alone leaves the others in a collective. Raises BrokenError where that
    has happened.
    """
    status: Status | str = ""
    reason = ""
    try:
        work()
    except WrongError as error:
        status, reason = "wrong", str(error)
    except Exception as error:
        status, reason = "failed", reason_of(error)
        ranks.guard.note(f"fault {reason}")
    found = ranks.every((status, reason))
    failed = [(rank, why) for rank, (what, why) in enumerate(found) if what == "failed"]
    if failed:
        rank, why = failed[0]
        if not apart and len(failed) < ranks.ranks:
            raise BrokenError(f"rank {rank}: {why}")
        progress.end("failed", why if len(failed) == ranks.ranks else f"rank {rank}: {why}")
        ranks.guard.note("")
        return False
    for rank, (what, why) in enumerate(found):
        if what == "wrong":
            progress.end("wrong", f"rank {rank}: {why}")
            return False
    return True
