"""What each device did in each case, against the others in it."""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from gemmbench.analysis.fleet.rule import LEAST, Ints, against_others
from gemmbench.timing.statistics import Floats


@dataclass
class Pairs:
    """An item a device and case, case by case: those of case i begin at `bounds[i]`.

    `relative` is the speed over the others' median, `common` over that of all; NaN where fewer than
    three devices have the case.
    """

    device: Ints
    case: Ints
    time_us: Floats
    bounds: Ints
    relative: Floats
    common: Floats
    spread: Floats
    p: Floats
    measured: Ints
    beyond: Ints

    @classmethod
    def of(cls, device: Ints, case: Ints, time_us: Floats, count: int) -> "Pairs":
        bounds = np.searchsorted(case, np.arange(count + 1))
        relative, common, spread, p = (np.full(len(case), math.nan) for _ in range(4))
        for start, stop in pairwise(bounds.tolist()):
            if stop - start >= LEAST:
                speeds = 1 / time_us[start:stop]
                found = against_others(speeds)
                relative[start:stop] = speeds / found.centre
                common[start:stop] = speeds / np.median(speeds)
                spread[start:stop] = found.spread / found.centre
                p[start:stop] = found.p_low
        none = np.zeros(len(case), dtype=np.int64)
        return cls(device, case, time_us, bounds, relative, common, spread, p, none, none)
