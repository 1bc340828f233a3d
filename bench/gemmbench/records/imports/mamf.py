"""mamf-finder's log (stas00/ml-engineering, compute/accelerator/benchmarks/mamf-finder.py).

TFLOP/s are by 10¹² with 2·M·N·K, and no time is printed: it follows. The best of a search is not
the mean of a shape, and the versions differ in what they take: each is a method of its own. In the
first one N was the reduction, A times an untransposed B; a version of a day later wrote MxKxN.
"""

import re
from dataclasses import dataclass, replace

from gemmbench.records.imports.dtypes import encoding_of, type_of
from gemmbench.records.imports.text import lines, number
from gemmbench.records.imports.words import Asked, Findings, How, Place, Told
from gemmkernels.errors import GemmbenchError, one_line

_SHAPE = r"([0-9]{1,7})x([0-9]{1,7})x([0-9]{1,7})"
_RATE = r"([0-9]{1,6}(?:\.[0-9]{1,3})?)"
_FIRST = re.compile(rf"The best outcome was {_RATE} ?TFLOPS @ {_SHAPE} \(MxNxK\)")
_BEST = re.compile(rf"(mean|median|max): {{1,6}}{_RATE} TFLOPS @ {_SHAPE} \((MxNxK|MxKxN)\)")
_HEADLINE = re.compile(
    rf"(MAMF|MSMF) \([^)]{{1,60}}\): {{1,6}}{_RATE} TFLOPS @ {_SHAPE} \(MxNxK\)"
    r"(?: {1,4}([0-9]{1,5})W)?(?: {1,4}([0-9]{1,5})MHz)?"
)
_EACH = re.compile(
    rf"\s{{0,8}}[0-9]{{1,7}} \| {{1,6}}{_RATE}\((mean|max)\) {{1,6}}{_RATE}\(median\) "
    rf"{{1,6}}{_RATE}\((?:mean|max)\) @ {_SHAPE} "
)
_EACH_FIRST = re.compile(rf"\s{{0,8}}[0-9]{{1,7}} \| {{1,6}}{_RATE} TFLOPS @ {_SHAPE} ")
_SCOUT = re.compile(rf"\s{{0,8}}[0-9]{{1,7}}  {_SHAPE} {{1,20}}{_RATE} {{1,6}}{_RATE} ")
_TRIED = re.compile(r"(?:[Tt]ried {1,4})([0-9]{1,8}) shapes")
_AGGREGATE = re.compile(r"(?:geomean|arithmetic mean|geometric mean): ")
_DTYPE = re.compile(r"\*\* Dtype: {0,4}(?:torch\.)?([A-Za-z0-9_]{1,30})")
_DEVICE = re.compile(r"_[A-Za-z]{1,20}DeviceProperties\((.{1,600})\)")
_SOFTWARE = re.compile(r"(?:^|[\s,])(torch|cuda|hip)=([0-9][A-Za-z0-9.+-]{0,40})")


@dataclass(frozen=True)
class _Shape:
    m: int
    n: int
    k: int


@dataclass(frozen=True, kw_only=True)
class _Best:
    """One line that a search ends with."""

    what: str
    tflops: float
    shape: _Shape
    power_w: float | None = None
    clock_mhz: float | None = None


def read(text: str, asked: Asked) -> Findings:
    """Each shape of the log, or of a console's end the best ones of the search.

    Raises GemmbenchError where the log tells no type of the operands and `asked` does not either.
    """
    found = Findings()
    spelt = _DTYPE.search(text)
    kind = type_of(spelt[1]) if spelt else None
    if spelt and kind is None:
        raise GemmbenchError(f"it measured {spelt[1]}, which no precision here has")
    name = kind.precision if kind else asked.precision
    if name is None:
        raise GemmbenchError("the log tells no type: say --precision, such as --precision bf16")
    for line in lines(text):
        found.software |= dict(_SOFTWARE.findall(line)) if "=" in line and len(line) < 400 else {}
    template = _template(name, place=_place(text), encoding=encoding_of(kind) if kind else "")
    _search(text, found=found, template=template)
    return found


def _template(name: str, *, place: Place, encoding: str) -> Told:
    """What all measurements of a log share; shape and rate are filled in."""
    return Told(
        kernel="torch-scaled-mm" if name.startswith(("fp8", "mx", "nv")) else "torch-mm",
        backend="torch",
        m=1,
        n=1,
        k=1,
        precision=name,
        how=How(preset="mamf-finder-v2", cache="flushed", launch="single", data="normal"),
        place=place,
        encoding=encoding,
        layout="nt",
    )


def _place(text: str) -> Place:
    """The device's name, units and target, and not its serial number."""
    properties = _DEVICE.search(text)
    if not properties:
        return Place()
    told = properties[1]
    name = re.search(r"name='([^']{1,120})'", told)
    target = re.search(r"gcnArchName='(gfx[0-9a-f]{3,6})", told)
    major, minor = (re.search(rf"{part}=([0-9]{{1,3}})", told) for part in ("major", "minor"))
    units = re.search(r"multi_processor_count=([0-9]{1,6})", told)
    memory = re.search(r"total_memory=([0-9]{1,8})MB", told)  # of 2²⁰ bytes, as torch counts
    # On AMD major and minor are digits of the gfx name; older torch printed no gfx name on CUDA.
    nvidia = name is not None and "NVIDIA" in name[1] and major and minor
    return Place(
        vendor="nvidia" if nvidia else "amd" if target else "other",
        name=name[1] if name else "",
        architecture=f"sm_{major[1]}{minor[1]}"
        if nvidia and major and minor
        else (target[1] if target else ""),
        units=int(units[1]) if units else 0,
        memory_bytes=int(memory[1]) * 2**20 if memory else 0,
    )


