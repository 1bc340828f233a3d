"""What supervisor and worker say to each other: one JSON object a line, each way."""

import msgspec

from gemmbench.devices.datasheet import Spec
from gemmbench.devices.place import Place
from gemmbench.devices.target import TelemetryTarget
from gemmbench.inspect.question import Compiled
from gemmbench.timing.method import Timing
from gemmbench.timing.turn import Turn
from gemmkernels.device import Device
from gemmkernels.kernel import Kernel
from gemmkernels.probes.roofs import Wanted
from gemmkernels.problem import Problem

CHANNEL_LOST = 73
"""The exit code of a worker that cannot speak to its supervisor any more."""

NEXT_CASE = b"\x1e\n"
"""In what a worker prints: what comes before it is no evidence against the case that begins."""


Settings = dict[str, int | str | bool]


class Case(msgspec.Struct, frozen=True):
    """One kernel, by name, on one problem; `settings` None leaves them to the kernel."""

    kernel: str
    problem: Problem
    settings: Settings | None = None


class KernelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A kernel's description without its code; `digest` of the files it came from."""

    name: str
    tier: str
    backend: str
    kinds: tuple[str, ...]
    precisions: tuple[str, ...]
    base: bool
    modes: tuple[tuple[str, str], ...] = ()
    grouped: bool = False
    tunable: bool = False
    from_file: bool = False
    digest: str = ""

    @classmethod
    def of(cls, kernel: Kernel, *, from_file: bool = False, digest: str = "") -> "KernelInfo":
        """The description of a kernel, from a file of the user's or the ladder."""
        return cls(
            name=kernel.name,
            tier=kernel.tier,
            backend=kernel.backend,
            kinds=kernel.kinds,
            precisions=kernel.precisions,
            base=kernel.base,
            modes=kernel.modes,
            grouped=kernel.grouped,
            tunable=kernel.space is not None,
            from_file=from_file,
            digest=digest,
        )


# To the worker.


class Open(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The first message: which device to take, and the user's kernel files to load.

    `own` are the datasheets that the user added; `bind` keeps it on the CPUs near its GPU.
    """

    device: str
    threads: int | None
    files: tuple[str, ...]
    own: tuple[Spec, ...] = ()
    tuning: bool = False
    bind: bool = False


class Count(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The only message to a process of its own: which GPUs can torch use?"""


class Ask(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Which of these cases can be done?"""

    cases: tuple[Case, ...]


class AskSpace(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Which settings may be tried of the case's kernel on its problem?"""

    case: Case


class Work(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Try each case, then measure them in turns; `verify_only` ends after the first part."""

    cases: tuple[Case, ...]
    timing: Timing
    data: str
    seed: int
    verify_only: bool = False


class TestPair(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Measure the self-test pair."""

    timing: Timing
    seed: int


class Probing(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Try each probe, then measure them in turns."""

    probes: tuple[Wanted, ...]
    timing: Timing
    seed: int


class Profile(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The only message to a process of its own: which kernels do these cases launch?"""

    device: Device
    files: tuple[str, ...]
    cases: tuple[Case, ...]


# From the worker.


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The worker has its device. `setup_s` went into imports."""

    device: Device
    target: TelemetryTarget | None
    kernels: tuple[KernelInfo, ...]
    software: dict[str, str]
    host: dict[str, str]
    environment: dict[str, str]
    setup_s: float
    place: Place | None = None


class Counted(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The GPUs that torch can use, by torch's names."""

    devices: tuple[str, ...]


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A mistake of the user's: one line."""

    error: str


class Answer(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """For each case asked: None, or why not."""

    reasons: tuple[str | None, ...]


class Space(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The settings, the default first, and the nearest tuned entry's; or why there are none."""

    settings: tuple[Settings, ...] = ()
    tuned: Settings | None = None
    error: str = ""


class Doing(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """What begins now. A death before the next message is this case's, if it had not ended.

    Of probes `case` is the place in the message that asked for them.
    """

    case: int
    phase: str


class Bound(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A case is bound and ready: what runs, and what went into imports and compiling."""

    case: int
    setup_s: float
    encoding: str
    launch: str
    sets: int
    config: dict[str, int | str | bool]
    tile: tuple[int, int, int] | None
    grid: tuple[int, ...] | None
    splits: int | None
    launch_s: float
    compiled: tuple[Compiled, ...] = ()


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A probe is ready: the bytes or FLOP of a launch, and what went into imports and compiling."""

    case: int
    setup_s: float
    work: float
    config: dict[str, int | str]


class Took(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """One turn of one case. `case` of the self-test pair is 0 for less work, 1 for more."""

    case: int
    turn: Turn


class Afresh(msgspec.Struct, frozen=True, tag=True):
    """A case fell out in its turn: the turns so far are void, the others begin again."""


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A case has its status, before its turns or after them."""

    case: int
    status: str
    reason: str = ""
    exact_by: str = ""
    error: float | None = None
    rows: int = 0
    checks: int = 0
    warnings: tuple[str, ...] = ()


class Done(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The work, or the pair, is finished; the worker waits. `setup_s` is of the pair."""

    setup_s: float = 0.0


class Launched(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The names of the kernels that a case launched."""

    case: int
    names: tuple[str, ...]


class DeviceLost(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The device answers no more after this case; the worker ends."""

    case: int
    reason: str


ToWorker = Open | Count | Ask | AskSpace | Work | TestPair | Probing | Profile
FromWorker = (
    Hello
    | Counted
    | Refused
    | Answer
    | Space
    | Doing
    | Bound
    | Ready
    | Took
    | Afresh
    | Ended
    | Done
    | Launched
    | DeviceLost
)
