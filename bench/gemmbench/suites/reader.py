"""Suites from TOML: those that ship with gemmbench, and a user's own."""

import os
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from gemmbench.timing.method import PRESETS
from gemmkernels.errors import GemmbenchError, UnknownNameError
from gemmkernels.precision import precision
from gemmkernels.problem import MAX_DIMENSION, Problem, parse_shape

Kind = Literal["cpu", "gpu"]
MAX_BYTES = 2**20
MAX_SHAPES = 10_000
_FOLDER = Path(__file__).parent


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """One GEMM of a suite, before a precision is chosen. `layout` None leaves it to the plan."""

    m: int
    n: int
    k: int
    batch: int = 1
    layout: str | None = None
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class _Part:
    """What a suite asks of one kind of device; no names are all names."""

    shapes: tuple[Shape, ...]
    kernels: tuple[str, ...]
    precisions: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Suite:
    """What to measure. `preset` is None where the user chooses how; `source` is a file name.

    A suite can ask other things of a CPU than of a GPU, hence `kind`.
    """

    name: str
    description: str
    preset: str | None
    source: str
    cpu: _Part
    gpu: _Part

    def shapes(self, kind: Kind) -> tuple[Shape, ...]:
        return self._part(kind).shapes

    def kernels(self, kind: Kind) -> tuple[str, ...]:
        """Names of kernels, with no check that there are any such; empty is all."""
        return self._part(kind).kernels

    def precisions(self, kind: Kind) -> tuple[str, ...]:
        """Names of precisions; empty is all that the device has."""
        return self._part(kind).precisions

    def _part(self, kind: Kind) -> _Part:
        return self.cpu if kind == "cpu" else self.gpu


_Size = Annotated[int, msgspec.Meta(ge=1, le=MAX_DIMENSION)]


class _ShapeTable(msgspec.Struct, forbid_unknown_fields=True):
    m: _Size
    n: _Size
    k: _Size
    batch: _Size = 1
    layout: str | None = None
    label: str = ""


class _KindTable(msgspec.Struct, forbid_unknown_fields=True):
    shapes: list[str | _ShapeTable] | None = None
    kernels: list[str] | None = None
    precisions: list[str] | None = None


class _File(_KindTable, forbid_unknown_fields=True):
    name: str = ""
    description: str = ""
    preset: str | None = None
    cpu: _KindTable = msgspec.field(default_factory=_KindTable)
    gpu: _KindTable = msgspec.field(default_factory=_KindTable)


