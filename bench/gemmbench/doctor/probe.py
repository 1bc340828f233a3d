"""The process that looks at host and GPU: `python -m gemmbench.doctor.probe FAMILY PATIENCE_S`.

It never imports torch. FAMILY is the process whose descendants are not "others". Drivers can block
for ever, so they are asked from threads that nobody waits for.
"""

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gemmbench.devices.cpu import allowed_cpus
from gemmbench.devices.sample import attempt
from gemmbench.doctor.child import answer_with
from gemmbench.doctor.cores import read_cores
from gemmbench.doctor.facts import Facts, Gpu, Packages
from gemmbench.doctor.packages import read_packages
from gemmbench.doctor.read_amd import read_amd
from gemmbench.doctor.read_host import read_host
from gemmbench.doctor.read_nvidia import driver_versions, read_nvidia
from gemmbench.doctor.signs import read_signs
from gemmbench.doctor.watched import Watched

WINDOW_S = 1.0
"""How long the cores and limits are watched: a hundred of the ticks that core time comes in."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a driver says at first: its GPUs, its versions, or why it says nothing."""

    watched: tuple[Watched, ...] = ()
    driver: str | None = None
    cuda: str | None = None
    problem: str | None = None


class Asking(threading.Thread):
    """Asks one vendor's driver; what it has found so far can be read at any time."""

    def __init__(self, vendor: str, look: Callable[[], Seen]) -> None:
        super().__init__(daemon=True)
        self.vendor = vendor
        self.seen = Seen()
        self.gpus: tuple[Gpu, ...] = ()
        self._look = look

    def run(self) -> None:
        began_s = time.monotonic()
        self.seen = self._look()
        time.sleep(max(0.0, began_s + WINDOW_S - time.monotonic()))
        self.gpus = tuple(one.finish() for one in self.seen.watched)


def examine(*, family: int, patience_s: float, root: Path = Path("/")) -> Facts:
    """All facts that need no torch, in a second or so; `patience_s` at most where drivers hang."""
    # First of all, before anything of ours can be seen on a GPU.
    nvidia, amd = asking = Asking("nvidia", ask_nvml), Asking("amd", lambda: _amd(root))
    for driver in asking:
        driver.start()
    began_s, cpus = time.monotonic(), allowed_cpus()
    before = read_cores(cpus, now_s=began_s, root=root)
    packages = attempt(read_packages) or Packages()
    time.sleep(max(0.0, began_s + WINDOW_S - time.monotonic()))
    after = read_cores(cpus, now_s=time.monotonic(), root=root)
    host = read_host(before, after, family=family, root=root)
    for driver in asking:
        driver.join(max(0.0, began_s + patience_s - time.monotonic()))
    said = nvidia.seen
    return Facts(
        host=host,
        signs=read_signs(root, driver=said.driver, cuda=said.cuda, nvml_problem=said.problem),
        gpus=(*nvidia.gpus, *amd.gpus),
        packages=packages,
        hangs=tuple(driver.vendor for driver in asking if driver.is_alive()),
    )


def ask_nvml() -> Seen:
    """NVIDIA's GPUs; a driver that is missing, or too new or old for the library, is no error."""
    try:
        import pynvml

        watched = read_nvidia(pynvml)
    except Exception as error:
        return Seen(problem=" ".join(str(error).split())[:200] or type(error).__name__)
    driver, cuda = driver_versions(pynvml)
    return Seen(watched=tuple(watched), driver=driver, cuda=cuda)


def _amd(root: Path) -> Seen:
    return Seen(watched=tuple(attempt(read_amd, root) or ()))


def main() -> None:
    family, patience_s = int(sys.argv[1]), float(sys.argv[2])
    answer_with(lambda: examine(family=family, patience_s=patience_s))


if __name__ == "__main__":
    main()
