"""Shapes as users name them: MxNxK with or without a batch, and ranges of M, N and K."""

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from gemmkernels.errors import GemmbenchError
from gemmkernels.problem import MAX_DIMENSION, Problem, parse_shape

MAX_SHAPES = 10_000
MAX_LABEL = 200
_NUMBER = re.compile(r"[0-9]{1,10}")
_LETTERS = ("m", "n", "k")


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """One GEMM of a suite, before a precision is chosen. `layout` None leaves it to the plan."""

    m: int
    n: int
    k: int
    batch: int = 1
    layout: str | None = None
    label: str = ""
    experts: int = 1


def shape_of(text: str) -> Shape:
    """The shape of "4096x4096x4096", of "8*64x64x64" with a batch of 8, or of "8@4096x64x64", whose
    4096 rows are shared out among 8 experts.

    Raises GemmbenchError for anything else.
    """
    for sign, name in (("*", "batch"), ("@", "experts")):
        count, found, rest = text.rpartition(sign)
        if not found:
            continue
        m, n, k = parse_shape(rest)
        if not _NUMBER.fullmatch(count.strip()):
            raise GemmbenchError(f"{name} {count[:60]!r} is no whole number: write 8{sign}64x64x64")
        counts = {name: int(count)}
        return checked(
            Shape(m=m, n=n, k=k, batch=counts.get("batch", 1), experts=counts.get("experts", 1))
        )
    m, n, k = parse_shape(text)
    return checked(Shape(m=m, n=n, k=k))


def checked(shape: Shape) -> Shape:
    """The shape itself; raises GemmbenchError for a size, layout or label that cannot be."""
    if not shape.label.isprintable() or len(shape.label) > MAX_LABEL:
        raise GemmbenchError(
            f"label {shape.label[:60]!r} must be one printable line of up to {MAX_LABEL} characters"
        )
    Problem(
        m=shape.m,
        n=shape.n,
        k=shape.k,
        batch=shape.batch,
        experts=shape.experts,
        layout="nn" if shape.layout is None else shape.layout[:80],
        precision="fp32",
    )
    return shape


def distinct(shapes: Iterable[Shape]) -> tuple[Shape, ...]:
    """Each geometry once, under the labels of all: measuring it twice would tell nothing more."""
    found: dict[Shape, list[str]] = {}
    for shape in shapes:
        labels = found.setdefault(replace(shape, label=""), [])
        if shape.label and shape.label not in labels:
            labels.append(shape.label)
    return tuple(replace(shape, label=_joined(labels)) for shape, labels in found.items())


def _joined(labels: Sequence[str]) -> str:
    text = "; ".join(labels)
    return text if len(text) <= MAX_LABEL else text[: MAX_LABEL - 1] + "…"


def grid(m: str | None, n: str | None, k: str | None) -> tuple[Shape, ...]:
    """The products of all values of `--m`, `--n` and `--k`, in that order; none where none is said.

    Each is a list of values such as 4096, 1024:8192:1024 (the stop included), 1024:8192:x2, or the
    letter of another one, which it then equals. Raises GemmbenchError, before anything is made of
    it, for what is no such list, and for more than MAX_SHAPES shapes.
    """
    given = {letter: text for letter, text in zip(_LETTERS, (m, n, k), strict=True) if text}
    if not any(text is not None for text in (m, n, k)):
        return ()
    if missing := [f"--{letter}" for letter in _LETTERS if letter not in given]:
        raise GemmbenchError(
            f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing: give --m, "
            f"--n and --k; {_squares(next(iter(given), 'm'))} for squares"
        )
    same = {letter: _same(letter, given) for letter in _LETTERS}
    values = {
        letter: _values(letter, given[letter]) for letter in _LETTERS if same[letter] == letter
    }
    count = 1
    for found in values.values():
        count *= len(found)
    if count > MAX_SHAPES:
        raise GemmbenchError(
            f"--m, --n and --k make {count} shapes, {MAX_SHAPES} at most: take wider steps"
        )
    shapes = []
    for point in itertools.product(*values.values()):
        at = dict(zip(values, point, strict=True))
        rows, columns, depth = (at[same[letter]] for letter in _LETTERS)
        shapes.append(Shape(m=rows, n=columns, k=depth))
    return tuple(shapes)


def _squares(letter: str) -> str:
    return "say " + " ".join(f"--{other} {letter}" for other in _LETTERS if other != letter)


def _same(letter: str, given: dict[str, str]) -> str:
    """The letter whose values it takes: its own, or that which is written for it."""
    name = given[letter].strip().lower()
    if name not in _LETTERS:
        return letter
    if name == letter or given[name].strip().lower() in _LETTERS:
        raise GemmbenchError(
            f"--{letter} {name} leads to no number: give one of them numbers, and "
            f"{_squares('m')} for squares"
        )
    return name


def _values(letter: str, text: str) -> tuple[int, ...]:
    """The distinct values of a list, in the order written; at most MAX_SHAPES are ever made."""
    parts: list[Sequence[int]] = []
    count = 0
    for item in text.split(","):
        parts.append(_item(letter, item))
        count += len(parts[-1])
        if count > MAX_SHAPES:
            raise GemmbenchError(
                f"--{letter} {text[:60]} is over {MAX_SHAPES} values: take wider steps"
            )
    return tuple(dict.fromkeys(itertools.chain.from_iterable(parts)))


def _item(letter: str, item: str) -> Sequence[int]:
    numbers = [part.strip() for part in item.split(":", 4)]
    factor = len(numbers) == 3 and numbers[2][:1] in ("x", "X", "×")
    if factor:
        numbers[2] = numbers[2][1:].strip()
    if len(numbers) not in (1, 3) or not all(map(_NUMBER.fullmatch, numbers)):
        raise GemmbenchError(
            f"--{letter} {item.strip()[:60]!r} is no number and no range: write 4096, "
            "1024:8192:1024 (start:stop:step), 1024:8192:x2, several with commas, "
            "or m, n or k alone"
        )
    start, stop, step = (*map(int, numbers),) if len(numbers) == 3 else (int(item), int(item), 1)
    if not 1 <= start <= stop <= MAX_DIMENSION:
        limits = f"1 … {MAX_DIMENSION}"
        told = f"must lie in {limits}" if start == stop else f"must rise within {limits}"
        raise GemmbenchError(f"--{letter} {item.strip()} {told}")
    if step < (2 if factor else 1):
        least = "a factor of x2 or more" if factor else "a step of 1 or more"
        raise GemmbenchError(f"--{letter} {item.strip()} never ends: take {least}")
    if not factor:
        return range(start, stop + 1, step)
    powers = itertools.accumulate(itertools.repeat(step), int.__mul__, initial=start)
    return tuple(itertools.takewhile(lambda value: value <= stop, powers))
