"""The process that owns one device: it loads kernels, tries them, times them, and says so.

Started by the supervisor as `python -m gemmbench.runner.worker FD`; commands come on standard
input, messages go to the file descriptor. What kernels print goes to standard output and error,
which the supervisor keeps as evidence of a crash.
"""

import contextlib
import ctypes
import faulthandler
import hashlib
import os
import resource
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

import gemmkernels
from gemmbench.runner.messages import (
    CHANNEL_LOST,
    NEXT_CASE,
    Answer,
    Ask,
    AskSpace,
    Count,
    Counted,
    Doing,
    Done,
    FromWorker,
    Hello,
    KernelInfo,
    Open,
    Probing,
    Profile,
    Refused,
    Space,
    TestPair,
    Took,
    ToWorker,
    Work,
)
from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError
from gemmkernels.kernel import Kernel
from gemmkernels.tuning import Entry, nearest, read_entries, shipped_file, user_file

if TYPE_CHECKING:
    from gemmbench.runner.clean import CleanSlate

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


class Channel:
    """Messages to the supervisor; a closed one means that it is gone, and so are we.

    `output` is where what is printed goes: it is marked as another case begins.
    """

    def __init__(self, descriptor: int, output: int) -> None:
        self._descriptor = descriptor
        self._output = output
        self._case = -1
        self._encoder = msgspec.json.Encoder()
        self._process = os.getpid()

    def send(self, message: FromWorker) -> None:
        if os.getpid() != self._process:  # a kernel forked, and its child came back to us
            os._exit(0)
        if isinstance(message, Doing) and message.case != self._case:
            self._case = message.case
            with contextlib.suppress(OSError):
                os.write(self._output, NEXT_CASE)
        data = self._encoder.encode(message) + b"\n"
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            os._exit(CHANNEL_LOST)


def digest_of(files: Iterable[Path]) -> str:
    """Of the files that hold kernels' code, so that a resumed run can tell changed ones."""
    found = hashlib.sha256()
    for path in sorted(files):
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


def _with_entries(info: KernelInfo, entries: Sequence[Entry]) -> KernelInfo:
    """With the kernel's tuned entries in its digest: other settings are another kernel."""
    found = [entry for entry in entries if entry.kernel == info.name]
    if not found:
        return info
    digest = hashlib.sha256(info.digest.encode() + msgspec.json.encode(found)).hexdigest()[:16]
    return msgspec.structs.replace(info, digest=digest)


