"""What a caller in Python asks of one case, checked, and measured in this process."""

from collections.abc import Callable

from gemmbench.devices.detect import detect
from gemmbench.devices.own import own_specs
from gemmbench.runner.alone import Alone, measure_function, measure_kernel
from gemmbench.runner.plan import make_timing, usual_layout
from gemmbench.runner.request import Request
from gemmbench.timing.method import Timing
from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError
from gemmkernels.kernel import Kernel
from gemmkernels.ladder import find
from gemmkernels.operands import check_data
from gemmkernels.problem import Problem, parse_shape

Sizes = tuple[int | None, int | None, int | None]


def measure_one(
    what: str | Kernel | Callable[[], object],
    shape: str | None,
    *,
    sizes: Sizes,
    batch: int,
    precision: str,
    layout: str | None,
    data: str | None,
    device: str,
    preset: str,
    target: float | None,
    max_time_s: float | None,
    timed: bool,
) -> Alone:
    """A kernel by its name, a Kernel or a function, on the shape "MxNxK" or the sizes (M, N, K).

    None is the default of `run`. Raises GemmbenchError for what makes no sense.
    """
    on = detect(device, own=own_specs())
    problem = _problem(on, shape, sizes=sizes, batch=batch, precision=precision, layout=layout)
    how = _timing(on, preset, target=target, max_time_s=max_time_s)
    kernel = find(what) if isinstance(what, str) else what
    if isinstance(kernel, Kernel):
        data = check_data(data or "normal")
        return measure_kernel(kernel, problem, on, timing=how, data=data, timed=timed)
    if not callable(kernel):
        raise GemmbenchError(f"{kernel!r} is neither a kernel's name, nor a Kernel, nor a function")
    if data is not None:
        raise GemmbenchError(f"data = {data!r} is for kernels: a function has its own operands")
    name = getattr(kernel, "__name__", type(kernel).__name__)
    return measure_function(name, kernel, problem, on, timing=how, timed=timed)


def _problem(
    device: Device,
    shape: str | None,
    *,
    sizes: Sizes,
    batch: int,
    precision: str,
    layout: str | None,
) -> Problem:
    given = [size is not None for size in sizes]
    if not (all(given) if shape is None else not any(given)):
        raise GemmbenchError(
            'the shape is "4096x4096x4096", or all of m, n and k: '
            f"got {shape = }, m, n, k = {', '.join(map(str, sizes))}"
        )
    m, n, k = parse_shape(shape) if shape is not None else sizes
    return Problem(
        m=m,  # type: ignore[arg-type]  # no longer None
        n=n,  # type: ignore[arg-type]
        k=k,  # type: ignore[arg-type]
        batch=batch,
        precision=precision,
        layout=layout or usual_layout(precision, device),
    )


def _timing(
    device: Device, preset: str, *, target: float | None, max_time_s: float | None
) -> Timing:
    for name, value in (("target", target), ("max_time_s", max_time_s)):
        if value is not None and not value > 0:
            raise GemmbenchError(f"{name} = {value} must be positive")
    return make_timing(Request(target=target, max_time_s=max_time_s), device, preset)
