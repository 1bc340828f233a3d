"""Error rates of `analysis.fleet.slow`: `python tests/fleet_rates.py --draws 100`.

The speed of a device in a measurement is its own (the device's part) times the measurement's noise.
A flag is false where the device's own speed is not over 5% below the median of all. Two noises
stand in the devices as well as in the measurements; of the other three the devices' part is normal,
1%, as a device that is by itself over 5% slow is rightly found.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gemmbench.analysis.fleet.slow import Judged, Slow, Times, judge
from gemmbench.timing.statistics import Floats

CASES, PRECISIONS = 20, 4
Generator = np.random.Generator


@dataclass(frozen=True)
class Noise:
    """`devices` draws the logs of n devices' own speeds, `measured` those of measurements."""

    devices: Callable[[Generator, int], Floats]
    measured: Callable[[Generator, tuple[int, ...]], Floats]


def normal(sigma: float) -> Callable[[Generator, int | tuple[int, ...]], Floats]:
    return lambda draw, size: draw.normal(0, sigma, size)


def two_racks(draw: Generator, n: int) -> Floats:
    return draw.normal(0, 0.005, n) - 0.03 * (np.arange(n) >= n // 2)


NOISES: dict[str, Noise] = {
    "normal 1%": Noise(normal(0.01), normal(0.01)),
    "normal 2%": Noise(normal(0.02), normal(0.02)),
    "t3 1%": Noise(normal(0.01), lambda draw, size: 0.01 * draw.standard_t(3, size)),
    "long slow tail 1%": Noise(normal(0.01), lambda draw, size: -draw.exponential(0.01, size)),
    "two racks 3% apart": Noise(two_racks, normal(0.01)),
    "t3 1% of devices": Noise(lambda draw, n: 0.01 * draw.standard_t(3, n), normal(0.01)),
}


@dataclass(frozen=True)
class Drawn:
    """One fleet: what was found, and who is really slow."""

    found: Judged
    really: frozenset[int]

    @property
    def flagged(self) -> set[int]:
        return {one.device for one in self.found.slow if one.confirmed}

    @property
    def suspected(self) -> set[int]:
        return {one.device for one in self.found.slow} - self.flagged

    @property
    def false(self) -> set[int]:
        return self.flagged - self.really

    def of(self, device: int) -> list[Slow]:
        return [one for one in self.found.slow if one.device == device and one.confirmed]


def fleet(
    noise: Noise,
    n: int,
    repeats: int,
    seed: int,
    *,
    planted: float = 0.0,
    share: float = 0.0,
    precision: int | None = None,
) -> Drawn:
    """`planted` slows down device 0, or a share of the devices; in all cases, or a precision's."""
    draw = np.random.default_rng(seed)
    own = noise.devices(draw, n)
    logs = own[:, None, None] + noise.measured(draw, (n, CASES, repeats))
    some = max(1, round(share * n))
    really = own - np.median(own) < np.log(0.95)
    if planted:
        which = slice(None) if precision is None else slice(precision, None, PRECISIONS)
        logs[:some, which] += np.log1p(-planted)
        really[:some] = True
    device, case = (axis.ravel() for axis in np.indices(logs.shape)[:2])
    found = judge(
        Times(device=device, case=case, time_us=100 * np.exp(-logs.ravel())),
        cohorts=[0] * CASES,
        precisions=[str(one % PRECISIONS) for one in range(CASES)],
    )
    return Drawn(found, frozenset(np.flatnonzero(really).tolist()))


def rates(
    name: str, n: int, repeats: int, draws: int, **planted: float | int | None
) -> tuple[float, float, float]:
    """Of that many fleets, those with a false flag and with a suspicion; the share of the planted
    devices that is found."""
    false = asked = 0
    found: list[float] = []
    some = max(1, round(float(planted.get("share") or 0) * n))
    for seed in range(draws):
        one = fleet(NOISES[name], n, repeats, seed, **planted)  # type: ignore[arg-type]
        false += bool(one.false)
        asked += bool(one.suspected)
        found.append(len(one.flagged & set(range(some))) / some)
    return false / draws, asked / draws, float(np.mean(found))


PLANTED: dict[str, dict[str, float | int]] = {
    "one 6% slow": {"planted": 0.06},
    "one 10% slow": {"planted": 0.10},
    "one 10% slow in one precision": {"planted": 0.10, "precision": 1},
    "40% of them 12% slow": {"planted": 0.12, "share": 0.4},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--sizes", type=int, nargs="*", default=[3, 4, 5, 8, 64, 1000])
    asked = parser.parse_args()
    for repeats in (1, 3):
        for name in NOISES:
            for n in asked.sizes:
                false, suspected, _ = rates(name, n, repeats, asked.draws)
                told = [f"false {100 * false:3.0f}%", f"suspected {100 * suspected:3.0f}%"]
                for what, planted in PLANTED.items():
                    *_, found = rates(name, n, repeats, max(10, asked.draws // 5), **planted)
                    told.append(f"{what} {100 * found:3.0f}%")
                print(f"{repeats} repeats, {name:18} n={n:5}: {', '.join(told)}", flush=True)


if __name__ == "__main__":
    main()
