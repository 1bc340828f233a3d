"""What the two examining processes found: facts without judgement, as they cross the pipe."""

import msgspec

from gemmbench.devices.target import TelemetryTarget
from gemmkernels.device import Device, Vendor


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """The machine around the device. Absent is None. `others` and `quota` are in cores.

    `steal` and `others` were seen over `window_s` on the CPUs that this process may use; `steal`
    is a share of their time, `steal_ever` of all the time that was used since the machine started.
    `busiest` names a process, and is never recorded.
    """

    cpus: int = 1
    online: int | None = None
    governors: tuple[str, ...] = ()
    clock_driver: str | None = None
    turbo: bool | None = None
    smt: bool | None = None
    numa_nodes: int = 1
    numa_balancing: int | None = None
    quota: float | None = None
    memory_bytes: int | None = None
    available_bytes: int | None = None
    window_s: float = 0.0
    steal: float | None = None
    steal_ever: float | None = None
    others: float | None = None
    busiest: str = ""


class Signs(msgspec.Struct, frozen=True, kw_only=True):
    """What says that there is a GPU here, whether or not torch can use it."""

    files: tuple[str, ...] = ()
    pci: tuple[str, ...] = ()
    nvidia_driver: str | None = None
    cuda: str | None = None
    nvml_problem: str | None = None
    kfd_refused: bool = False
    render_nodes: int = 0
    container: str = "none"


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """The state of one GPU before anything of ours ran on it. Absent is None, never 0.

    `limits` are the faults that held its clock while it was watched, in the words of
    `timing.verdict.THROTTLING`; None where no sensor could tell.
    """

    vendor: Vendor
    index: int
    name: str = ""
    uuid: str | None = None
    pci: str | None = None
    power_w: float | None = None
    power_default_w: float | None = None
    temperature_c: float | None = None
    headroom_c: float | None = None
    busy_percent: float | None = None
    used_bytes: int | None = None
    total_bytes: int | None = None
    uncorrected: int | None = None
    limits: tuple[str, ...] | None = None
    clock_set: bool | None = None
    max_clock_mhz: float | None = None
    app_clock_mhz: float | None = None
    default_app_clock_mhz: float | None = None
    persistence: bool | None = None
    ecc: tuple[int, int] | None = None
    mig: tuple[int, int] | None = None
    remapped_pending: bool | None = None
    remapping_failed: bool | None = None
    level: str | None = None
    compute_partition: str | None = None
    memory_partition: str | None = None


class Packages(msgspec.Struct, frozen=True, kw_only=True):
    """Who provides `import triton`, and `import pynvml`."""

    has_triton: bool = False
    triton: tuple[str, ...] = ()
    pynvml: tuple[str, ...] = ()


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All that can be found without torch. `hangs` are vendors whose driver did not answer."""

    host: Host
    signs: Signs = Signs()
    gpus: tuple[Gpu, ...] = ()
    packages: Packages = Packages()
    hangs: tuple[str, ...] = ()


class TorchState(msgspec.Struct, frozen=True, kw_only=True):
    """What only torch can tell. `problem` is why the device asked for can't be used.

    `mistaken` says that the device's name is no name at all.
    """

    version: str = ""
    cuda: str | None = None
    hip: str | None = None
    device: Device | None = None
    target: TelemetryTarget | None = None
    problem: str | None = None
    mistaken: bool = False
    imports: bool = True
    allow_tf32: bool | None = None
    fp16_accumulation: bool | None = None
    blas: str | None = None
    tunable: bool | None = None
    tuning: bool | None = None
