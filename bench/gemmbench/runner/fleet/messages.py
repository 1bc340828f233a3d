"""What a driver and its agents say to each other: one JSON object a line, each way."""

import msgspec

from gemmbench.records.schema import Place
from gemmbench.runner.request import Request


class Charge(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The only message to an agent: what to measure, and where.

    `before` are the lines of the unit's run so far, if it is taken up again; `done` the cases that
    another unit has, as `Record.case` spells them. `version` is the driver's gemmbench; `alike` is
    the header of another unit, whose software this one must have. `beat_s` is how often the agent
    gives a sign of life.
    """

    version: str
    request: Request
    place: Place
    before: tuple[msgspec.Raw, ...] = ()
    done: tuple[str, ...] = ()
    alike: msgspec.Raw | None = None
    beat_s: float = 10.0


class Kept(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Lines of the unit's run, in their order, for the driver to keep."""

    lines: tuple[msgspec.Raw, ...]


class Planned(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The agent has its device, and begins. `estimate_s` is for all of it.

    `doctor` is why figures from there should not be published.
    """

    device: str
    cases: int
    estimate_s: float
    doctor: tuple[str, ...] = ()


class Measured(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A case has ended; `time_us` is None where it was not timed."""

    kernel: str
    precision: str
    shape: str
    status: str
    reason: str = ""
    time_us: float | None = None


class Warned(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Something that the user should know."""

    text: str


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The unit's run came to its end, which may be an interruption."""

    exit_code: int
    interrupted: bool
    timed_s: float
    setup_s: float


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A mistake of the user's, or a device that cannot be used: one line. The agent ends."""

    error: str


class Alive(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A sign of life, which whoever started the agent keeps to itself."""


FromAgent = Kept | Planned | Measured | Warned | Ended | Refused


class Gone(msgspec.Struct, frozen=True, kw_only=True):
    """Said of an agent by its ground: it is no more, without a word of its own.

    `returns` says that another may be started at the same place: only its process died.
    """

    reason: str
    returns: bool = True
