"""The process that owns one device: it loads kernels, tries them, times them, and says so.

Started by the supervisor as `python -m gemmbench.runner.worker FD`; commands come on standard
input, messages go to the file descriptor. What kernels print goes to standard output and error,
which the supervisor keeps as evidence of a crash.
"""

import ctypes
import hashlib
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

import gemmkernels
from gemmbench.runner.messages import (
    Answer,
    Ask,
    Done,
    FromWorker,
    Hello,
    KernelInfo,
    Open,
    Refused,
    TestPair,
    Took,
    ToWorker,
    Work,
)
from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError
from gemmkernels.kernel import Kernel

PR_SET_PDEATHSIG = 1


class Channel:
    """Messages to the supervisor; a closed one means that it is gone, and so are we."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._encoder = msgspec.json.Encoder()

    def send(self, message: FromWorker) -> None:
        data = self._encoder.encode(message) + b"\n"
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            os._exit(3)


def _digest(files: Iterable[Path]) -> str:
    """Of the files that hold kernels' code, so that a resumed run can tell changed ones."""
    found = hashlib.sha256()
    for path in sorted(files):
        found.update(path.read_bytes())
    return found.hexdigest()[:16]


def _describe(kernel: Kernel, *, digest: str, from_file: bool) -> KernelInfo:
    return KernelInfo(
        name=kernel.name,
        tier=kernel.tier,
        backend=kernel.backend,
        kinds=kernel.kinds,
        precisions=kernel.precisions,
        base=kernel.base,
        from_file=from_file,
        digest=digest,
    )


class Worker:
    """One device and the kernels for it."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.device: Device | None = None
        self.kernels: dict[str, Kernel] = {}

    def open(self, message: Open, began: float) -> None:
        from gemmbench.devices.detect import detect, telemetry_target
        from gemmbench.devices.software import environment, host, software
        from gemmkernels.ladder import LADDER
        from gemmkernels.userfile import load_file

        device = detect(message.device, threads=message.threads)
        import torch

        if device.is_gpu:
            torch.cuda.set_device(device.torch_device)
        else:
            torch.set_num_threads(device.units)
            import numba

            numba.set_num_threads(min(device.units, numba.config.NUMBA_NUM_THREADS))
        self.kernels = {kernel.name: kernel for kernel in LADDER}
        package = Path(gemmkernels.__file__).parent
        shipped = _digest(package.rglob("*.py"))
        infos = [_describe(kernel, digest=shipped, from_file=False) for kernel in LADDER]
        own = [(kernel, Path(path)) for path in message.files for kernel in load_file(path)]
        for kernel, path in own:
            infos.append(_describe(kernel, digest=_digest([path]), from_file=True))
            if kernel.name in self.kernels:
                raise GemmbenchError(
                    f"two kernels are called {kernel.name!r}: give each a name of its own"
                )
            self.kernels[kernel.name] = kernel
        self.device = device
        self.channel.send(
            Hello(
                device=device,
                target=telemetry_target(device),
                kernels=tuple(infos),
                software=software(),
                host=host(),
                environment=environment(),
                setup_s=time.monotonic() - began,
            )
        )

    def ask(self, message: Ask) -> None:
        assert self.device is not None
        device = self.device
        self.channel.send(
            Answer(
                reasons=tuple(
                    self.kernels[case.kernel].why_not(case.problem, device)
                    for case in message.cases
                )
            )
        )

    def work(self, message: Work) -> None:
        from gemmbench.runner.group import GroupWork

        assert self.device is not None
        GroupWork(message, self.device, self.kernels, self.channel.send).run()
        self.channel.send(Done())

    def test_pair(self, message: TestPair) -> None:
        from gemmbench.runner.turners import make_turners_of_pair
        from gemmbench.timing.rounds import rounds

        assert self.device is not None
        began = time.monotonic()
        turners = make_turners_of_pair(self.device, message.timing)
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
        self.channel.send(Done(setup_s=setup_s))


def _commands(stream: BinaryIO) -> Iterator[ToWorker]:
    decoder = msgspec.json.Decoder(ToWorker)
    for line in stream:
        yield decoder.decode(line)


def main() -> None:
    began = time.monotonic()
    # Linux: a killed supervisor takes a worker along that hangs in a kernel, and says nothing.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    channel = Channel(int(sys.argv[1]))
    commands = os.fdopen(os.dup(0), "rb", buffering=0)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)  # a kernel that reads input must not eat our commands
    worker = Worker(channel)
    try:
        for message in _commands(commands):
            match message:
                case Open():
                    worker.open(message, began)
                case Ask():
                    worker.ask(message)
                case Work():
                    worker.work(message)
                case TestPair():
                    worker.test_pair(message)
    except GemmbenchError as error:
        channel.send(Refused(error=str(error)))


if __name__ == "__main__":
    main()
