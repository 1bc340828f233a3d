"""`fleet report`: which files it reads, and which device each run is of."""

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from fleet_runs import Made, places_of, slower, write_alone, write_fleet

from gemmbench.analysis.fleet.model import FleetReport
from gemmbench.analysis.fleet.report import fleet_report
from gemmbench.records import fleet as fleets
from gemmbench.records.schema import Place, Record
from gemmkernels.errors import GemmbenchError

MADE = Made(devices=8, cases=2, repeats=2, samples=0, variants=16)
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def made(name: str = "fleet.jsonl", made: Made = MADE, **changes: object) -> Path:
        return write_fleet(tmp_path / name, made, **changes)  # type: ignore[arg-type]

    return made


def told(found: FleetReport) -> dict[str, str]:
    """The reason of each missing device."""
    assert {one.kind for one in found.flags} <= {"missing"}
    return {found.devices[one.device].name: one.why for one in found.flags}


def changed(path: Path, **header: object) -> None:
    """Change the header of an ordinary run file."""
    first, rest = path.read_bytes().split(b"\n", 1)
    whole = {**msgspec.json.decode(first), **msgspec.to_builtins(header)}
    path.write_bytes(msgspec.json.encode(whole) + b"\n" + rest)


@pytest.mark.parametrize("named", [True, False], ids=["nodes", "no nodes"])
def test_a_device_that_is_lost_counts_once(write: Write, named: bool) -> None:
    """What was planned knows neither its PCI address nor its CPUs."""
    path = write(dead=[3], places=places_of(MADE, named=named))
    found = fleet_report([path])
    assert len(found.devices) == 8
    name = "node0000/3" if named else "GPU 3 (fleet.jsonl#3)"
    assert told(found).keys() == {name}
    assert "(fleet.jsonl#3)" in told(found)[name]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is empty"),
        (b'{"type":"run","format":[1,0],"run_', "is cut in its header"),
        (b'{"type":"ru', "is cut in its header"),
        (b'{"type":"run","format":[1,0],"run_id":7}\n', "its header is damaged"),
    ],
)
@pytest.mark.parametrize("by", ["folder", "pattern", "name"])
def test_a_file_of_which_nothing_can_be_read_is_a_missing_device(
    tmp_path: Path, data: bytes, why: str, by: str
) -> None:
    write_alone(tmp_path, MADE)
    (tmp_path / "device03.jsonl").write_bytes(data)
    sources = {
        "folder": [tmp_path],
        "pattern": [tmp_path / "*.jsonl"],
        "name": sorted(tmp_path.glob("*.jsonl")),
    }
    found = fleet_report(sources[by])
    assert found.exit_code == 1
    assert len(found.devices) == 8
    assert why in told(found)["device03.jsonl"]


