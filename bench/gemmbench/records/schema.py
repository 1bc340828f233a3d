"""The lines of a run file: a header, records, self-tests, a footer; one JSON object a line.

Fields are only ever added. A reader ignores those that it does not know, and gives those that a
file lacks their default.
"""

from typing import Annotated, Literal

import msgspec

from gemmbench.devices.place import Place as Place
from gemmbench.timing.method import Timing
from gemmbench.timing.turn import Count, Turn
from gemmkernels.device import Device
from gemmkernels.kernel import settings_text

FORMAT = (1, 0)
"""(major, minor): a newer major version is refused, everything else loads."""

Status = Literal["ok", "unsupported", "wrong", "failed", "timeout", "interrupted"]
KEPT_SAMPLES = 200
Few = Annotated[dict[str, str], msgspec.Meta(max_length=1000)]
"""It stands in each row of a table."""

Size = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


class Method(Timing, frozen=True, kw_only=True):
    """How the times of a run were taken; runs that differ here are not compared."""

    data: str
    seed: int
    threads: Count | None = None


class Header(msgspec.Struct, frozen=True, kw_only=True, tag="run", tag_field="type"):
    """What was measured with, and what was planned. `plan` names every planned case.

    A planned case is `repeat/group/kernel/precision`, as `Record.case` spells it. `doctor` is why
    figures from this machine should not be published, one text a fault. A `tuning` run compares
    settings of one kernel, and plans as it goes; a `probing` one holds roofs only. `sheet` is the
    spec sheet of a device that a user added. `tool` is who measured, where it was not gemmbench: an
    imported run. A `synthetic` run was never measured at all. `place` is known of a run that is one
    of several, or that was told its node.
    """

    run_id: str
    started: str
    version: str
    device: Device
    method: Method
    format: tuple[int, int] = FORMAT
    device_id: str | None = None
    software: Few = {}
    host: Few = {}
    environment: Few = {}
    command: tuple[str, ...] = ()
    request: dict[str, object] = {}
    kernels: dict[str, str] = {}
    suites: tuple[str, ...] = ()
    plan: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    doctor: tuple[str, ...] = ()
    tuning: bool = False
    probing: bool = False
    sheet: dict[str, object] | None = None
    tool: str = ""
    synthetic: bool = False
    place: Place | None = None


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """What verification saw. `error` is max |C - R| / bound: above 1 is wrong, None is not finite.

    `exact_by` is product or freivalds; `rows` is how many rows the rounding check looked at.
    """

    exact_by: str
    error: float | None
    rows: Count
    checks: Count = 0
    bound: str = ""


class RecordFields(msgspec.Struct, frozen=True, kw_only=True):
    """What a `Record` and its outline share; the fields are told there."""

    group: str
    repeat: Count
    kernel: str
    tier: str
    backend: str
    base: bool
    m: Size
    n: Size
    k: Size
    batch: Size
    layout: str
    precision: str
    label: str
    status: Status
    encoding: str = ""
    out_dtype: str = ""
    accumulate: str = ""
    reason: str = ""
    launch: str = ""
    sets: Count | None = None
    n_samples: Count = 0
    check: Check | None = None
    splits: Count | None = None
    modes: dict[str, str] = {}
    limits: dict[str, float | None] = {}
    warnings: tuple[str, ...] = ()
    sitting: Count = 0
    experts: Size = 1
    ran_on: str = ""
    compiled: tuple[dict[str, object], ...] = ()
    settings: dict[str, int | str | bool] | None = None
    collective: str = ""
    ranks: Size = 1
    message_bytes: Count | None = None

    @property
    def case(self) -> str:
        """`repeat/group/kernel/precision`: what names a planned case; then what a tuner asked."""
        name = f"{self.repeat}/{self.group}/{self.kernel}/{self.precision}"
        return f"{name}/{settings_text(self.settings)}" if self.settings else name


