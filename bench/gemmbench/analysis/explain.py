"""A run explained: the gap of each of its cases, under roofs of its own or of another run."""

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gemmbench.analysis.benchmarks import case_of
from gemmbench.analysis.gap import Case, Gap, gap
from gemmbench.analysis.gap_causes import causes, problem_of
from gemmbench.analysis.gap_roofs import Ceilings, Known, ceilings
from gemmbench.analysis.rows import rows_of
from gemmbench.analysis.speedup import ladder
from gemmbench.analysis.summary import best
from gemmbench.records.frame import frame, spec_of
from gemmbench.records.reader import Run, Source, read, read_header, read_many
from gemmbench.records.roofs import kin_of, roofs_of
from gemmbench.records.schema import Record
from gemmkernels.errors import GemmbenchError, UnknownNameError
from gemmkernels.problem import shape_text

if TYPE_CHECKING:
    import pandas as pd

_OF_RANKS = "of several ranks, whose time no model of one device explains"
REACH = 1e15
"""TFLOP/s beyond it, or below its inverse, are of a damaged file."""


@dataclass(frozen=True, kw_only=True)
class Explained:
    """One run: the gaps of its cases, those of the best of each precision, and its ceilings.

    `rows` are those of the cases, as `ladder` returns them, one a gap; `ladder` has those of all
    cases. `roofs_from` are the files of roofs that are not the run's own; `left_out` is (what
    became of it, how many) of the cases without a time.
    """

    path: Path
    ladder: "pd.DataFrame"
    rows: "pd.DataFrame"
    gaps: tuple[Gap, ...]
    best: tuple[Gap, ...]
    ceilings: tuple[Ceilings, ...]
    roofs_from: tuple[Path, ...]
    left_out: tuple[tuple[str, int], ...]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which cases: kernels, shapes as `MxNxK` and precisions by name; nothing is all of them."""

    kernels: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.kernels or self.problems or self.precisions)

    def of(self, gaps: Iterable[Gap]) -> tuple[Gap, ...]:
        """Raises as `among`."""
        found = tuple(gaps)
        cases = [(one.case.kernel, one.case.shape, one.case.precision) for one in found]
        return tuple(itertools.compress(found, self.among(cases)))

    def of_rows(self, rows: "pd.DataFrame") -> "pd.DataFrame":
        """The rows of those cases, as `load` and `ladder` return them; raises as `among`."""
        return rows[self.mask(rows)] if self else rows

    def mask(self, rows: "pd.DataFrame") -> list[bool]:
        """Which rows are of those cases; raises as `among`."""
        names = ("kernel", "precision", "m", "n", "k", "batch", "experts")
        return self.among(
            [
                (kernel, shape_text(*shape), precision)
                for kernel, precision, *shape in rows_of(rows, names)
            ]
        )

    def among(self, cases: Sequence[tuple[str, str, str]]) -> list[bool]:
        """Which (kernel, shape, precision) are wanted. Raises UnknownNameError for a name that no
        case has, GemmbenchError if none has all."""
        problems = tuple(text.strip().lower().replace("×", "x") for text in self.problems)
        kinds = ("kernel", "problem", "precision")
        asked = (self.kernels, problems, self.precisions)
        for index, (kind, names) in enumerate(zip(kinds, asked, strict=True)):
            _check(f"{kind} of this run", names, (case[index] for case in cases))
        kept = [
            all(not names or name in names for name, names in zip(case, asked, strict=True))
            for case in cases
        ]
        if not any(kept):
            told = ", ".join(itertools.chain(*asked))
            raise GemmbenchError(f"no measured case is all of {told}: see gemmbench show")
        return kept


def _check(kind: str, asked: Sequence[str], has: Iterable[str]) -> None:
    known = set(has)
    for name in asked:
        if name not in known:
            raise UnknownNameError(kind, name, known)


def explain(
    sources: Source | Sequence[Source],
    *,
    roofs: Sequence[Source] = (),
    wanted: Wanted | None = None,
) -> tuple[Explained, ...]:
    """Where the time of each measured case went, run by run.

    Roofs are the run's own; else those of `roofs`, or of a probing run among the sources; else of
    the newest probing run in the folder of the run, for the same device. Raises GemmbenchError
    where nothing has a time, for roofs of another device, and as `read_many` does.
    """
    given = read_many(sources)
    probes = [*read_many(roofs)] if roofs else []
    found = [one for one in explained(given, roofs=probes, wanted=wanted) if one.gaps]
    if not found:
        names = ", ".join(run.path.name for run in given[:3])
        if not any(run.records for run in given):
            raise GemmbenchError(f"{names} holds roofs only: name a run that they are to explain")
        if all(record.ranks > 1 for run in given for record in run.records):
            raise GemmbenchError(f"{names}: {_OF_RANKS}: see gemmbench show")
        raise GemmbenchError(f"{names}: no case has a time that counts: see gemmbench show")
    return tuple(found)


def explained(
    given: Sequence[Run], *, roofs: Sequence[Run] = (), wanted: Wanted | None = None
) -> Iterator[Explained]:
    """`explain` for runs that were read already; one without any gap is among them.

    Runs that hold roofs only lend them to the others.
    """
    for run in given:
        if run.records:
            others = _roofs_for(run, roofs, [one for one in given if one is not run])
            yield _explained(run, others, wanted or Wanted())


def _roofs_for(run: Run, named: Sequence[Run], given: Sequence[Run]) -> list[Run]:
    for one in named:
        if kin_of(one.header) != kin_of(run.header):
            raise GemmbenchError(
                f"{one.path.name} holds roofs of {_device(one)}, and {run.path.name} ran on "
                f"{_device(run)}: name roofs of the same device, or measure them: gemmbench roofs"
            )
        if not one.roofs:
            raise GemmbenchError(f"{one.path.name} holds no roofs: gemmbench roofs measures them")
    if named:
        return list(named)
    if run.roofs:
        return []
    among = [one for one in given if one.roofs and kin_of(one.header) == kin_of(run.header)]
    return among or _beside(run)


def _device(run: Run) -> str:
    device = run.header.device
    limit = f", {device.power_limit_w:g} W" if device.power_limit_w is not None else ""
    told = f"{device.name} ({device.architecture}, {device.units} units{limit})"
    return f"{told}, synthetic" if run.header.synthetic else told


def _beside(run: Run) -> list[Run]:
    """The newest run with roofs of the same device in the run's folder, if there is one."""
    found: list[tuple[str, Path]] = []
    for path in run.path.parent.glob("*.jsonl"):
        try:
            header = read_header(path)
        except GemmbenchError:  # not a run
            continue
        asked = header.probing or bool(header.request.get("roofs"))
        if asked and path != run.path and kin_of(header) == kin_of(run.header):
            found.append((header.started, path))
    others = (read(path) for _, path in sorted(found, reverse=True))
    # What neighbours spoilt is no roof.
    return list(itertools.islice((one for one in others if roofs_of([one]).found), 1))


