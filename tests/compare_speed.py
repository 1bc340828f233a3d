"""How long `compare` takes, and how much memory: `python tests/compare_speed.py --records 100000`.

Two synthetic runs of so many records each, with ten turns and 200 kept samples a record as real
ones have, are written to a temporary folder and compared by the command in a process of its own.
"""

import argparse
import itertools
import math
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from synthetic import LADDER, header, record, selftest, turn

ROUNDS, SAMPLES = 10, 20


def written(path: Path, *, records: int, repeats: int, seed: int) -> Path:
    """A run of so many records, a line at a time: all of it at once would not fit into memory."""
    draw = random.Random(seed)
    encode = msgspec.json.Encoder().encode
    every = (
        (size, precision, kernel)
        for size in itertools.count(256)
        for precision in ("fp32", "bf16")
        for kernel in LADDER
    )
    cases = list(itertools.islice(every, records // repeats))
    with path.open("wb") as file:
        file.write(encode(header(run_id=f"synthetic-{seed}", synthetic=True)) + b"\n")
        for repeat in range(repeats):
            file.write(encode(selftest(repeat, seed=repeat)) + b"\n")
            for size, precision, (name, tier, factor) in cases:
                time_ns = 1e6 * (size / 1024) ** 3 / factor * math.exp(draw.gauss(0, 0.01))
                took = []
                for number in range(ROUNDS):
                    samples = [time_ns * math.exp(draw.gauss(0, 0.004)) for _ in range(SAMPLES)]
                    took.append(turn(number, sorted(samples)[SAMPLES // 2], samples=samples))
                line = record(
                    name,
                    size=size,
                    precision=precision,
                    tier=tier,
                    base=name == LADDER[0][0],
                    repeat=repeat,
                    took=took,
                )
                file.write(encode(line) + b"\n")
    return path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--format", default="table")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        runs = [
            written(
                Path(folder) / f"{name}.jsonl",
                records=options.records,
                repeats=options.repeats,
                seed=seed,
            )
            for seed, name in enumerate("ab")
        ]
        command = [sys.executable, "-m", "gemmbench", "compare", *map(str, runs)]
        began = time.monotonic()
        with Path(os.devnull).open("w") as nowhere:
            done = subprocess.run([*command, "--format", options.format], stdout=nowhere)
        wall_s = time.monotonic() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"two runs of {options.records} records, {options.repeats} repeats: {wall_s:.1f} s "
        f"({used.ru_utime + used.ru_stime:.1f} s of one core), {used.ru_maxrss / 2**20:.2f} GiB"
    )
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
