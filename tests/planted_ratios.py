"""How often a stated interval holds a ratio that is known: `python tests/planted_ratios.py`.

Two runs of the chain of `gemmkernels.probes`, of which one makes exactly 1.00, 1.02, 1.10, 1.37 or
4.0 times the other's steps, are measured against each other, beside a neighbour that takes a core
half of the time. At least 95 of 100 must hold the truth, or be `contended`.
"""

import argparse
import contextlib
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial

import numpy as np

import gemmbench
from gemmbench.timing.callables import Speedup
from gemmkernels.probes.chain import CPU_UNIT
from gemmkernels.probes.chain_cpu import xorshift

RATIOS = (1.00, 1.02, 1.10, 1.37, 4.0)
NEEDED = 0.95
_SEED = np.uint64(88172645463325252)


@contextlib.contextmanager
def neighbour(how: str, seed: int) -> Iterator[None]:
    """Another process that takes a core half of the time: in even turns of 50 ms, or in bursts."""
    if how == "none":
        yield
        return
    command = [sys.executable, __file__, "--be-neighbour", how, "--seed", str(seed)]
    process = subprocess.Popen(command)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def be_neighbour(how: str, seed: int) -> None:
    chance = random.Random(seed)
    parent = os.getppid()
    while os.getppid() == parent:
        busy_s = 0.05 if how == "even" else chance.expovariate(1 / 0.2)
        end = time.monotonic() + busy_s
        while time.monotonic() < end:
            pass
        time.sleep(0.05 if how == "even" else chance.expovariate(1 / 0.2))


def trial(ratio: float, *, max_time_s: float, seed: int) -> Speedup:
    """One measurement of one ratio."""
    steps = {"more": round(100 * ratio) * CPU_UNIT, "less": 100 * CPU_UNIT}
    calls = {name: partial(xorshift, _SEED, count) for name, count in steps.items()}
    found = gemmbench.measure(calls, max_time_s=max_time_s, target=0.005, seed=seed)
    return gemmbench.speedup(found["more"], found["less"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--time", type=float, default=2.0, help="seconds a measurement")
    parser.add_argument("--neighbour", choices=("none", "even", "bursts"), default="even")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--be-neighbour", choices=("even", "bursts"))
    options = parser.parse_args()
    if options.be_neighbour:
        be_neighbour(options.be_neighbour, options.seed)
        return 0
    ends: Counter[str] = Counter()
    with neighbour(options.neighbour, options.seed):
        for number in range(options.count):
            ratio = RATIOS[number % len(RATIOS)]
            found = trial(ratio, max_time_s=options.time, seed=options.seed + number)
            if found.verdict == "contended":
                end = "contended"
            else:
                end = "held" if found.low <= ratio <= found.high else "missed"
            ends[end] += 1
            off = 100 * (found.ratio / ratio - 1)
            half = 100 * (found.high - found.low) / (2 * found.ratio)
            print(f"{ratio:.2f}  {end:<9}  off {off:+.2f}%  ±{half:.2f}%  {found.verdict}")
    print(f"neighbour {options.neighbour}: " + ", ".join(f"{n} {end}" for end, n in ends.items()))
    return 0 if ends["held"] + ends["contended"] >= NEEDED * options.count else 1


if __name__ == "__main__":
    sys.exit(main())
