"""Which device the telemetry is of. It names one piece of hardware, and is never recorded."""

import msgspec

from gemmkernels.device import Vendor


class TelemetryTarget(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU by its UUID or PCI address, or a CPU by the CPUs in use.

    `uuid` is without prefix: NVIDIA's 8-4-4-4-12 hexadecimal digits, AMD's 16-digit serial.
    `partition` is true of a MIG slice or an AMD partition, of which power can't be told apart.
    """

    kind: str
    vendor: Vendor
    uuid: str | None = None
    pci: str | None = None
    partition: bool = False
    cpus: tuple[int, ...] = ()
    busy: int = 1
