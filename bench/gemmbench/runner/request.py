"""What a user asks of a run."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of `gemmbench run`, checked for form only. None is "as the suite or device says".

    `shapes` are texts MxNxK; `m`, `n` and `k` values, ranges or lists of them; `shape_files` paths
    of tables; `kernels` names or paths of the user's files; seconds throughout; `target` is a
    fraction. `every_kernel` asks all of the ladder where neither a kernel nor a suite is named.
    `roofs` measures the device's own first; `spec` is a file with the user's datasheets. `node` and
    `rack` are what the user calls them; `bind` keeps a GPU's worker on the CPUs near it. `part` 0
    of 4 is the first of each four groups.
    """

    suites: tuple[str, ...] = ()
    shapes: tuple[str, ...] = ()
    m: str | None = None
    n: str | None = None
    k: str | None = None
    shape_files: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    kernels: tuple[str, ...] = ()
    device: str = "auto"
    preset: str | None = None
    launch: str | None = None
    data: str = "normal"
    layout: str | None = None
    threads: int | None = None
    target: float | None = None
    max_time_s: float | None = None
    timeout_s: float = 120.0
    budget_s: float | None = None
    repeats: int | None = None
    seed: int = 0
    out: str = "results/local"
    every_kernel: bool = False
    roofs: bool = False
    spec: str | None = None
    node: str | None = None
    rack: str | None = None
    bind: bool = False
    part: tuple[int, int] | None = None
    command: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """Those of `kernels` that are files of the user's."""
        return tuple(name for name in self.kernels if is_file(name))

    @property
    def names_shapes(self) -> bool:
        """Are shapes asked for beside those of suites?"""
        ranges = (self.m, self.n, self.k)
        return bool(self.shapes or self.shape_files) or any(one is not None for one in ranges)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name in self.kernels if not is_file(name))


def is_file(kernel: str) -> bool:
    """Is that the path of a kernel file, and not a kernel's name?"""
    return kernel.endswith(".py") or "/" in kernel
