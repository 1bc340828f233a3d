"""Time that neighbours took: what a CPU sample lost by waiting for a core."""

import os
import resource
from pathlib import Path

MOST_THREADS = 16
"""Threads watched; each costs about a microsecond a reading."""

_ONE_LINE, _ALL_LINES = 256, 2**18
"""Of /proc/stat: the first line is the whole machine's, and a CPU has one of some 100 bytes."""

TICK_NS = 1e9 / os.sysconf("SC_CLK_TCK")


class LostTime:
    """Reads how long this process's threads stood ready without a core, in nanoseconds.

    From /proc/self/task/*/schedstat, whose second figure is the time spent on a run queue. Where
    the kernel keeps none, an involuntary context switch counts as 0.1 ms, far more than a switch
    costs, so that its sample is dropped. Steal time comes in ticks of the whole machine, so it is
    read once a turn.
    """

    SWITCH_NS = 100_000

    def __init__(self) -> None:
        self._files: list[int] = []
        self._threads: list[str] = []
        allowed = os.sched_getaffinity(0)
        all_of_them = len(allowed) >= (os.cpu_count() or 1)
        self._bound = None if all_of_them else {f"cpu{n}".encode() for n in allowed}
        try:
            self._stat: int | None = os.open("/proc/stat", os.O_RDONLY)
        except OSError:
            self._stat = None
        self.refresh()

    def refresh(self) -> None:
        """Look again which threads there are; call it between turns."""
        try:
            threads = sorted((path.name for path in Path("/proc/self/task").iterdir()), key=int)
        except (OSError, ValueError):
            threads = []
        if threads == self._threads:
            return
        self._close_files()
        self._threads = threads
        for thread in threads[:: max(1, -(-len(threads) // MOST_THREADS))]:
            try:
                path = Path("/proc/self/task", thread, "schedstat")
                self._files.append(os.open(path, os.O_RDONLY))
            except OSError:
                continue

    def waited_ns(self) -> int:
        """Total so far; the difference of two readings is what was lost between them."""
        if not self._files:
            return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw * self.SWITCH_NS
        total = 0
        for file in self._files:
            try:
                total += int(os.pread(file, 64, 0).split()[1])
            except (OSError, IndexError, ValueError):
                continue  # the thread has ended
        return total

    def machine_ns(self) -> tuple[float, float] | None:
        """(busy, stolen) core time of the whole machine so far, in ticks of usually 10 ms.

        Of a process that is bound to some of the CPUs it is theirs alone. Stolen is what the
        hypervisor gave to other guests; busy includes it, and this process.
        """
        if self._stat is None:
            return None
        busy = stolen = 0
        try:
            lines = os.pread(self._stat, _ONE_LINE if self._bound is None else _ALL_LINES, 0)
            for line in lines.split(b"\n"):
                name, *fields = line.split()[:9]
                if name in (self._bound or (b"cpu",)):
                    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields)
                    busy += user + nice + system + irq + softirq + steal
                    stolen += steal
                if not name.startswith(b"cpu") or self._bound is None:
                    break
        except (OSError, ValueError):
            return None
        return busy * TICK_NS, stolen * TICK_NS

    def close(self) -> None:
        self._close_files()
        if self._stat is not None:
            os.close(self._stat)
            self._stat = None

    def _close_files(self) -> None:
        for file in self._files:
            os.close(file)
        self._files = []