def names() -> tuple[str, ...]:
    """The suites that ship with gemmbench."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def load_suite(name_or_path: str | os.PathLike[str]) -> Suite:
    """A suite by its name, or from a TOML file of the user's.

    What ends in .toml or has a slash is a path. Raises UnknownNameError for an unknown name, and
    GemmbenchError, in one line with file and key, for a file that is no suite.
    """
    text = os.fspath(name_or_path)
    if isinstance(name_or_path, str) and not text.endswith(".toml") and "/" not in text:
        if text not in names():
            raise UnknownNameError("suite", text[:80], names())
        path = _FOLDER / f"{text}.toml"
    else:
        path = Path(text)
    return parse_suite(_bytes(path), source=path.name, stem=path.stem)


def parse_suite(data: bytes, *, source: str, stem: str = "") -> Suite:
    """A suite from the bytes of a file; `source` names it in errors, `stem` where it does not."""
    try:
        table = tomllib.loads(data.decode())
    except RecursionError:
        raise GemmbenchError(f"{source} is no TOML that can be read: nested too deeply") from None
    except ValueError as error:  # TOML's, UTF-8's, and integers of thousands of digits
        raise GemmbenchError(f"{source} is not TOML: {str(error)[:160]}") from None
    _check_keys(source, table)
    try:
        file = msgspec.convert(table, _File)
    except msgspec.ValidationError as error:
        raise GemmbenchError(f"{source}: {_plainly(str(error))}") from None
    if file.preset is not None and file.preset not in PRESETS:
        raise _at(source, "preset", UnknownNameError("preset", file.preset[:80], PRESETS))
    parts = {kind: _part(source, kind, file) for kind in ("cpu", "gpu")}
    if not parts["cpu"].shapes and not parts["gpu"].shapes:
        raise GemmbenchError(f'{source}: it has no shapes: write shapes = ["4096x4096x4096"]')
    for key, value in (("name", file.name), ("description", file.description)):
        if not value.isprintable():
            raise GemmbenchError(f"{source}: {key} = {value[:60]!r} must be one printable line")
    return Suite(
        name=file.name.strip() or stem or source,
        description=file.description,
        preset=file.preset,
        source=source,
        cpu=parts["cpu"],
        gpu=parts["gpu"],
    )


def _bytes(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise GemmbenchError(f"{path} is no regular file: expected a suite, *.toml")
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise GemmbenchError(
            f"cannot read the suite {str(path)[:200]!r}: {reason}; known: {', '.join(names())}"
        ) from None
    if len(data) > MAX_BYTES:
        raise GemmbenchError(f"{path} is over {MAX_BYTES >> 20} MiB: that is no suite")
    return data


def _check_keys(source: str, table: dict[str, object]) -> None:
    """Every key must be known; the error offers the nearest ones."""

    def check(where: str, found: object, kind: type[msgspec.Struct]) -> None:
        known = kind.__struct_fields__
        for key in found if isinstance(found, dict) else ():
            if key not in known:
                raise _at(source, where, UnknownNameError("key", str(key)[:80], known))

    check("", table, _File)
    for place, part in (("", table), ("cpu", table.get("cpu")), ("gpu", table.get("gpu"))):
        check(place, part, _File if part is table else _KindTable)
        shapes = part.get("shapes") if isinstance(part, dict) else None
        for index, shape in enumerate(shapes if isinstance(shapes, list) else ()):
            check(_key(place, f"shapes[{index}]"), shape, _ShapeTable)


def _part(source: str, kind: str, file: _File) -> _Part:
    """The table of one kind of device over what the file says for both."""
    own = file.cpu if kind == "cpu" else file.gpu

    def pick(key: str) -> tuple[str, list[object]]:
        value = getattr(own, key)
        place = kind if value is not None else ""
        value = getattr(file, key) if value is None else value
        if value == []:
            raise GemmbenchError(f"{source}: {_key(place, key)} is empty: name some, or drop it")
        return _key(place, key), value or []

    place, found = pick("shapes")
    if len(found) > MAX_SHAPES:
        raise GemmbenchError(f"{source}: {place} has {len(found)} entries, {MAX_SHAPES} at most")
    shapes = [_shape(source, f"{place}[{i}]", entry) for i, entry in enumerate(found)]
    place, kernels = pick("kernels")
    for name in kernels:
        if not str(name).strip() or not str(name).isprintable():
            raise GemmbenchError(f"{source}: {place}: name {str(name)[:60]!r} is not printable")
    place, precisions = pick("precisions")
    for name in precisions:
        try:
            precision(str(name))
        except GemmbenchError as error:
            raise _at(source, place, error) from None
    return _Part(
        shapes=_distinct(shapes),
        kernels=tuple(dict.fromkeys(map(str, kernels))),
        precisions=tuple(dict.fromkeys(map(str, precisions))),
    )


def _shape(source: str, place: str, entry: object) -> Shape:
    try:
        if isinstance(entry, str):
            batch, star, rest = entry.rpartition("*")
            m, n, k = parse_shape(rest)
            if star and not re.fullmatch(r"\s*[0-9]{1,10}\s*", batch):
                raise GemmbenchError(f"batch {batch[:60]!r} is no whole number: write 8*64x64x64")
            shape = Shape(m=m, n=n, k=k, batch=int(batch) if star else 1)
        else:
            assert isinstance(entry, _ShapeTable)
            shape = Shape(**msgspec.structs.asdict(entry))
            if not shape.label.isprintable() or len(shape.label) > 200:
                raise GemmbenchError(
                    f"label {shape.label[:60]!r} must be one printable line of up to 200 characters"
                )
        Problem(
            m=shape.m,
            n=shape.n,
            k=shape.k,
            batch=shape.batch,
            layout="nn" if shape.layout is None else shape.layout[:80],
            precision="fp32",
        )
    except GemmbenchError as error:
        raise _at(source, place, error) from None
    return shape


def _distinct(shapes: Sequence[Shape]) -> tuple[Shape, ...]:
    """Each geometry once, under the labels of all: measuring it twice would tell nothing more."""
    found: dict[Shape, list[str]] = {}
    for shape in shapes:
        labels = found.setdefault(replace(shape, label=""), [])
        if shape.label and shape.label not in labels:
            labels.append(shape.label)
    return tuple(replace(shape, label="; ".join(labels)) for shape, labels in found.items())


def _at(source: str, place: str, error: GemmbenchError) -> GemmbenchError:
    return GemmbenchError(f"{source}: {place}: {error}" if place else f"{source}: {error}")


def _key(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


def _plainly(message: str) -> str:
    """msgspec's "Expected `int`, got `str` - at `$.cpu.shapes[0]`" in TOML's words, key first."""
    what, _, where = message[:300].partition(" - at ")
    what = what.replace("object", "table").replace("Object missing required field", "missing key")
    key = where.strip("`").removeprefix("$").removeprefix(".")
    return f"{key}: {what}" if key else what