class Worker:
    """One device and the kernels for it."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.device: Device | None = None
        self.slate: CleanSlate
        self.kernels: dict[str, Kernel] = {}

    def open(self, message: Open, began: float) -> None:
        from gemmbench.devices.detect import detect, telemetry_target
        from gemmbench.devices.place import bind, cpus_of, near, place_of
        from gemmbench.devices.software import environment, host, software
        from gemmbench.runner.clean import CleanSlate
        from gemmbench.runner.turners import take
        from gemmkernels.ladder import LADDER
        from gemmkernels.userfile import load_file

        cpus = cpus_of(message.device)
        if cpus is not None:  # before torch counts its threads
            bind(cpus)
        device = detect(message.device, threads=message.threads, own=message.own)
        target = telemetry_target(device)
        if message.bind and device.is_gpu and (cpus := near(target.pci)):
            bind(cpus)
        take(device)
        self.slate = CleanSlate(gpu=device.is_gpu)
        self.kernels = {kernel.name: kernel for kernel in LADDER}
        package = Path(gemmkernels.__file__).parent
        shipped = digest_of(package.rglob("*.py"))
        infos = [KernelInfo.of(kernel, digest=shipped) for kernel in LADDER]
        own = [(kernel, Path(path)) for path in message.files for kernel in load_file(path)]
        for kernel, path in own:
            infos.append(KernelInfo.of(kernel, digest=digest_of([path]), from_file=True))
            if kernel.name in self.kernels:
                raise GemmbenchError(
                    f"two kernels are called {kernel.name!r}: give each a name of its own"
                )
            self.kernels[kernel.name] = kernel
        self.tidy(children=True, switches=False)
        files = (user_file(), shipped_file(device.architecture))
        # A damaged file is told before anything is measured.
        entries = [entry for path in files if path is not None for entry in read_entries(path)]
        if not message.tuning:
            infos = [_with_entries(info, entries) for info in infos]
        self.device = device
        self.channel.send(
            Hello(
                device=device,
                target=target,
                place=place_of(device, target.pci, bound=bool(cpus)),
                kernels=tuple(infos),
                software=software(),
                host=host(),
                environment=environment(),
                setup_s=time.monotonic() - began,
            )
        )

    def count(self) -> None:
        from gemmbench.devices.detect import gpus

        self.channel.send(Counted(devices=gpus()))

    def ask(self, message: Ask) -> None:
        assert self.device is not None
        reasons: list[str | None] = []
        for case in message.cases:
            reason = None
            # What a user's `needs` raises, it raises again as the case is tried: that case fails.
            with contextlib.suppress(Exception):
                reason = self.kernels[case.kernel].why_not(case.problem, self.device)
            reasons.append(reason)
        self.slate.restore()
        self.channel.send(Answer(reasons=tuple(reasons)))

    def space(self, message: AskSpace) -> None:
        from gemmbench.runner.reason import reason_of

        assert self.device is not None
        kernel, problem = self.kernels[message.case.kernel], message.case.problem
        try:
            entry = nearest(kernel.name, problem, self.device)
            answer = Space(
                settings=tuple(dict(one) for one in kernel.settings(problem, self.device)),
                tuned=entry.settings if entry else None,
            )
        except Exception as error:  # of a user's `space`
            answer = Space(error=reason_of(error))
        self.slate.restore()
        self.channel.send(answer)

    def work(self, message: Work) -> None:
        from gemmbench.runner.group import GroupWork

        assert self.device is not None
        work = GroupWork(message, self.device, self.kernels, self.channel.send, tidy=self.tidy)
        work.run()
        self.channel.send(Done())

    def profile(self, message: Profile) -> None:
        from gemmbench.runner.launched import tell
        from gemmkernels.ladder import LADDER
        from gemmkernels.userfile import load_file

        def kernels() -> dict[str, Kernel]:
            own = [kernel for path in message.files for kernel in load_file(path)]
            return {kernel.name: kernel for kernel in (*LADDER, *own)}

        tell(message, kernels, self.channel.send)

    def tidy(self, *, children: bool, switches: bool) -> tuple[str, ...]:
        """Undo what a kernel left behind; in words for its record."""
        from gemmbench.runner.clean import end_children

        changed = self.slate.restore()
        told = [f"changed {name}, and left it so: set back" for name in changed if switches]
        if children and (ended := end_children()):
            told.append(f"left {ended} process(es) running: ended")
        return tuple(told)

    def test_pair(self, message: TestPair) -> None:
        from gemmbench.runner.turners import make_turners_of_pair
        from gemmbench.timing.rounds import rounds

        assert self.device is not None
        began = time.monotonic()
        turners, close = make_turners_of_pair(self.device, message.timing)
        setup_s = time.monotonic() - began
        rounds(
            turners,
            min_rounds=message.timing.min_rounds,
            max_rounds=message.timing.min_rounds,
            max_time_s=message.timing.max_time_s,
            target=message.timing.target,
            seed=message.seed,
            least_rounds=message.timing.least_rounds,
            on_turn=lambda name, turn: self.channel.send(
                Took(case=("less", "more").index(name), turn=turn)
            ),
        )
        close()
        self.channel.send(Done(setup_s=setup_s))

    def probe(self, message: Probing) -> None:
        from gemmbench.runner.roofs_work import RoofWork

        assert self.device is not None
        RoofWork(message, self.device, self.channel.send).run()
        self.channel.send(Done())


def _commands(stream: BinaryIO) -> Iterator[ToWorker]:
    decoder = msgspec.json.Decoder(ToWorker)
    for line in stream:
        yield decoder.decode(line)


def main() -> None:
    began = time.monotonic()
    # Linux: a killed supervisor takes a worker along that hangs in a kernel, and says nothing.
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)  # what a kernel's children start is ours to end
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    with contextlib.suppress(OSError):  # where memory runs out, this process is to go first
        Path("/proc/self/oom_score_adj").write_text("500")
    # Where it crashed, or hangs when the supervisor asks by this signal, is the reason that helps.
    evidence = os.dup(2)  # a kernel may close its standard error
    channel = Channel(int(sys.argv[1]), evidence)
    faulthandler.enable(evidence, all_threads=False)
    faulthandler.register(signal.SIGUSR1, evidence, all_threads=False)
    commands = os.fdopen(os.dup(0), "rb")
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)  # a kernel that reads input must not eat our commands
    worker = Worker(channel)
    try:
        for message in _commands(commands):
            match message:
                case Open():
                    worker.open(message, began)
                case Count():
                    worker.count()
                case Ask():
                    worker.ask(message)
                case AskSpace():
                    worker.space(message)
                case Work():
                    worker.work(message)
                case TestPair():
                    worker.test_pair(message)
                case Probing():
                    worker.probe(message)
                case Profile():
                    worker.profile(message)
    except GemmbenchError as error:
        channel.send(Refused(error=str(error)))


if __name__ == "__main__":
    main()
