"""One case measured alone, in this process: no worker of its own, no telemetry, no journal."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from gemmbench._version import __version__
from gemmbench.devices.own import own_specs
from gemmbench.devices.spec import match
from gemmbench.records.reader import Run
from gemmbench.records.schema import Header, Method, Record
from gemmbench.runner.clean import of_products
from gemmbench.runner.group import GroupWork
from gemmbench.runner.header import kept_sheet
from gemmbench.runner.messages import (
    Afresh,
    Bound,
    Case,
    DeviceLost,
    Ended,
    FromWorker,
    KernelInfo,
    Took,
    Work,
)
from gemmbench.runner.plan import group_name, too_large
from gemmbench.runner.recording import Progress, make_record
from gemmbench.runner.turners import make_bench, take
from gemmbench.timing.method import Timing
from gemmbench.timing.rounds import rounds
from gemmbench.timing.turn import Turn
from gemmkernels.device import Device
from gemmkernels.kernel import Kernel, Launch
from gemmkernels.problem import Problem

_SWITCHES = (
    "allow_tf32",
    "allow_fp16_reduced_precision_reduction",
    "allow_bf16_reduced_precision_reduction",
    "fp32_precision",
)
"""In the order in which they are put back: setting `allow_tf32` sets `fp32_precision`, too."""


@dataclass(frozen=True, kw_only=True)
class Alone:
    """A run of one record that is in no file, and its turns with all of their samples.

    There are no turns where the status is not ok, or nothing was to be timed.
    """

    run: Run
    turns: tuple[Turn, ...]

    @property
    def record(self) -> Record:
        return self.run.records[0]

    @property
    def is_spoilt(self) -> bool:
        """Did others use the cores in every sample, so that there is no figure?"""
        return bool(self.turns) and not any(turn.clean_ns for turn in self.turns)


def measure_kernel(
    kernel: Kernel, problem: Problem, device: Device, *, timing: Timing, data: str, timed: bool
) -> Alone:
    """A kernel on a problem, verified before its turns and after them; or verified only.

    A fault of the kernel's is the status and reason of the record, never an exception. torch's and
    numba's threads and switches are put back.
    """
    progress = Progress(case=Case(kernel=kernel.name, problem=problem))
    if reason := too_large(problem, device):
        progress.end("unsupported", reason)
    else:
        work = Work(cases=(progress.case,), timing=timing, data=data, seed=0, verify_only=not timed)
        heard: list[FromWorker] = []
        with _left_as_found(device), contextlib.suppress(SystemExit):  # of a device that is lost
            take(device)
            GroupWork(work, device, {kernel.name: kernel}, heard.append).run()
        for message in heard:
            _hear(progress, message)
    info = KernelInfo.of(kernel)
    threads = None if device.is_gpu else device.units
    return _alone(progress, info, device, timing=timing, data=data, threads=threads)


def measure_function(
    name: str,
    function: Callable[[], object],
    problem: Problem,
    device: Device,
    *,
    timing: Timing,
    timed: bool,
) -> Alone:
    """A function that launches one product on the current stream, and is not verified.

    On a GPU it is captured into a graph where the method is one and the function allows it; else
    it is timed in batches on a stream, and the record's launch says so. What the function raises
    is passed on.
    """
    progress = Progress(case=Case(kernel=name, problem=problem))
    progress.end("ok", "")
    with _left_as_found(device):
        if not timed:
            function()
            _synchronize(device)
        else:
            with contextlib.closing(make_bench(device, timing)) as bench:
                subject = bench.subject([Launch(run=function)], ())
                subject.calibrate()
                taken = rounds(
                    {name: subject.turn},
                    min_rounds=timing.min_rounds,
                    max_rounds=timing.max_rounds,
                    max_time_s=timing.max_time_s,
                    target=timing.target,
                    seed=0,
                    least_rounds=timing.least_rounds,
                )
            progress.turns += taken[name]
            progress.bound = Bound(
                case=0,
                setup_s=0.0,
                encoding=device.encoding(problem.precision),
                launch=subject.mode(),
                sets=1,
                config={},
                tile=None,
                grid=None,
                splits=None,
                launch_s=subject.launch_s(),
            )
            if subject.warning():
                progress.ended = Ended(case=0, status="ok", warnings=(subject.warning(),))
    info = KernelInfo(
        name=name,
        tier="",
        backend="",
        kinds=(),
        precisions=(problem.precision,),
        base=False,
        from_file=True,
        digest="",
    )
    return _alone(progress, info, device, timing=timing, data="", threads=None)


def _hear(progress: Progress, message: FromWorker) -> None:
    match message:
        case Bound():
            progress.bound = message
        case Took():
            progress.turns.append(message.turn)
        case Afresh():
            progress.turns.clear()
        case Ended():
            # In a worker it is a kernel's fault; here it may well be the user's Ctrl-C.
            if message.reason.startswith("KeyboardInterrupt"):
                raise KeyboardInterrupt
            progress.ended = message
            progress.end(message.status, message.reason)  # type: ignore[arg-type]
        case DeviceLost():
            progress.end("failed", f"device lost: {message.reason}")


def _alone(
    progress: Progress,
    info: KernelInfo,
    device: Device,
    *,
    timing: Timing,
    data: str,
    threads: int | None,
) -> Alone:
    record = make_record(
        progress,
        group=group_name(progress.case.problem),
        repeat=0,
        info=info,
        telemetry=None,
        encoding=device.encoding,
        sitting=0,
    )
    own = own_specs()
    spec = match(device, own)
    header = Header(
        run_id="alone",
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
        device=device,
        device_id=spec.id if spec else None,
        sheet=kept_sheet(spec, own),
        method=Method(**msgspec.structs.asdict(timing), data=data, seed=0, threads=threads),
    )
    turns = tuple(progress.turns) if record.status == "ok" else ()
    return Alone(run=Run(path=Path("alone"), header=header, records=(record,)), turns=turns)


@contextlib.contextmanager
def _left_as_found(device: Device) -> Iterator[None]:
    """What is process-wide in torch and numba is put back: other tests run in this process."""
    import numba
    import torch

    matmul, switches = torch.backends.cuda.matmul, {}
    for name in _SWITCHES:
        # `allow_tf32` raises where `fp32_precision` was set; an older torch has only the former.
        with contextlib.suppress(RuntimeError, AttributeError):
            switches[name] = getattr(matmul, name)
    products = [(switch, switch.get()) for switch in of_products()]
    threads, of_numba = torch.get_num_threads(), numba.get_num_threads()
    on = torch.cuda.device(device.torch_device) if device.is_gpu else contextlib.nullcontext()
    try:
        with on:
            yield
    finally:
        torch.set_num_threads(threads)
        numba.set_num_threads(of_numba)
        for name, value in switches.items():
            setattr(matmul, name, value)
        for switch, value in products:
            if switch.get() != value:
                switch.put(value)


def _synchronize(device: Device) -> None:
    if device.is_gpu:
        import torch

        torch.cuda.synchronize()
