"""The pictures of a fleet: every device stands where its name and index say."""

from pathlib import Path

import msgspec
import pytest
from fleet_runs import Made, places_of, slower, write_fleet

from gemmbench.analysis.fleet.model import FleetReport
from gemmbench.analysis.fleet.report import fleet_report
from gemmbench.show.fleet.figures import spreads
from gemmbench.show.fleet.grid import grid_of, natural, shortened
from gemmbench.show.fleet.heatmap import heatmap
from gemmbench.show.fleet.page import page


def report(folder: Path, devices: int, *, index: int | None = None) -> FleetReport:
    made = Made(devices=devices, cases=2, rounds=6, samples=0, variants=16)
    places = [
        msgspec.structs.replace(
            one,
            node=f"worker{int(one.node[4:])}",
            index=one.index if index is None else index,
        )
        for one in places_of(made)
    ]
    path = write_fleet(
        folder / "fleet.jsonl", made, places=places, planted={devices // 2: slower(0.3)}
    )
    return fleet_report([path])


def texts(found: FleetReport) -> list[str]:
    (axes, *_) = heatmap(found).axes
    ticks = [one.get_text() for one in axes.get_xticklabels()]
    return [*(one.get_text() for one in axes.texts), *ticks]


def test_every_row_has_its_name_and_every_column_its_index(tmp_path: Path) -> None:
    found = report(tmp_path, 200)
    told = texts(found)
    assert told[:25] == [f"worker{node}" for node in range(25)]
    assert told[25:] == [str(one) for one in range(8)] * (len(told[25:]) // 8)
    assert len(told) > 25 + 8
    grid = grid_of(found.devices)
    rows = {text: (row, left) for row, left, text in grid.labels}
    for device, (row, column) in zip(found.devices, grid.at, strict=True):
        assert (row, column - (device.index or 0)) == rows[device.node]


def test_a_column_is_no_index_where_every_task_sees_the_first(tmp_path: Path) -> None:
    told = texts(report(tmp_path, 16, index=0))
    assert told == ["worker0", "worker1"]


def test_what_is_measured_and_not_judged_is_not_white(tmp_path: Path) -> None:
    two = heatmap(report(tmp_path, 2))
    hatched = [one for one in two.axes[0].collections if one.get_hatch()]
    assert len(hatched) == 1
    assert len(two.axes) == 1, "a bar of colours that nothing has"
    assert not [one for one in heatmap(report(tmp_path, 8)).axes[0].collections if one.get_hatch()]


def test_the_same_speed_has_the_same_colour_on_every_map(tmp_path: Path) -> None:
    limits = {
        heatmap(report(tmp_path, count)).axes[0].collections[0].get_clim() for count in (8, 16)
    }
    assert limits == {(-15.0, 15.0)}


@pytest.mark.parametrize(("devices", "lines"), [(8, 0), (24, 4)])
def test_spans_are_of_many_devices(tmp_path: Path, devices: int, lines: int) -> None:
    axes = spreads(report(tmp_path, devices)).axes[0]
    spans = [one for one in axes.lines if one.get_color() == "#56B4E9"]
    assert len(spans) == lines


def test_the_page_has_no_empty_section(tmp_path: Path) -> None:
    few, many = page(report(tmp_path, 2)), page(report(tmp_path, 8))
    for heading in ("Tables", "How it was judged"):
        assert f">{heading}</h2>" in many
        assert f">{heading}</" not in few
    assert "To make it again</h2>" in few


def test_names_in_their_order() -> None:
    assert sorted(["n10", "n2", "n", "9", "m1x2", "m1x10"], key=natural) == [
        *("9", "m1x2", "m1x10", "n", "n2", "n10"),
    ]
    assert sorted(["n" + "9" * 5000, "n1"], key=natural)[0] == "n1"


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["a1", "b"], ["a1", "b"]),
        (
            [f"gpu-{one}.cluster-a.example.internal" for one in (1, 12)],
            ["gpu-1…", "gpu-12…"],
        ),
        (
            [f"a-very-long-common-beginning-{one}" for one in (1, 12)],
            ["…1", "…12"],
        ),
        (["x" * 40], ["x" * 11 + "…" + "x" * 11]),
    ],
)
def test_long_names_keep_what_tells_them_apart(names: list[str], short: list[str]) -> None:
    assert [*shortened(names).values()] == short
