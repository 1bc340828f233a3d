"""The floor of a launch: one that does nothing, in each way that a run launches.

On a CPU it is a call of Python's, which any kernel costs at least; what a kernel's own dispatch and
threads add is the kernel's. On a GPU it is an empty Triton kernel of one program, in a graph or
launched one by one from the host.
"""

from gemmkernels.device import Device
from gemmkernels.kernel import Launch
from gemmkernels.probes.roofs import BoundProbe


def nothing() -> None: ...


def bind_loop(_device: Device, _precision: str) -> BoundProbe:
    return BoundProbe(launch=Launch(run=nothing))


def bind_graph(device: Device, _precision: str) -> BoundProbe:
    return _empty(device, "graph")


def bind_stream(device: Device, _precision: str) -> BoundProbe:
    return _empty(device, "stream")


def _empty(device: Device, how: str) -> BoundProbe:
    from gemmkernels.probes.launch_gpu import empty

    return BoundProbe(launch=empty(device), how=how)