class Record(RecordFields, frozen=True, kw_only=True, tag="record", tag_field="type"):
    """One kernel on one problem in one repeat: its status, and its turns if it has any.

    `n_samples` counts all samples of all turns; of a turn whose samples are not kept
    (`KEPT_SAMPLES` a record) the median remains. `limits` is nanoseconds per limit reason, and
    empty where nothing could see them; `modes` what changes the numerics; `settings` what a tuner
    asked for. `ran_on` is what the machine code of a Triton kernel multiplies with (`matrix cores`,
    `vector`, `emulated`), and `compiled` the facts of each launch that it makes, as `gemmbench
    inspect` tells them. JSON has no NaN: a float that is not finite is written as null.

    Of work that `ranks` processes do together, a device each, `m`, `n` and `k` are of the whole
    product, and times those of the slowest rank. `collective` is what they exchange (all-reduce,
    all-gather, reduce-scatter), and `message_bytes` the size that nccl-tests counts: the largest of
    a rank's input and output. A collective alone multiplies nothing: its `k` is 1, and its kernel
    bears its name.
    """

    turns: tuple[Turn, ...] = ()
    config: dict[str, int | float | str | bool | None] = {}
    tile: tuple[int, int, int] | None = None
    grid: tuple[int, ...] | None = None
    energy_j: float | None = None


class SelfTest(msgspec.Struct, frozen=True, kw_only=True, tag="selftest", tag_field="type"):
    """The pair of kernels of which one does `work` times the other's: measured once a repeat."""

    repeat: Count
    work: float
    less: tuple[Turn, ...]
    more: tuple[Turn, ...]


class Roof(msgspec.Struct, frozen=True, kw_only=True, tag="roof", tag_field="type"):
    """What a probe found the device itself to hold, in one repeat.

    `name` is copy or cache (bytes read and written, GB/s), read (bytes read), matrix or vector
    (FLOP without loads, TFLOP/s), or launch-graph, launch-stream, launch-loop (an empty launch,
    µs). `work` is the bytes or FLOP of a launch; `unit` what the rate or the time is told in.
    """

    repeat: Count
    name: str
    unit: Literal["GB/s", "TFLOP/s", "us"]
    precision: str = ""
    work: Annotated[float, msgspec.Meta(ge=0, le=1e30)] = 0.0
    status: Status = "ok"
    reason: str = ""
    turns: tuple[Turn, ...] = ()
    config: dict[str, int | float | str | bool | None] = {}
    limits: dict[str, float | None] = {}


class Launched(msgspec.Struct, frozen=True, kw_only=True, tag="launched", tag_field="type"):
    """Which kernels the library launched for a case, in all repeats; seen after all timing."""

    group: str
    kernel: str
    precision: str
    names: tuple[str, ...]

    @property
    def case(self) -> str:
        """`Record.case` without the repeat."""
        return f"{self.group}/{self.kernel}/{self.precision}"


class Footer(msgspec.Struct, frozen=True, kw_only=True, tag="end", tag_field="type"):
    """How a run ended. Seconds; `timed_s` is launches in timed windows, `setup_s` imports and
    compiling."""

    finished: str
    wall_s: float
    timed_s: float
    setup_s: float
    statuses: dict[str, int]
    interrupted: bool = False


Line = Header | Record | SelfTest | Roof | Launched | Footer


class Fleet(msgspec.Struct, frozen=True, kw_only=True, tag="fleet", tag_field="type"):
    """The first line of a file that holds the runs of several devices.

    Each run stands in it line by line, as in a file of its own (`Of`); its `unit` is the place in
    `places`, or a number after them where its work was moved. `order` is together, one-by-one, or
    shared, where each shape was measured once, on whichever device was free. `by` is what started
    the workers.
    """

    run_id: str
    started: str
    version: str
    places: tuple[Place, ...]
    order: Literal["together", "one-by-one", "shared"] = "together"
    by: Literal["processes", "ray"] = "processes"
    format: tuple[int, int] = FORMAT
    command: tuple[str, ...] = ()
    request: dict[str, object] = {}
    synthetic: bool = False


class Of(msgspec.Struct, frozen=True, kw_only=True, tag="of", tag_field="type"):
    """A line of one unit's run."""

    unit: Count
    line: Line


class Lost(msgspec.Struct, frozen=True, kw_only=True, tag="lost", tag_field="type"):
    """A unit's run will not go on; `place` is where it was to be, of a unit that was moved."""

    unit: Count
    reason: str
    place: Place | None = None


FleetLine = Fleet | Of | Lost | Footer