def test_where_nothing_can_be_read_it_is_said_why(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.jsonl").touch()
    with pytest.raises(GemmbenchError, match=r"a\.jsonl is empty: .*; nor can 1 more$"):
        fleet_report([tmp_path])


def test_files_of_others_are_no_devices(tmp_path: Path) -> None:
    write_alone(tmp_path, MADE)
    other = tmp_path / "other.jsonl"
    other.write_text('{"level": "info"}\n')
    found = fleet_report([tmp_path])
    assert found.exit_code == 0
    assert len(found.devices) == 8
    assert "other.jsonl is not a run" in found.notes[0]
    with pytest.raises(GemmbenchError, match="is not a run"):
        fleet_report([tmp_path, other])
    with pytest.raises(GemmbenchError, match="cannot read"):
        fleet_report([tmp_path, tmp_path / "none.jsonl"])


def test_a_fleet_of_which_all_is_lost_does_not_stop_another(write: Write) -> None:
    good = write()
    bad = write("bad.jsonl", dead=range(8), places=places_of(MADE, named=False))
    lines = [one for one in bad.read_bytes().splitlines(keepends=True) if b'"of"' not in one]
    bad.write_bytes(b"".join(lines))
    found = fleet_report([good, bad])
    assert len(found.devices) == 16
    assert told(found).keys() == {f"GPU {unit} (bad.jsonl#{unit})" for unit in range(8)}
    assert len(told(fleet_report([bad]))) == 8


def test_a_damaged_header_of_one_unit_is_that_device(write: Write) -> None:
    path = write()
    lines = path.read_bytes().splitlines(keepends=True)
    lines[4] = lines[4].replace(b'"run_id":"', b'"run_id":7,"x":"')
    path.write_bytes(b"".join(lines))
    found = fleet_report([path])
    assert len(found.devices) == 8
    assert "its header is damaged" in told(found)["node0000/3"]


def alone(folder: Path, name: str, place: Place, *, seed: int = 0, **header: object) -> None:
    """One device's file."""
    folder.mkdir(exist_ok=True)
    (folder / "of").mkdir(exist_ok=True)
    write_alone(folder / "of", Made(devices=1, cases=2, samples=0, seed=seed, variants=1))
    path = (folder / "of" / "device00.jsonl").rename(folder / f"{name}.jsonl")
    changed(path, run_id=name, place=place, **header)


PCI = "0000:18:00.0"


@pytest.mark.parametrize(
    ("places", "devices"),
    [
        ([Place(node="n", index=5, pci_address=PCI, cores=one) for one in ("0-3", "4-7")], 1),
        ([Place(node="n", index=one, pci_address=PCI) for one in (0, 5)], 1),
        ([Place(node="n", index=0, pci_address=PCI.replace("8", one)) for one in "89"], 2),
        ([Place(node="n", index=5, cores=one) for one in ("0-3", "4-7")], 1),
        ([Place(node="n", cores=one) for one in ("0-3", "4-7")], 2),
        ([Place(node="n", cores="0-3")] * 2, 1),
        ([Place(node=one, index=5, pci_address=PCI) for one in "nm"], 2),
        ([Place(index=5, pci_address=PCI)] * 2, 2),
        ([Place(node="n")] * 2, 2),
    ],
)
def test_which_runs_are_of_one_device(tmp_path: Path, places: list[Place], devices: int) -> None:
    for number, place in enumerate(places):
        alone(tmp_path, f"run{number}", place, seed=number)
    found = fleet_report([tmp_path])
    assert len(found.devices) == devices
    assert len({one.name for one in found.devices}) == devices


@pytest.mark.parametrize(("index", "devices"), [(None, 2), (1, 1)])
def test_partitions_of_a_gpu(tmp_path: Path, index: int | None, devices: int) -> None:
    """They share its address: what has no index of its own either is not taken for one."""
    place = Place(node="n", index=index, pci_address=PCI)
    for name in "ab":
        alone(tmp_path, name, place)
        path = tmp_path / f"{name}.jsonl"
        header = msgspec.json.decode(path.read_bytes().split(b"\n", 1)[0])
        changed(path, device={**header["device"], "partition": "MIG 1g.18gb"})
    assert len(fleet_report([tmp_path]).devices) == devices


def test_one_run_under_two_names_is_one_device(tmp_path: Path) -> None:
    write_alone(tmp_path, MADE)
    (tmp_path / "copy.jsonl").write_bytes((tmp_path / "device01.jsonl").read_bytes())
    found = fleet_report([tmp_path])
    assert len(found.devices) == 8
    assert "device01.jsonl does not count: twice" in found.notes


def test_a_copy_of_a_fleet_with_a_lost_device_adds_none(write: Write, tmp_path: Path) -> None:
    path = write(dead=[3], places=places_of(MADE, named=False))
    (tmp_path / "copy.jsonl").write_bytes(path.read_bytes())
    found = fleet_report([tmp_path])
    assert len(found.devices) == 8
    assert len(told(found)) == 1


def test_tuning_and_probing_are_no_devices(tmp_path: Path) -> None:
    write_alone(tmp_path, MADE)
    changed(tmp_path / "device02.jsonl", tuning=True)
    changed(tmp_path / "device03.jsonl", probing=True)
    found = fleet_report([tmp_path])
    assert len(found.devices) == 6
    assert found.flags == ()
    with pytest.raises(GemmbenchError, match="no run of a suite"):
        fleet_report([tmp_path / "device02.jsonl"])


def no_fp32(one: Record) -> Record | None:
    return one if one.precision != "fp32" else None


def test_a_later_run_makes_good_what_is_missing(write: Write) -> None:
    first = write("first.jsonl", dead=[3], planted={5: no_fp32})
    assert told(fleet_report([first])).keys() == {"node0000/3", "node0000/5"}
    half = Made(**{**vars(MADE), "cases": 1, "started": "2026-01-02T00:00:00+00:00"})
    whole = Made(**{**vars(MADE), "started": "2026-01-03T00:00:00+00:00"})
    found = fleet_report([first, write("half.jsonl", half)])
    assert told(found).keys() == {"node0000/3"}
    why = told(found)["node0000/3"]
    assert why.startswith("2 planned cases have no record")
    assert why.endswith("(first.jsonl#3)")
    assert told(fleet_report([first, write("whole.jsonl", whole)])) == {}
    earlier = Made(**{**vars(MADE), "started": "2025-12-31T00:00:00+00:00"})
    found = fleet_report([first, write("earlier.jsonl", earlier)])
    assert "the node did not answer" in told(found)["node0000/3"]


def test_a_unit_that_is_named_brings_no_others(write: Write) -> None:
    path = write(dead=[3, 7])
    one = fleets.member(path, 2)
    assert len(fleet_report([one]).devices) == 1
    found = fleet_report([one, fleets.member(path, 7)])
    assert told(found).keys() == {"node0000/7"}
    assert len(found.devices) == 2
    with pytest.raises(GemmbenchError, match="no such run"):
        fleet_report([fleets.member(path, 99)])


def test_a_file_is_opened_and_indexed_once(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while it is still written, and so another one at each look."""
    path = write(planted={5: slower(0.2)})
    calls = []
    index_of = fleets.index_of

    def growing(of: Path) -> fleets.Index | None:
        calls.append(of)
        os.utime(of, ns=(len(calls), len(calls)))
        return index_of(of)

    monkeypatch.setattr(fleets, "index_of", growing)
    assert fleet_report([path]).exit_code == 1
    assert calls == [path]
