"""Which kernels the library launched: asked of torch's profiler after all timing, in a process of
its own.

A profiler changes what it watches, and its tracers may crash: here that costs no more than a name.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from gemmbench.runner.messages import Case, Doing, Done, FromWorker, Launched, Profile, Refused
from gemmbench.runner.process import UnkillableError, WorkerDiedError, WorkerProcess
from gemmkernels.device import Device
from gemmkernels.errors import one_line
from gemmkernels.kernel import Kernel
from gemmkernels.problem import Problem

LIMIT_S = 60.0
"""For all names of a run together."""

MOST = 8
LONGEST = 300
_NO_KERNELS = ("Memcpy", "Memset", "Copy", "Fill")

KINDS = ("gpu",)
"""Of a CPU's product the profiler sees torch's own operator, which everyone knows already."""


def ask(
    profile: Profile,
    *,
    limit_s: float,
    doing: Callable[[Case], None],
    found: Callable[[Case, tuple[str, ...]], None],
) -> None:
    """Tell `found` what each case launched. A case that crashes or hangs costs its own name."""
    end_s = time.monotonic() + limit_s
    cases: Sequence[Case] = profile.cases
    while cases and time.monotonic() < end_s:
        at = 0
        try:
            worker = WorkerProcess()
        except OSError:
            return
        try:
            worker.send(Profile(device=profile.device, files=profile.files, cases=tuple(cases)))
            while True:
                message = worker.receive(max(0.1, end_s - time.monotonic()))
                match message:
                    case Doing():
                        at = message.case
                        doing(cases[at])
                    case Launched():
                        found(cases[message.case], message.names)
                    case Done() | Refused():
                        worker.close()
                        return
        except WorkerDiedError:
            cases = cases[at + 1 :]
        except UnkillableError:
            return
        except BaseException:
            with contextlib.suppress(UnkillableError):
                worker.kill()
            raise


def tell(
    profile: Profile, kernels: Callable[[], dict[str, Kernel]], send: Callable[[FromWorker], None]
) -> None:
    """In the child: profile each case, and say what was seen."""
    from gemmbench.runner.clean import CleanSlate
    from gemmbench.runner.turners import take

    device = profile.device
    if device.vendor == "nvidia":
        take(device)  # a profiler waits for torch's current GPU, which may be another's run's
    with _profiler(device):
        pass  # on ROCm its tracer sees nothing where the GPU was used before (kineto's issue 1338)
    take(device)
    slate = CleanSlate(gpu=device.is_gpu)
    known = kernels()
    for index, case in enumerate(profile.cases):
        send(Doing(case=index, phase="name"))
        with contextlib.suppress(Exception):
            if names := launched(known[case.kernel], case.problem, device):
                send(Launched(case=index, names=names))
        slate.restore()  # what one library was told must not choose the next one's kernel
        if device.is_gpu:
            import torch

            torch.cuda.empty_cache()
    send(Done())


def launched(kernel: Kernel, problem: Problem, device: Device) -> tuple[str, ...]:
    """The names of the kernels that one launch runs, in order; on a CPU, of torch's operators."""
    import torch

    from gemmkernels.library.switches import set_switches
    from gemmkernels.operands import allocate, fill

    (operands,) = allocate(problem, device)
    fill(operands)
    launch = kernel.launch(operands)
    prepare = launch.prepare
    if prepare is None and device.is_gpu:
        prepare = partial(set_switches, tf32=problem.precision == "tf32")
    if prepare:
        prepare()
    wait: Callable[[], object] = torch.cuda.synchronize if device.is_gpu else lambda: None
    launch.run()  # the first launch compiles, and loads the library
    wait()
    with _profiler(device) as seen:
        launch.run()
        wait()
    names = dict.fromkeys(one_line(name, LONGEST) for name in _names(seen.events(), device))
    return tuple(names)[:MOST]


def _profiler(device: Device) -> Any:
    from torch.profiler import ProfilerActivity, profile

    activity = ProfilerActivity.CUDA if device.is_gpu else ProfilerActivity.CPU
    return profile(activities=[activity])


def _names(events: Sequence[Any], device: Device) -> Iterator[str]:
    for event in events:
        if not device.is_gpu:
            if event.name.startswith("aten::"):
                yield event.name
        elif event.device_type.name == "CUDA" and not event.name.startswith(_NO_KERNELS):
            yield event.name
