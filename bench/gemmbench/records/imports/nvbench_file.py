"""What of NVBench's JSON is read, and the files of single samples beside it.

Fields that are not here are passed over: the format has grown without raising its version.
"""

import struct
from pathlib import Path

import msgspec

from gemmbench.records.imports.words import Findings

MAX_SAMPLES = 2_000_000


class Datum(msgspec.Struct):
    name: str
    value: str | float | None = None


class Summary(msgspec.Struct):
    tag: str
    data: list[Datum] = []


class Axis(msgspec.Struct):
    name: str
    value: str | float | None = None


class State(msgspec.Struct):
    name: str
    device: int | None = None
    axis_values: list[Axis] | None = None
    summaries: list[Summary] | None = None
    is_skipped: bool = False
    skip_reason: str = ""


class Benchmark(msgspec.Struct):
    name: str
    states: list[State]


class Device(msgspec.Struct):
    id: int
    name: str
    sm_version: int = 0
    number_of_sms: int = 0
    global_memory_size: int = 0
    l2_cache_size: int = 0


class Version(msgspec.Struct):
    string: str = ""
    git_version: str = ""


class Versions(msgspec.Struct):
    nvbench: Version = msgspec.field(default_factory=Version)


class Meta(msgspec.Struct):
    version: Versions = msgspec.field(default_factory=Versions)


class File(msgspec.Struct):
    benchmarks: list[Benchmark]
    devices: list[Device]
    meta: Meta = msgspec.field(default_factory=Meta)


def samples_of(folder: Path, name: str, found: Findings) -> tuple[float, ...]:
    """Seconds of a side file: little-endian float32. Only one beside the JSON is ever opened."""
    path = folder / name
    try:
        if not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
            found.leave("whose file of samples is not beside it")
            return ()
        with path.open("rb") as stream:
            data = stream.read(4 * MAX_SAMPLES + 1)
    except (OSError, ValueError):
        found.leave("whose file of samples cannot be read")
        return ()
    values = [one[0] for one in struct.iter_unpack("<f", data[: len(data) // 4 * 4])]
    if len(data) % 4 or len(data) > 4 * MAX_SAMPLES or not all(0 < one < 1e6 for one in values):
        found.leave("whose file of samples is damaged")
        return ()
    return tuple(values)
