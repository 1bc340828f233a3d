"""`fleet report` on many devices, and on many fleets."""

import tracemalloc
from pathlib import Path

from fleet_runs import Made, slower, write_fleet, wrong

from gemmbench.analysis.fleet.report import fleet_report


def peak_bytes(path: Path) -> int:
    tracemalloc.start()
    try:
        found = fleet_report([path])
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        assert {(one.kind, one.device) for one in found.confirmed} == {("slow", 7), ("wrong", 9)}


def test_a_thousand_devices_take_little_memory(tmp_path: Path) -> None:
    """1,000 devices of 20 cases: what is kept is a few numbers a record, not its turns."""
    planted = {7: slower(0.10), 9: wrong("bf16")}
    of = {
        devices: write_fleet(
            tmp_path / f"{devices}.jsonl",
            Made(devices=devices, cases=20, rounds=6, samples=0, variants=20),
            planted=planted,
        )
        for devices in (250, 1000)
    }
    few, many = (peak_bytes(path) for path in of.values())
    # 855 bytes a record were measured.
    assert many < 1200 * 1000 * 20
    assert many < 5 * few


def test_sound_small_fleets_are_told_to_be(tmp_path: Path) -> None:
    """End to end, 100 fleets of 3 to 8 devices."""
    flagged = 0
    for seed in range(100):
        made = Made(devices=3 + seed % 6, cases=4, repeats=2, samples=0, variants=8, seed=seed)
        flagged += bool(fleet_report([write_fleet(tmp_path / "fleet.jsonl", made)]).confirmed)
    assert flagged <= 1
