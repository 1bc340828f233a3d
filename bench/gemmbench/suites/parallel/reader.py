"""Suites of several ranks from TOML: those that ship with gemmbench, and a user's own."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from gemmbench.suites.shapes import MAX_LABEL, MAX_SHAPES
from gemmkernels.errors import GemmbenchError, UnknownNameError
from gemmkernels.parallel.ladder import PARALLEL
from gemmkernels.precision import precision
from gemmkernels.problem import MAX_DIMENSION
from gemmkernels.smallfile import plainly, small_file, toml_table

_FOLDER = Path(__file__).parent
_POWERS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}
MAX_MESSAGE_BYTES = 2**36

_Size = Annotated[int, msgspec.Meta(ge=1, le=MAX_DIMENSION)]


class Layer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A linear layer of N × K weights, whole, split along N (column) or K (row), for M tokens."""

    m: tuple[_Size, ...]
    n: _Size
    k: _Size
    split: Literal["column", "row"]
    label: str = ""


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a suite asks of one kind of device. `bytes` are sizes of messages: 1024, "16K", "1G"."""

    precisions: tuple[str, ...] = ()
    bytes: tuple[int | str, ...] = ()
    layers: tuple[Layer, ...] = ()

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes in bytes."""
        return tuple(dict.fromkeys(map(size_of, self.bytes)))


class ParallelSuite(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to measure: these kernels, on the layers and messages of the kind of device."""

    name: str = ""
    description: str = ""
    kernels: tuple[str, ...] = ()
    cpu: Part = Part()
    gpu: Part = Part()


@dataclass(frozen=True)
class _Named:
    """A suite file's bytes, and what errors call it."""

    data: bytes
    source: str
    stem: str


def names() -> tuple[str, ...]:
    """The suites of several ranks that ship with gemmbench."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def load_parallel(name_or_path: str) -> ParallelSuite:
    """A suite by its name, or from a TOML file of the user's: what ends in .toml or has a slash.

    Raises UnknownNameError for an unknown name, and GemmbenchError, in one line with the file and
    what is wrong in it, for a file that is no such suite.
    """
    found = _named(name_or_path)
    table = toml_table(found.data, source=found.source)
    try:
        suite = msgspec.convert(table, ParallelSuite)
        _check(suite)
    except msgspec.ValidationError as error:
        raise GemmbenchError(f"{found.source}: {plainly(str(error), table)}") from None
    except GemmbenchError as error:
        raise GemmbenchError(f"{found.source}: {error}") from None
    return msgspec.structs.replace(suite, name=suite.name.strip() or found.stem)


def size_of(text: int | str) -> int:
    """Bytes of 1024, "16K", "4M" or "1G"; raises GemmbenchError for anything else."""
    found = re.fullmatch(r"(\d{1,12})\s*([KMG]?)(?:iB)?", str(text).strip())
    size = int(found[1]) * _POWERS[found[2]] if found else 0
    if not 1 <= size <= MAX_MESSAGE_BYTES:
        raise GemmbenchError(f"size {str(text)[:40]!r} is none: write 1024, 16K, 4M or 1G (bytes)")
    return size


def _named(name_or_path: str) -> _Named:
    if not name_or_path.endswith(".toml") and "/" not in name_or_path:
        if name_or_path not in names():
            raise UnknownNameError("suite of several ranks", name_or_path[:80], names())
        path = _FOLDER / f"{name_or_path}.toml"
    else:
        path = Path(name_or_path)
    remedy = f"known: {', '.join(names())}"
    data = small_file(path, expected="a suite of several ranks, *.toml", remedy=remedy)
    return _Named(data, path.name, path.stem)


def _check(suite: ParallelSuite) -> None:
    known = [kernel.name for kernel in PARALLEL]
    for name in suite.kernels:
        if name not in known:
            raise UnknownNameError("kernel of several ranks", name[:80], known)
    for key, value in (("name", suite.name), ("description", suite.description)):
        if not value.isprintable():
            raise GemmbenchError(f"{key} = {value[:60]!r} must be one printable line")
    count = 0
    for part in (suite.cpu, suite.gpu):
        for name in part.precisions:
            precision(name)
        for layer in part.layers:
            if not layer.m:
                raise GemmbenchError("m is empty: name some, such as m = [16, 2048]")
            if not layer.label.isprintable() or len(layer.label) > MAX_LABEL:
                what = f"label {layer.label[:60]!r}"
                raise GemmbenchError(f"{what} must be one printable line of up to {MAX_LABEL}")
            count += len(layer.m)
        count += len(part.sizes)
    if not count:
        raise GemmbenchError('it has neither layers nor messages: write bytes = ["1M"] in [gpu]')
    if count > MAX_SHAPES:
        raise GemmbenchError(f"it asks for {count} problems, {MAX_SHAPES} at most")


def suite_name(name_or_path: str) -> str:
    """What a run file keeps of it: a file's name without its folders."""
    return Path(os.fspath(name_or_path)).name
