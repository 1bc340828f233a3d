"""RCCL beside NCCL: the claim is put to planted runs of all-reduce, both ways."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner
from planted_claims import Case, as_written, cube, decide, of, reduced, run
from synthetic import CPU, H100, MI300X, method

from gemmbench.cli import app
from gemmkernels.device import Device

NCCL_GBPS = 350.0


def both(
    folder: Path,
    ratio: Callable[[int, int], float] | float,
    *,
    devices: tuple[Device, Device] = (H100, MI300X),
    rccl: Mapping[str, Any] | None = None,
    **shared: Any,
) -> tuple[Path, Path]:
    """NCCL at 350 GB/s, and RCCL at this ratio of it."""

    def rate(size: int, repeat: int) -> float:
        return NCCL_GBPS * (ratio if isinstance(ratio, float) else ratio(size, repeat))

    theirs = {"version": "2.22.3", **shared, **(rccl or {})}
    return (
        reduced(folder / "n.jsonl", devices[0], library="nccl", gbps=NCCL_GBPS, **shared),
        reduced(folder / "r.jsonl", devices[1], library="rccl", gbps=rate, **theirs),
    )


@pytest.mark.parametrize("repeats", [1, 5])
@pytest.mark.parametrize(
    ("ratio", "by_one", "by_five"),
    [
        (0.70, "holds", "holds"),
        (0.50, "does not hold", "does not hold"),
        (0.95, "does not hold", "does not hold"),
        (1.10, "does not hold", "does not hold"),
        # One process a side is known to 5% only; of five the spread between them decides.
        (0.74, "undecided here", "holds"),
        (0.76, "undecided here", "does not hold"),
        (0.75, "undecided here", "undecided here"),
    ],
)
def test_both_libraries_over_eight(
    tmp_path: Path, ratio: float, by_one: str, by_five: str, repeats: int
) -> None:
    found = decide("rccl-30", of(*both(tmp_path, ratio, repeats=repeats)))
    assert found.verdict == (by_one if repeats == 1 else by_five)
    assert found.figures[0].value == pytest.approx(100 * ratio, rel=0.005)
    assert "RCCL 2.22.3 on AMD Instinct MI300X" in found.because
    assert "NCCL 2.26.2 on NVIDIA H100 80GB HBM3" in found.because
    apart = f"{abs(100 * (1 - found.figures[0].value / 100)):.1f}%"
    assert f"{apart} {'less' if ratio < 1 else 'more'}" in found.because
    assert "64 MiB to 1 GiB" in found.because
    assert bool(found.needs) == (found.verdict == "undecided here")
    assert f"{repeats} repeat" in found.figures[0].source
    assert "over 8 GPUs in fp32" in found.because


def test_large_messages_decide_and_small_ones_are_told_apart(tmp_path: Path) -> None:
    paths = both(tmp_path, lambda size, _: 0.70 if size >= 2**25 else 0.20)
    found = decide("rccl-30", of(*paths))
    assert found.verdict == "holds"
    assert "latency, count apart: 20.0%" in found.because
    by_size = {one.what: one.value for one in found.figures}
    assert by_size["the same, 1 MiB"] == pytest.approx(20, rel=0.01)
    assert by_size["the same, 1 GiB"] == pytest.approx(70, rel=0.01)
    assert re.fullmatch(r"bus bandwidth 24[45].* over 3[45]\S+ GB/s", found.figures[-1].source)
    only = both(tmp_path, 0.7, sizes=(2**20, 2**24))
    found = decide("rccl-30", of(*only))
    assert found.verdict == "undecided here"
    assert "no size of message from 32 MiB in common" in found.because


def test_sizes_on_both_sides_are_one_geometric_mean(tmp_path: Path) -> None:
    paths = both(tmp_path, lambda size, _: {2**26: 0.5, 2**28: 0.7, 2**30: 0.98}.get(size, 1.0))
    found = decide("rccl-30", of(*paths))
    assert found.figures[0].value == pytest.approx(100 * (0.5 * 0.7 * 0.98) ** (1 / 3), rel=0.005)
    assert found.verdict == "holds"


def test_repeats_that_differ_leave_it_undecided(tmp_path: Path) -> None:
    paths = both(tmp_path, lambda _, repeat: 0.7 * (1 + 0.1 * (repeat - 1)), repeats=3)
    found = decide("rccl-30", of(*paths))
    assert found.verdict == "undecided here"
    assert "more runs of each" in found.needs


def test_quick_runs_decide_nothing(tmp_path: Path) -> None:
    quick = method(preset="quick", unsettled=True)
    found = decide("rccl-30", of(*both(tmp_path, 0.7, repeats=5, method=quick)))
    assert found.verdict == "undecided here"
    assert found.figures[0].value == pytest.approx(70, rel=0.005)
    assert "The preset quick measures no sustained rate" in found.because
    assert "on 8 H100 of one machine and on 8 MI300X" in found.needs


def test_several_runs_are_repeats_of_one_measurement(tmp_path: Path) -> None:
    paths: list[Path] = []
    for number in range(4):
        folder = tmp_path / str(number)
        folder.mkdir()
        for path in both(folder, 0.74 + 0.002 * number):
            name = f"{path.stem}{number}"
            paths.append(path.rename(tmp_path / f"{name}.jsonl"))
            text = paths[-1].read_text().replace(f'"run_id":"{path.stem}"', f'"run_id":"{name}"')
            paths[-1].write_text(text)
    assert decide("rccl-30", of(*paths[:2])).verdict == "undecided here"
    found = decide("rccl-30", of(*paths))
    assert found.verdict == "holds"
    assert "4 repeats: n0.jsonl, n1.jsonl" in found.figures[0].source


def test_too_few_rounds_are_no_interval(tmp_path: Path) -> None:
    found = decide("rccl-30", of(*both(tmp_path, 0.7, rounds=3)))
    assert found.verdict == "undecided here"
    assert "too few for an interval" in found.needs


@pytest.mark.parametrize("size", [2**26, 2**30])
def test_one_size_without_an_interval_is_not_hidden_by_the_others(
    tmp_path: Path, size: int
) -> None:
    few, enough = tmp_path / "few", tmp_path / "enough"
    few.mkdir()
    enough.mkdir()
    name = f'"message_bytes":{size}'.encode()
    paths = both(enough, 0.7)
    for some, path in zip(both(few, 0.7, rounds=3), paths, strict=True):
        (short,) = (line for line in some.read_bytes().splitlines() if name in line)
        lines = path.read_bytes().splitlines()
        path.write_bytes(b"\n".join(short if name in line else line for line in lines) + b"\n")
    assert "too few for an interval" in decide("rccl-30", of(*paths)).needs


def test_a_library_without_a_name_is_told(tmp_path: Path) -> None:
    path = reduced(tmp_path / "a.jsonl", CPU, library="ucc", gbps=1.5, ranks=2)
    assert "a library without a name on Synthetic CPU" in decide("rccl-30", of(path)).here[0]


def test_one_side_only_is_undecided_and_names_the_other(tmp_path: Path) -> None:
    nccl, rccl = both(tmp_path, 0.7)
    for path, gone, told in ((nccl, "RCCL", "MI300X"), (rccl, "NCCL", "H100")):
        found = decide("rccl-30", of(path))
        assert found.verdict == "undecided here"
        assert f"none is of {gone}" in found.because
        assert f"on 8 {told} of one machine:" in found.needs
        assert "all-reduce at 1 GiB" in found.here[0]
        assert found.here[0].startswith("over 8 ranks")


@pytest.mark.parametrize(("ranks", "on_node"), [(4, 4), (16, 8), (8, 4)])
def test_other_counts_are_told_as_such(tmp_path: Path, ranks: int, on_node: int) -> None:
    found = decide("rccl-30", of(*both(tmp_path, 0.7, ranks=ranks, on_node=on_node)))
    assert found.verdict == "undecided here"
    assert not found.figures
    (told,) = found.here
    machines = "" if ranks == on_node else f", {on_node} on a machine,"
    assert told.startswith(f"over {ranks} ranks{machines} in fp32: RCCL")
    assert "70.0%" in told


def test_other_devices_are_told_beside(tmp_path: Path) -> None:
    a100 = Device(**{**vars(H100), "name": "NVIDIA A100-SXM4-80GB", "slug": "a100-sxm4-80gb"})
    found = decide("rccl-30", of(*both(tmp_path, 0.7, devices=(a100, MI300X))))
    assert found.verdict == "undecided here"
    assert "None is of 8 H100" in found.because
    assert "NVIDIA A100-SXM4-80GB" in found.here[0]


def test_a_part_of_an_mi300x_is_not_one(tmp_path: Path) -> None:
    part = Device(**{**vars(MI300X), "partition": "CPX", "units": 38})
    found = decide("rccl-30", of(*both(tmp_path, 0.7, devices=(H100, part))))
    assert found.verdict == "undecided here"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"ranks": 4}, "NCCL was measured over 8 ranks"),
        ({"precision": "bf16"}, "over 8 ranks in bf16 (sustained"),
        ({"method": method(preset="quick")}, "quick"),
        ({"sizes": (2**25, 2**27)}, "no size of message in common"),
    ],
)
def test_only_what_was_measured_alike_is_compared(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    found = decide("rccl-30", of(*both(tmp_path, 0.7, rccl=changes)))
    assert found.verdict == "undecided here"
    assert told in found.because
    assert len(found.here) == 2


def test_gloo_is_neither(tmp_path: Path) -> None:
    path = reduced(tmp_path / "g.jsonl", CPU, library="gloo", gbps=1.5, ranks=2, version="")
    found = decide("rccl-30", of(path))
    assert found.verdict == "undecided here"
    assert "The runs are of gloo: none is of NCCL or RCCL." in found.because
    assert found.here[0].startswith("over 2 ranks in fp32: gloo on Synthetic CPU: 1.5")


def test_other_collectives_and_wrong_ones_decide_nothing(tmp_path: Path) -> None:
    paths = both(tmp_path, 0.7, collective="all-gather")
    found = decide("rccl-30", of(*paths))
    assert found.verdict == "undecided here"
    assert "no all-reduce that is right and was not disturbed" in found.because
    for old, new in (
        (b'"status":"ok"', b'"status":"wrong"'),
        (b'"kernel":"all-reduce"', b'"kernel":"row-parallel"'),  # a product and its all-reduce
    ):
        for path in both(tmp_path, 0.7):
            path.write_bytes(path.read_bytes().replace(old, new))
        assert not decide("rccl-30", of(*paths)).here


def test_a_synthetic_run_is_told_and_decides_nothing(tmp_path: Path) -> None:
    paths = both(tmp_path, 0.7)
    found = decide("rccl-30", as_written(*paths))
    assert found.verdict == "undecided here"
    assert found.because.startswith("Synthetic, never measured: over 8 GPUs in fp32, RCCL")
    assert found.needs
    told = CliRunner().invoke(app, ["claims", *map(str, paths)])
    assert told.exit_code == 0
    assert "rccl-30" in told.stderr


def test_a_synthetic_run_does_not_hide_a_measured_one(tmp_path: Path) -> None:
    measured = of(*both(tmp_path, 0.5))
    other = tmp_path / "other"
    other.mkdir()
    planned = as_written(*both(other, 0.7, repeats=5))
    assert measured.collectives is not None
    assert planned.collectives is not None
    rows = pd.concat([planned.collectives.assign(run_id="x"), measured.collectives])
    names = {**measured.libraries, "x": ("nccl", "2.26.2")}
    found = decide("rccl-30", replace(measured, collectives=rows, libraries=names))
    assert found.verdict == "does not hold"
    assert found.because.startswith("Measured: ")


def test_rows_of_several_devices_decide_nothing_about_one(tmp_path: Path) -> None:
    path = cube(H100, tmp_path / "a.jsonl", naive=4.3, matrix=215.0)
    path.write_bytes(path.read_bytes().replace(b'"ranks":1', b'"ranks":8'))
    assert decide("tensor-1024", of(path)).verdict == "undecided here"
    cases: list[Case] = [("torch", "library", "bf16", 4096, 700.0, 690.0)]
    path = run(tmp_path / "b.jsonl", H100, cases)
    path.write_bytes(path.read_bytes().replace(b'"collective":""', b'"collective":"all-reduce"'))
    found = of(path)
    assert decide("power-700", found).verdict == "undecided here"


def test_without_a_run_it_names_what_would_decide() -> None:
    found = decide("rccl-30")
    assert found.verdict == "undecided here"
    assert "torchrun --nproc-per-node 8 -m gemmbench parallel" in found.needs
    assert "No run of a collective is given" in found.because


def test_contended_rows_decide_nothing(tmp_path: Path) -> None:
    paths = both(tmp_path, 0.7, repeats=5)
    assert decide("rccl-30", of(*paths)).verdict == "holds"
    lost = re.compile(r'("round":[0-5],[^{}]*"disturbed":)0')
    paths[1].write_text(lost.sub(r"\g<1>10", paths[1].read_text()))
    found = of(*paths)
    assert found.collectives is not None
    theirs = found.collectives[found.collectives["run_id"] == "r"]
    assert set(theirs["verdict"]) == {"contended"}
    assert theirs["time_us"].gt(0).all()  # there are times, and they are worth nothing
    assert "none is of RCCL" in decide("rccl-30", found).because