def _explained(run: Run, others: Sequence[Run], wanted: Wanted) -> Explained:
    lenders = [replace(one, records=(), selftests=()) for one in others]
    df = frame([run, *lenders])
    records: dict[tuple[object, ...], list[Record]] = {}
    for row, record in zip(rows_of(df), run.records, strict=True):
        if record.status == "ok":
            records.setdefault(case_of(row), []).append(record)
    rows = ladder(df)
    known = Known(
        header=run.header,
        spec=spec_of(run.header),
        own=roofs_of([run]),
        all=roofs_of([*lenders, run]),  # of one kind the last run's counts
    )
    gaps: dict[int, Gap] = {}
    left_out: dict[str, int] = {}
    for index, row in enumerate(rows_of(rows)):
        why = _why_not(row)
        if why:
            left_out[why] = left_out.get(why, 0) + 1
        else:
            gaps[index] = _gap(row, records[case_of(row)], known)
    chosen = {id(one) for one in wanted.of(gaps.values())} if gaps else set()
    gaps = {index: one for index, one in gaps.items() if id(one) in chosen}
    kept = rows.iloc[list(gaps)]
    places = {case_of(row): one for row, one in zip(rows_of(kept), gaps.values(), strict=True)}
    top = _best(kept)
    void = dict(rows_of(kept, ("precision", "roof_void")))
    return Explained(
        path=run.path,
        ladder=rows,
        rows=kept,
        gaps=tuple(gaps.values()),
        best=tuple(places[case_of(row)] for row in rows_of(top)),
        ceilings=tuple(ceilings(name, known, void=gone) for name, gone in void.items()),
        roofs_from=tuple(one.path for one in others),
        left_out=tuple(left_out.items()),
    )


def _best(rows: "pd.DataFrame") -> "pd.DataFrame":
    """As the summary ranks them, sparse ones by their own rate."""
    rate = rows["tflops"].fillna(rows["sparse_tflops"])
    return best(rows.assign(tflops=rate))


def _why_not(row: Any) -> str:
    if row.status != "ok":
        return str(row.status)
    if row.verdict == "contended":
        return "contended"
    if row.ranks > 1 or row.collective:
        return _OF_RANKS
    rate = row.sparse_tflops if math.isnan(row.tflops) else row.tflops
    return "" if 1 / REACH < rate < REACH else "without a rate"


def _gap(row: Any, records: Sequence[Record], known: Known) -> Gap:
    problem = problem_of(records[0])
    case = Case(
        run_id=row.run_id,
        file=row.file,
        device=row.device,
        kernel=row.kernel,
        tier=row.tier,
        modes=row.modes,
        precision=row.precision,
        shape=shape_text(row.m, row.n, row.k, row.batch, row.experts),
        layout=row.layout,
        label=row.label,
        verdict=row.verdict,
        flop=problem.flop,
        min_bytes=problem.min_bytes,
        time_us=row.time_us,
        time_us_low=row.time_us_low,
        time_us_high=row.time_us_high,
        impossible=bool(row.impossible),
    )
    return gap(case, causes(case, row, records, known))
