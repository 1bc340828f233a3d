"""What is planted is found, and nothing else: 100 draws of each comparison, by fixed seeds.

The repeats of a run share an offset of 1%, as processes do, self-test included; each row adds 0.5%
of its own. All are standard deviations.
"""

from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pytest
from synthetic import CPU, H100, ladder_run, method

from gemmbench.analysis.compare import compare
from gemmbench.analysis.comparison import Comparison
from gemmbench.records.frame import load
from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError

DRAWS = 100
NEEDED = 95
OFFSET, NOISE = 0.01, 0.005
SIZES = (256, 512, 1024, 2048)


@cache
def quiet(repeats: int, device: Device = CPU, **of_method: Any) -> pd.DataFrame:
    """A run in which nothing moves: 16 rows, `repeats` times."""
    with TemporaryDirectory() as folder:
        path = ladder_run(
            Path(folder) / "run.jsonl",
            sizes=SIZES,
            precisions=("bf16",),
            repeats=repeats,
            device=device,
            method=method(**of_method),
            noise=1e-4,
            synthetic=True,
        )
        return load(path)


def drawn(
    frame: pd.DataFrame,
    draw: np.random.Generator,
    change: Callable[[pd.DataFrame], "pd.Series[float]"] | None = None,
    *,
    of_file: float | None = None,
) -> pd.DataFrame:
    """The run as another sitting of it would be; `change` is a factor on the time of each row.

    The offset is one a process, or `of_file` for all of them.
    """
    processes = frame["repeat"].max() + 1
    if of_file is None:
        offsets = np.exp(draw.normal(0, OFFSET, processes))
    else:
        offsets = np.full(processes, np.exp(of_file))
    shared = offsets[frame["repeat"].to_numpy()]
    factor = shared * np.exp(draw.normal(0, NOISE, len(frame)))
    if change is not None:
        factor = factor * change(frame).to_numpy()
    found = frame.copy()
    for name in ("time_us", "time_us_low", "time_us_high"):
        found[name] = frame[name] * factor
    for name in ("anchor_us", "anchor_us_low", "anchor_us_high"):
        found[name] = frame[name] * shared
    return found


def slower(frame: pd.DataFrame) -> "pd.Series[float]":
    return pd.Series(1.10, index=frame.index)


def half_faster(frame: pd.DataFrame) -> "pd.Series[float]":
    return frame["m"].isin(SIZES[:2]).map({True: 1 / 1.10, False: 1.0})


def verdicts(found: Comparison) -> Counter[tuple[bool, str]]:
    """How often each verdict is said of the smaller half of the shapes, and of the larger."""
    return Counter((row.m in SIZES[:2], row.verdict) for row in found.rows)


def told(
    change: Callable[[pd.DataFrame], "pd.Series[float]"] | None,
    *,
    repeats: int = 5,
    seed: int = 0,
    of_file: Callable[[np.random.Generator], float | None] = lambda draw: None,
    **options: Any,
) -> list[Counter[tuple[bool, str]]]:
    frame, found = quiet(repeats), []
    for number in range(DRAWS):
        draw = np.random.default_rng([seed, number])
        a = drawn(frame, draw, of_file=of_file(draw))
        b = drawn(frame, draw, change, of_file=of_file(draw))
        found.append(verdicts(compare(a, b, **options)))
    return found


def share(found: list[Counter[tuple[bool, str]]], small: str, large: str) -> int:
    """Draws in which every row was told right."""
    return sum(set(one) == {(True, small), (False, large)} for one in found)


def alarms(found: list[Counter[tuple[bool, str]]]) -> int:
    """Draws in which any row that has not changed was called faster or slower."""
    return sum(any(one[side, word] for side in (True, False) for word in CHANGED) for one in found)


CHANGED = ("faster", "slower")


def test_equal_is_the_same() -> None:
    found = told(None)
    assert alarms(found) <= DRAWS - NEEDED
    assert share(found, "same", "same") >= NEEDED


def test_ten_percent_slower_is_slower() -> None:
    found = told(slower, seed=1)
    assert share(found, "slower", "slower") >= NEEDED


def test_faster_on_half_of_the_shapes_is_that() -> None:
    found = told(half_faster, seed=2)
    assert share(found, "faster", "same") >= NEEDED
    assert sum(any(one[False, word] for word in CHANGED) for one in found) <= DRAWS - NEEDED


def test_throttled_is_never_slower() -> None:
    frame, right = quiet(5), 0
    for number in range(DRAWS):
        draw = np.random.default_rng([3, number])
        b = drawn(frame, draw, slower).assign(verdict="throttled")
        found = compare(drawn(frame, draw), b)
        right += all((row.verdict, row.why) == ("unsure", "b is throttled") for row in found.rows)
        assert not found.slower_than(0.05)
        assert found.geomeans == ()
    assert right >= NEEDED


def test_another_method_is_refused() -> None:
    for number in range(DRAWS):
        draw = np.random.default_rng([4, number])
        a, b = drawn(quiet(5), draw), drawn(quiet(5, preset="quick"), draw, slower)
        with pytest.raises(GemmbenchError, match="in different ways, preset"):
            compare(a, b)


def test_a_run_that_is_off_as_a_whole_raises_no_alarm() -> None:
    """Each run 1% up or down, all of its repeats: what one sitting does to another."""

    def either(draw: np.random.Generator) -> float:
        return OFFSET * float(draw.choice([-1, 1]))

    equal, worse = told(None, seed=5, of_file=either), told(slower, seed=6, of_file=either)
    assert alarms(equal) <= DRAWS - NEEDED
    assert share(equal, "same", "same") >= NEEDED
    assert share(worse, "slower", "slower") >= NEEDED


def test_three_repeats_raise_no_alarm_either() -> None:
    found = told(None, repeats=3, seed=7)
    assert alarms(found) <= DRAWS - NEEDED
    assert share(told(slower, repeats=3, seed=8), "slower", "slower") >= 80


def test_the_gate_finds_ten_percent_and_nothing_else() -> None:
    frame, caught, cried = quiet(5, H100), 0, 0
    for number in range(DRAWS):
        draw = np.random.default_rng([9, number])
        a, b, c = drawn(frame, draw), drawn(frame, draw), drawn(frame, draw, slower)
        cried += bool(compare(a, b).slower_than(0.05))
        caught += len(compare(a, c).slower_than(0.05)) >= 12
    assert cried <= DRAWS - NEEDED
    assert caught >= NEEDED
