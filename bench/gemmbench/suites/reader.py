"""Suites from TOML: those that ship with gemmbench, and a user's own."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from gemmbench.suites.shapes import MAX_SHAPES, Shape, checked, distinct, shape_of
from gemmbench.timing.method import PRESETS
from gemmkernels.errors import GemmbenchError, UnknownNameError
from gemmkernels.precision import precision
from gemmkernels.problem import MAX_DIMENSION
from gemmkernels.smallfile import plainly, small_file, toml_table

Kind = Literal["cpu", "gpu"]
_FOLDER = Path(__file__).parent


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
    """`m` may be a list: numbers of tokens, each a shape of its own with it in its label."""

    m: _Size | list[_Size]
    n: _Size
    k: _Size
    batch: _Size = 1
    experts: _Size = 1
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
    data = small_file(path, expected="a suite, *.toml", remedy=f"known: {', '.join(names())}")
    return parse_suite(data, source=path.name, stem=path.stem)


def parse_suite(data: bytes, *, source: str, stem: str = "") -> Suite:
    """A suite from the bytes of a file; `source` names it in errors, `stem` where it does not."""
    table = toml_table(data, source=source)
    _check_keys(source, table)
    try:
        file = msgspec.convert(table, _File)
    except msgspec.ValidationError as error:
        raise GemmbenchError(f"{source}: {plainly(str(error), table)}") from None
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
    shapes = [
        shape
        for index, entry in enumerate(found)
        for shape in _shapes(source, f"{place}[{index}]", entry)
    ]
    if len(shapes) > MAX_SHAPES:
        raise GemmbenchError(f"{source}: {place} makes {len(shapes)} shapes, {MAX_SHAPES} at most")
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
        shapes=distinct(shapes),
        kernels=tuple(dict.fromkeys(map(str, kernels))),
        precisions=tuple(dict.fromkeys(map(str, precisions))),
    )


def _shapes(source: str, place: str, entry: object) -> tuple[Shape, ...]:
    try:
        if isinstance(entry, str):
            return (shape_of(entry),)
        assert isinstance(entry, _ShapeTable)
        rest = msgspec.structs.asdict(entry)
        rows = rest.pop("m")
        if isinstance(rows, int):
            return (checked(Shape(m=rows, **rest)),)
        if not rows:
            raise GemmbenchError("m is empty: name some, such as m = [1, 16, 256]")
        label = rest.pop("label")
        return tuple(checked(Shape(m=m, label=_of_tokens(label, m), **rest)) for m in rows)
    except GemmbenchError as error:
        raise _at(source, place, error) from None


def _of_tokens(label: str, count: int) -> str:
    return f"{label}, {count} token{'' if count == 1 else 's'}" if label else ""


def _at(source: str, place: str, error: GemmbenchError) -> GemmbenchError:
    return GemmbenchError(f"{source}: {place}: {error}" if place else f"{source}: {error}")


def _key(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key
