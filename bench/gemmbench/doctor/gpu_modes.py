"""Checks of what one vendor alone has: NVIDIA's modes and clocks, AMD's levels and partitions."""

from collections.abc import Iterator

from gemmbench.devices.spec import Spec
from gemmbench.doctor.facts import Gpu
from gemmbench.doctor.finding import Finding

_MHZ = 15.0
"""NVIDIA's clocks come in steps of 15 MHz."""

_CAPPED = ("low", "manual", "perf_determinism")


def nvidia_modes(gpu: Gpu, spec: Spec | None) -> Iterator[Finding]:
    yield _clock(gpu, spec)
    yield _persistence(gpu)
    yield _ecc(gpu)
    yield _mig(gpu)


def amd_modes(gpu: Gpu) -> Iterator[Finding]:
    yield _level(gpu)
    yield _partition(gpu)


def _clock(gpu: Gpu, spec: Spec | None) -> Finding:
    name = "clock setting"
    now, usual = gpu.app_clock_mhz, gpu.default_app_clock_mhz
    if now is not None and usual is not None and abs(now - usual) > _MHZ:
        return Finding(
            check=name,
            grade="fault" if now < usual else "note",
            what=f"graphics clock set to {now:.0f} MHz, {usual:.0f} MHz by default",
            remedy=f"sudo nvidia-smi -i {gpu.index} -rac",
        )
    boost = spec.boost_clock_mhz if spec else None
    if boost is not None and gpu.max_clock_mhz is not None and gpu.max_clock_mhz < boost - _MHZ:
        return Finding(
            check=name,
            grade="fault",
            what=f"SM clock {gpu.max_clock_mhz:.0f} MHz at most, {boost:.0f} MHz on the datasheet",
            remedy=f"sudo nvidia-smi -i {gpu.index} -rgc",
        )
    if gpu.clock_set:
        return Finding(
            check=name,
            grade="note",
            what="the driver says that a setting holds the clock now",
            remedy=f"sudo nvidia-smi -i {gpu.index} -rgc; sudo nvidia-smi -i {gpu.index} -rac",
        )
    # There is no getter for locked clocks, and an idle GPU lowers its clock either way.
    return Finding(
        check=name,
        grade="unknown",
        what="a lock (nvidia-smi -lgc) can't be seen on an idle GPU: "
        "compare clock_mhz of a run with the datasheet",
    )


def _persistence(gpu: Gpu) -> Finding:
    name = "persistence mode"
    if gpu.persistence is None:
        return Finding(check=name, grade="unknown", what="the driver does not show it")
    if gpu.persistence:
        return Finding(check=name, grade="ok", what="on")
    return Finding(
        check=name,
        grade="note",
        what="off: the driver starts anew for each first process, which takes seconds",
        remedy="sudo nvidia-smi -pm 1",
    )


def _ecc(gpu: Gpu) -> Finding:
    name = "ECC"
    if changing := _pending(name, gpu, gpu.ecc):
        return changing
    if gpu.ecc is None or gpu.ecc[0]:
        return Finding(check=name, grade="ok", what="on" if gpu.ecc else "this GPU has none")
    remedy = f"sudo nvidia-smi -i {gpu.index} -e 1, then reboot"
    return Finding(check=name, grade="note", what="off", remedy=remedy)


def _mig(gpu: Gpu) -> Finding:
    if changing := _pending("MIG", gpu, gpu.mig):
        return changing
    if gpu.mig is None or not gpu.mig[0]:
        return Finding(check="MIG", grade="ok", what="off" if gpu.mig else "this GPU has none")
    return Finding(
        check="MIG",
        grade="note",
        what="on: this is a slice, its peak is scaled by its SMs, and power is not its own",
        remedy=f"sudo nvidia-smi -i {gpu.index} -mig 0",
    )


def _pending(check: str, gpu: Gpu, modes: tuple[int, int] | None) -> Finding | None:
    """A change that waits for the next reset."""
    if modes is None or modes[0] == modes[1]:
        return None
    now, later = ("on" if mode else "off" for mode in modes)
    return Finding(
        check=check,
        grade="note",
        what=f"{now} now, {later} after the next reset",
        remedy=f"sudo nvidia-smi -i {gpu.index} --gpu-reset",
    )


def _level(gpu: Gpu) -> Finding:
    name = "performance level"
    if gpu.level is None:
        return Finding(check=name, grade="unknown", what="the driver does not show it")
    if gpu.level == "auto":
        return Finding(check=name, grade="ok", what="auto")
    capped = gpu.level in _CAPPED or gpu.level.startswith("profile_")
    where = gpu.pci or gpu.index
    return Finding(
        check=name,
        grade="fault" if capped else "note",
        what=f"{gpu.level}, not auto{': the clock is held' if capped else ''}",
        remedy=f"sudo amd-smi set --gpu {where} --perf-level auto",
    )


def _partition(gpu: Gpu) -> Finding:
    name = "partition"
    shown = " ".join(filter(None, (gpu.compute_partition, gpu.memory_partition)))
    if not shown:
        return Finding(check=name, grade="ok", what="this GPU has none")
    if gpu.compute_partition in (None, "SPX") and gpu.memory_partition in (None, "NPS1"):
        return Finding(check=name, grade="ok", what=f"{shown}, the whole GPU")
    return Finding(
        check=name,
        grade="note",
        what=f"{shown}: the peak is scaled by the CUs, and power is the whole board's",
        remedy=f"sudo amd-smi set --gpu {gpu.pci or gpu.index} --compute-partition SPX",
    )