def _search(text: str, *, found: Findings, template: Told) -> None:
    old_order = _is_old_order(text)
    each: dict[_Shape, Told] = {}
    bests: list[_Best] = []
    tried = 0
    for line in lines(text):
        if row := _EACH.match(line):
            shape = _shape(row.group(5, 6, 7), middle_is_k=old_order)
            first, last = float(row[1]), float(row[4])
            mean, peak = (first, last) if row[2] == "mean" else (last, first)
            each[shape] = _rated(
                template, shape, float(row[3]), statistic="median", mean=mean, fastest=peak
            )
        elif row := _EACH_FIRST.match(line):
            shape = _shape(row.group(2, 3, 4), middle_is_k=True)
            each[shape] = _first(template, shape, float(row[1]))
        elif row := _FIRST.search(line):
            shape = _shape(row.group(2, 3, 4), middle_is_k=True)
            tried = _count(line)
            bests.append(_Best(what="first", tflops=float(row[1]), shape=shape))
        elif row := _BEST.search(line):
            shape = _shape(row.group(3, 4, 5), middle_is_k=old_order or row[6] == "MxKxN")
            bests.append(_Best(what=row[1], tflops=float(row[2]), shape=shape))
        elif row := _HEADLINE.search(line):
            shape = _shape(row.group(3, 4, 5), middle_is_k=False)
            power, clock = (number(cell) for cell in (row[6], row[7]))
            bests.append(
                _Best(
                    what=row[1], tflops=float(row[2]), shape=shape, power_w=power, clock_mhz=clock
                )
            )
        elif _AGGREGATE.match(line.lstrip()):
            found.leave("as a mean over all shapes")
        elif _SCOUT.match(line):
            found.leave("as a scouting row, of a few iterations")
        if count := _TRIED.search(line):
            tried = int(count[1])
    for told in each.values():
        found.add(told)
    for told in _of_bests(bests, each=each, template=template, tried=tried, found=found):
        found.add(told)


def _is_old_order(text: str) -> bool:
    """Was the middle number the reduction? So it was until the maximum no longer stood first."""
    best = _BEST.search(text)
    if best is not None:
        return best[1] == "max" or best[6] == "MxKxN"
    return any(row[2] == "max" for line in lines(text) if (row := _EACH.match(line)))


def _shape(cells: tuple[str, ...], *, middle_is_k: bool) -> _Shape:
    a, b, c = map(int, cells)
    return _Shape(a, c, b) if middle_is_k else _Shape(a, b, c)


def _count(line: str) -> int:
    tried = _TRIED.search(line)
    return int(tried[1]) if tried else 0


def _rated(
    template: Told, shape: _Shape, tflops: float, *, statistic: str, **others: float
) -> Told:
    """The time follows from the rate: ns = FLOP / (TFLOP/s · 10³)."""
    flop = 2 * shape.m * shape.n * shape.k
    told = replace(template, m=shape.m, n=shape.n, k=shape.k)
    if not tflops > 0:
        return replace(told, status="failed", reason="a rate of 0")
    spread = {f"{name}_tflops": value for name, value in others.items()}
    return replace(
        told,
        time_ns=flop / tflops / 1e3,
        told_tflops=tflops,
        config={"statistic": statistic, **spread},
    )


def _first(template: Told, shape: _Shape, tflops: float) -> Told:
    told = _rated(template, shape, tflops, statistic="fastest iteration")
    how = How(preset="mamf-finder-v1", launch="single", data="normal")
    return replace(told, how=how, layout="nn")


def _of_bests(
    bests: list[_Best],
    *,
    each: dict[_Shape, Told],
    template: Told,
    tried: int,
    found: Findings,
) -> list[Told]:
    """The search's end, but for what its own rows tell already, and the fastest iteration."""
    kept: dict[tuple[_Shape, str], Told] = {}
    label = f"best of {tried} shapes" if tried else "best of a search"
    by_what = sorted(bests, key=lambda best: best.what == "mean")
    for best in by_what:
        if best.what == "max":
            found.leave("as a maximum, which is one iteration")
            continue
        if best.shape in each and best.what in ("first", "mean", "median"):
            found.leave("as a best one that is a row of its own, too")
            continue
        if best.what in ("MAMF", "MSMF"):
            regime = "boost" if best.what == "MAMF" else "sustained"
            told = _rated(template, best.shape, best.tflops, statistic=one_line(best.what))
            told = replace(
                told,
                how=replace(template.how, preset=f"mamf-finder-v4-{regime}"),
                clock_mhz=best.clock_mhz or None,
                power_w=best.power_w or None,
            )
        elif best.what == "first":
            told = _first(template, best.shape, best.tflops)
        elif (best.shape, "median") in kept:
            found.leave("as a mean of a shape whose median is kept")
            continue
        else:
            told = _rated(template, best.shape, best.tflops, statistic=best.what)
        kept[best.shape, best.what] = replace(told, label=label)
    return list(kept.values())
