"""The header and the records of a run of several ranks."""

from collections.abc import Sequence
from dataclasses import asdict

import msgspec

from gemmbench.devices.telemetry import Telemetry
from gemmbench.doctor.examination import Examination
from gemmbench.records.schema import Header, Place, Record
from gemmbench.runner.header import make_header
from gemmbench.runner.messages import Hello, KernelInfo
from gemmbench.runner.parallel.plan import ParallelGroup
from gemmbench.runner.parallel.possible import KERNELS
from gemmbench.runner.parallel.ranks import Ranks, kernels_digest
from gemmbench.runner.parallel.request import ParallelRequest
from gemmbench.runner.plan import Plan
from gemmbench.runner.recording import Progress, make_record
from gemmbench.runner.request import Request
from gemmbench.suites.parallel.reader import suite_name
from gemmbench.timing.method import Timing
from gemmkernels.parallel.kernel import PRECISIONS, TIER

EXAMINE_S = 5.0


def doctored(examination: Examination, ranks: Ranks) -> tuple[str, ...]:
    """Why figures from rank 0's node should not be published."""
    found = examination.faults(EXAMINE_S, device=ranks.device, target=ranks.target)
    return tuple(fault.text for fault in found)


def heading(
    request: ParallelRequest,
    ranks: Ranks,
    groups: Sequence[ParallelGroup],
    how: Timing,
    *,
    suites: tuple[str, ...],
    doctor: tuple[str, ...],
) -> Header:
    """The header of a run: rank 0's device and software, and the library that connects the ranks.

    The request tells the number of ranks: by it a run of several is known.
    """
    from gemmbench.devices.place import place_of
    from gemmbench.devices.software import environment, host, software

    device, target = ranks.device, ranks.target
    digest = kernels_digest()
    names = {case.kernel for group in groups for case in group.cases}
    plan = Plan(
        groups=tuple(group.planned(how) for group in groups),
        unsupported=(),
        left_out=(),
        repeats=1,
        estimate_s=0.0,
    )
    hello = Hello(
        device=device,
        target=target,
        kernels=tuple(info_of(name, ranks, digest=digest) for name in sorted(names)),
        software={**software(), ranks.library: ranks.version},
        host=host(),
        environment=environment(),
        setup_s=0.0,
        place=place_of(device, target.pci if target else None, bound=not device.is_gpu),
    )
    found = make_header(
        Request(
            data=request.data, seed=request.seed, device=request.device, command=request.command
        ),
        hello,
        plan,
        how,
        suites=suites,
        doctor=doctor,
        place=Place(at_once=ranks.on_node),
    )
    kept = asdict(request) | {"suites": [suite_name(one) for one in request.suites]}
    kept = {name: value for name, value in kept.items() if name not in ("out", "command")}
    return msgspec.structs.replace(found, request=kept | {"ranks": ranks.ranks})


def info_of(name: str, ranks: Ranks, *, digest: str = "") -> KernelInfo:
    """A kernel's description as records keep it; what exchanges nothing has no library for that."""
    kernel = KERNELS[name]
    return KernelInfo(
        name=name,
        tier=TIER,
        backend=ranks.library if kernel.collective else "torch",
        kinds=("cpu", "gpu"),
        precisions=PRECISIONS,
        base=kernel.base,
        digest=digest,
    )


def record_of(
    progress: Progress,
    group: ParallelGroup,
    *,
    ranks: Ranks,
    telemetry: Telemetry,
    sitting: int,
) -> Record:
    """The record of a case that has ended; clocks and power are of rank 0's device."""
    kernel, task = KERNELS[progress.case.kernel], group.task(progress.case)
    record = make_record(
        progress,
        group=group.name,
        repeat=0,
        info=info_of(kernel.name, ranks),
        telemetry=telemetry,
        encoding=ranks.device.encoding,
        sitting=sitting,
    )
    return msgspec.structs.replace(
        record,
        collective=kernel.collective,
        ranks=ranks.ranks,
        message_bytes=kernel.message_bytes(task),
    )
