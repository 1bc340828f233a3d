"""A run's header: what was measured with, and what was planned."""

import uuid
from collections.abc import Sequence, Set
from datetime import UTC, datetime

import msgspec

from gemmbench._version import __version__
from gemmbench.devices.datasheet import Spec
from gemmbench.devices.spec import match, restore
from gemmbench.records.schema import Header, Method, Place
from gemmbench.runner.messages import Hello
from gemmbench.runner.plan import Plan
from gemmbench.runner.request import Request
from gemmbench.runner.resume import command_of, options_of
from gemmbench.timing.method import Timing
from gemmkernels.errors import GemmbenchError


def make_header(
    request: Request,
    hello: Hello,
    plan: Plan,
    how: Timing,
    *,
    suites: tuple[str, ...],
    doctor: tuple[str, ...] = (),
    own: tuple[Spec, ...] = (),
    place: Place | None = None,
    elsewhere: Set[str] = frozenset(),
) -> Header:
    """The header of a new run. It names no host, user, serial number or absolute path.

    `own` are the user's datasheets: one that is the device's goes along. `place` is what the driver
    of several devices knows of this one's; the cases that are `elsewhere` are not planned.
    """
    device = hello.device
    spec = match(device, own)
    used = {case.kernel for group in plan.groups for case in group.cases}
    return Header(
        run_id=uuid.uuid4().hex[:8],
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        version=__version__,
        device=device,
        device_id=spec.id if spec else None,
        sheet=kept_sheet(spec, own),
        method=Method(
            **msgspec.structs.asdict(how),
            data=request.data,
            seed=request.seed,
            threads=None if device.is_gpu else device.units,
        ),
        software=hello.software,
        host=hello.host,
        environment=hello.environment,
        command=command_of(request.command),
        request=options_of(request),
        kernels={info.name: info.digest for info in hello.kernels if info.name in used},
        suites=suites,
        plan=tuple(
            name
            for repeat in range(plan.repeats)
            for group in plan.groups
            for case in group.cases
            if (name := case_name(repeat, group.name, case.kernel, case.problem.precision))
            not in elsewhere
        ),
        place=_placed(request, hello, place),
        left_out=plan.left_out,
        doctor=doctor,
    )


def _placed(request: Request, hello: Hello, place: Place | None) -> Place | None:
    """What is known of the place, by the driver, the user and the worker; None of any one device
    alone."""
    bound = request.device.startswith("cpu:")
    if place is None and not (request.node or request.rack or bound):
        return None
    known, own = place or Place(), hello.place or Place()
    return msgspec.structs.replace(
        known,
        node=known.node or request.node or "",
        rack=known.rack or request.rack or "",
        index=known.index if own.index is None else own.index,
        pci_address=own.pci_address,
        numa_node=own.numa_node,
        cores=own.cores,
    )


def kept_sheet(spec: Spec | None, own: Sequence[Spec]) -> dict[str, object] | None:
    """The whole sheet, if it is one of the user's: who reads the run has not their file."""
    whole = next((one for one in own if spec is not None and one.id == spec.id), None)
    return None if whole is None else msgspec.to_builtins(whole)


def sheets_of(header: Header) -> tuple[Spec, ...]:
    """The user's datasheet that a run began with: it is taken up with no other."""
    spec = restore(header.sheet) if header.sheet is not None else None
    return () if spec is None else (spec,)


def case_name(repeat: int, group: str, kernel: str, precision: str) -> str:
    """What names a planned case, as `Record.case` spells it."""
    return f"{repeat}/{group}/{kernel}/{precision}"


Pair = tuple[str, object, object]


def check_same(old: Header, new: Header) -> None:
    """A run is only taken up on the device, software and kernels that it began with.

    Raises GemmbenchError with what differs.
    """
    pairs: list[Pair] = [
        ("device", old.device.name, new.device.name),
        ("architecture", old.device.architecture, new.device.architecture),
        ("units", old.device.units, new.device.units),
    ]
    was, now = (one.place.pci_address if one.place else "" for one in (old, new))
    if was and now:  # GPUs are numbered anew where one of them is gone
        pairs.append(("PCI address", was, now))
    pairs += _software(old, new)
    pairs += [
        (f"kernel {name}", old.kernels[name], new.kernels.get(name)) for name in sorted(old.kernels)
    ]
    for name in Method.__struct_fields__:
        pairs.append((name, getattr(old.method, name), getattr(new.method, name)))
    pairs.append(("plan", old.plan, new.plan))
    _check(old, pairs)


def check_alike(old: Header, new: Header) -> None:
    """Work that devices share is taken up with the software and the kernels that it began with.

    Raises GemmbenchError with what differs.
    """
    both = sorted(old.kernels.keys() & new.kernels.keys())
    kernels = [(f"kernel {name}", old.kernels[name], new.kernels[name]) for name in both]
    _check(old, [*_software(old, new), *kernels])


def _software(old: Header, new: Header) -> list[Pair]:
    return [
        ("gemmbench", old.version, new.version),
        *(
            (name, old.software.get(name), new.software.get(name))
            for name in sorted(old.software.keys() | new.software.keys())
        ),
    ]


def _check(old: Header, pairs: Sequence[Pair]) -> None:
    for name, before, after in pairs:
        if before != after:
            what = "differs" if name == "plan" else f"was {before}, now is {after}"
            raise GemmbenchError(
                f"cannot resume run {old.run_id}: its {name} {what}; start a new run instead"
            )
