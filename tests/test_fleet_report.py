"""`fleet report`: from files to flags, tables, pictures and a page."""

import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import hostile
import hostile_runs
import msgspec
import pytest
from fleet_runs import (
    Made,
    Planted,
    limited,
    places_of,
    slower,
    warmer,
    write_alone,
    write_fleet,
    wrong,
)
from hostile_commands import call, check_made
from synthetic import MI300X

from gemmbench.analysis.fleet.flags import _most_others, _usual
from gemmbench.analysis.fleet.model import Device, FleetReport
from gemmbench.analysis.fleet.report import fleet_report
from gemmbench.records.journal import encode
from gemmbench.records.schema import Lost, Place, Record
from gemmbench.show.fleet.words import verdict
from gemmkernels.errors import GemmbenchError

SMALL = Made(devices=16, cases=4, repeats=2, samples=0, variants=16)
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def made(name: str = "fleet.jsonl", made: Made = SMALL, **changes: object) -> Path:
        return write_fleet(tmp_path / name, made, **changes)  # type: ignore[arg-type]

    return made


def flags(found: FleetReport) -> set[tuple[str, int, bool]]:
    return {(one.kind, one.device, one.confirmed) for one in found.flags}


def test_a_sound_fleet(write: Write) -> None:
    found = fleet_report([write()])
    assert found.flags == ()
    assert found.exit_code == 0
    assert len(found.cases) == 4
    assert {one.n for one in found.cases} == {16}
    assert found.cases[0].pct_peak == pytest.approx(
        100 * found.cases[0].tflops / found.cases[0].peak_tflops
    )
    assert found.synthetic


@pytest.mark.parametrize(
    ("planted", "kind", "scope"),
    [
        (slower(0.15), "slow", "all 4 cases"),
        (slower(0.15, "bf16"), "slow", "torch bf16 1024x1024x1024"),
        (wrong("bf16"), "wrong", "1 case"),
        (warmer(25.0), "hot", "8 records"),
        (limited("hw_slowdown", 0.05), "throttled", "8 of 8 records"),
    ],
    ids=["slow", "slow in one precision", "wrong", "hot", "throttled"],
)
def test_what_is_planted_is_found(write: Write, planted: Planted, kind: str, scope: str) -> None:
    found = fleet_report([write(planted={5: planted})])
    assert flags(found) == {(kind, 5, True)}
    (flag,) = found.flags
    assert flag.scope == scope
    assert found.exit_code == 1
    assert found.devices[5].name == "node0000/5"


def test_a_thermal_limit_is_told_as_heat_too(write: Write) -> None:
    found = fleet_report([write(planted={5: limited("thermal", 0.05)})])
    assert flags(found) == {("throttled", 5, True), ("hot", 5, True)}


def test_a_device_with_two_flags_counts_once(write: Write) -> None:
    found = fleet_report([write(planted={5: limited("thermal", 0.05)})])
    assert verdict(found) == "1 of 16 devices flagged: 1 throttled, 1 hot."


def test_being_power_limited_is_no_fault(write: Write) -> None:
    found = fleet_report([write(planted={5: limited("power", 0.9)})])
    assert found.flags == ()
    assert {one.power_limited for one in found.cases} == {2}


def test_a_dead_device_and_a_place_without_a_run(write: Write, tmp_path: Path) -> None:
    path = write(dead=[3])
    lines = [line for line in path.read_bytes().splitlines() if b'"unit":9,' not in line]
    path.write_bytes(b"\n".join(lines) + b"\n")
    found = fleet_report([path])
    assert {one.kind for one in found.flags} == {"missing"}
    whys = {found.devices[one.device].name: one.why for one in found.flags}
    assert whys.keys() == {"node0000/3", "node0001/1"}
    assert "the node did not answer" in whys["node0000/3"]
    assert "it never began" in whys["node0001/1"]


def test_work_that_was_moved_and_lost_there(write: Write) -> None:
    path = write()
    place = Place(node="spare", index=0)
    with path.open("ab") as stream:
        stream.write(encode(Lost(unit=40, reason="out of memory", place=place)))
    found = fleet_report([path])
    (flag,) = found.flags
    assert (flag.kind, found.devices[flag.device].name) == ("missing", "spare/0")
    assert "out of memory" in flag.why


def test_failed_cases_that_others_have_ok(write: Write) -> None:
    def failed(one: Record) -> Record:
        if one.precision != "fp16":
            return one
        return msgspec.structs.replace(one, status="failed", reason="out of memory", turns=())

    found = fleet_report([write(planted={2: failed})])
    assert flags(found) == {("missing", 2, True)}
    assert "out of memory" in found.flags[0].why
    assert "ok on 15 others" in found.flags[0].why


def test_what_fails_on_all_is_the_kernel(write: Write) -> None:
    found = fleet_report([write(planted=dict.fromkeys(range(16), wrong("bf16")))])
    assert found.flags == ()
    assert found.exit_code == 2
    assert "the kernel or the software, not a device" in found.not_judged[0]


def interrupted(one: Record) -> Record:
    if not one.repeat:
        return one
    return msgspec.structs.replace(one, status="interrupted", reason="Ctrl-C", turns=())


def test_a_run_that_was_stopped_flags_no_device(write: Write) -> None:
    stopped = fleet_report([write(planted=dict.fromkeys(range(16), interrupted))])
    assert stopped.flags == ()
    assert stopped.exit_code == 2
    assert "interrupted 16×, and ok on no other device" in stopped.not_judged[0]
    alone = fleet_report([write("alone.jsonl", planted={3: interrupted})])
    assert flags(alone) == {("missing", 3, True)}


def test_planned_cases_without_a_record(write: Write) -> None:
    found = fleet_report([write(planted={2: lambda one: None if one.repeat else one})])
    assert flags(found) == {("missing", 2, True)}
    assert "4 planned cases have no record" in found.flags[0].why


def test_a_clock_of_zero_explains_nothing(write: Write) -> None:
    def stopped(one: Record) -> Record:
        took = tuple(replace(turn, clock_mhz=0.0) for turn in one.turns)
        return msgspec.structs.replace(one, turns=took)

    def both(one: Record) -> Record | None:
        return slower(0.2)(stopped(one))

    planted: dict[int, Planted] = {**dict.fromkeys(range(16), stopped), 5: both}
    found = fleet_report([write(planted=planted)])
    assert flags(found) == {("slow", 5, True)}
    assert "clock" not in found.flags[0].why


@pytest.mark.parametrize(("bad", "flagged"), [(7, 7), (8, 0), (15, 0)])
def test_only_a_minority_is_blamed_for_wrong_results(write: Write, bad: int, flagged: int) -> None:
    found = fleet_report([write(planted=dict.fromkeys(range(bad), wrong("bf16")))])
    assert len(found.flags) == flagged
    told = f"wrong on {bad} devices, ok on {16 - bad}: not fewer"
    assert any(told in one for one in found.not_judged) is not flagged
    assert found.exit_code == (1 if flagged else 2)


def contended(one: Record) -> Record:
    """Its process was switched out in every sample."""
    if one.precision != "bf16":
        return one
    took = tuple(
        replace(turn, median_ns=None, samples_ns=None, disturbed=turn.n_samples)
        for turn in one.turns
    )
    return msgspec.structs.replace(one, turns=took)


def test_a_case_that_is_contended_everywhere_is_not_judged(write: Write) -> None:
    found = fleet_report([write(planted=dict.fromkeys(range(16), contended))])
    assert found.exit_code == 2
    assert "bf16 1024x1024x1024: contended on every device" in found.not_judged[0]
    one = fleet_report([write("one.jsonl", planted={5: contended})])
    assert one.exit_code == 0


def unsupported(one: Record) -> Record:
    return msgspec.structs.replace(one, status="unsupported", reason="no kernel image", turns=())


def test_what_works_on_other_devices_is_missing(write: Write) -> None:
    found = fleet_report([write(planted={5: unsupported})])
    assert flags(found) == {("missing", 5, True)}
    assert "unsupported 4×" in found.flags[0].why
    assert "no kernel image" in found.flags[0].why


def test_what_works_nowhere_is_no_fault(write: Write) -> None:
    def fp16(one: Record) -> Record:
        return unsupported(one) if one.precision == "fp16" else one

    found = fleet_report([write(planted=dict.fromkeys(range(16), fp16))])
    assert found.exit_code == 0
    assert len(found.cases) == 3


def test_a_device_of_which_nothing_is_ok_is_not_judged(write: Write) -> None:
    made = Made(devices=1, cases=4, device=MI300X)
    places = [Place(node="amd", index=0)]
    other = write("amd.jsonl", made, planted={0: unsupported}, places=places)
    found = fleet_report([write(), other])
    assert found.flags == ()
    assert any("no record is ok" in one for one in found.not_judged)
    assert found.exit_code == 2


def test_a_failed_case_is_that_of_others_however_they_launched_it(write: Write) -> None:
    def failed(one: Record) -> Record:
        return msgspec.structs.replace(one, status="failed", reason="illegal address", turns=())

    def streamed(one: Record) -> Record:
        return msgspec.structs.replace(one, launch="stream", sets=1)

    planted: dict[int, Planted] = {**dict.fromkeys(range(16), streamed), 5: failed}
    found = fleet_report([write(planted=planted)])
    assert flags(found) == {("missing", 5, True)}


def test_what_most_others_have(write: Write) -> None:
    """Of three devices with three drivers none is usual; of many the one that is other is told."""

    def usual(*drivers: str) -> list[str]:
        devices = [
            Device(name="", node="", rack="", index=0, pci_address="", model=None, facts=facts)
            for facts in ((("driver", one),) for one in drivers)
        ]
        found = _usual(devices)
        return [_most_others(found[None, "driver"], one) for one in drivers]

    assert usual("a", "b", "c") == ["", "", ""]
    assert usual("a", "a", "b") == ["", "", "a"]
    assert usual("a", "a", "b", "c", "d") == ["", "", "", "", ""]


def test_ordinary_files_are_devices_too(tmp_path: Path) -> None:
    write_alone(tmp_path, SMALL, planted={7: slower(0.2)})
    found = fleet_report([tmp_path])
    assert flags(found) == {("slow", 7, True)}
    assert found.devices[7].name == "device07.jsonl"
    assert found.parts == ()


def test_tasks_that_each_see_one_gpu_have_names_of_their_own(write: Write) -> None:
    made = Made(devices=4, cases=1, samples=0)
    places = [msgspec.structs.replace(one, index=0) for one in places_of(made)]
    names = [one.name for one in fleet_report([write(made=made, places=places)]).devices]
    assert names == ["node0000/0", *(f"node0000/0000:1{unit}:00.0" for unit in (1, 2, 3))]


def test_a_file_and_its_copy_confirm_nothing(tmp_path: Path) -> None:
    one = Made(devices=5, cases=1, samples=0)
    write_alone(tmp_path, one, planted={1: slower(0.3)})
    assert flags(fleet_report([tmp_path])) == {("slow", 1, False)}
    place = Place(node="n", index=1)
    for name in ("device01.jsonl", "copy.jsonl"):
        lines = (tmp_path / "device01.jsonl").read_bytes().split(b"\n", 1)
        header = msgspec.json.decode(lines[0])
        header["place"] = msgspec.to_builtins(place)
        (tmp_path / name).write_bytes(msgspec.json.encode(header) + b"\n" + lines[1])
    found = fleet_report([tmp_path])
    assert [one.confirmed for one in found.flags] == [False]
    assert found.exit_code == 2
    assert "twice" in found.notes[0]


def test_another_run_confirms(tmp_path: Path, write: Write) -> None:
    alone = Made(devices=8, cases=1, samples=0)
    first = write("a.jsonl", alone, planted={1: slower(0.3)})
    assert flags(fleet_report([first])) == {("slow", 1, False)}
    second = write("b.jsonl", Made(devices=8, cases=1, samples=0, seed=1), planted={1: slower(0.3)})
    found = fleet_report([first, second])
    assert flags(found) == {("slow", 1, True)}
    assert len(found.devices) == 8


def test_models_and_loads_are_apart(write: Write, tmp_path: Path) -> None:
    """Fast devices of another model, and devices alone, make none of the others slow."""
    other = Made(devices=4, cases=4, samples=0, device=MI300X, temperature_c=45.0)
    fast = dict.fromkeys(range(4), slower(-1.0))
    by_itself = Made(devices=8, cases=4, samples=0, at_once=1)
    far = [msgspec.structs.replace(one, node=f"far{one.node}") for one in places_of(by_itself)]
    single = write("single.jsonl", by_itself, planted=fast, places=far)
    nodes = [Place(node=f"amd{unit}", index=0) for unit in range(4)]
    paths = [write(), write("amd.jsonl", other, planted=fast, places=nodes), single]
    found = fleet_report(paths)
    assert not [one for one in found.flags if one.device < 20]
    assert {one.n for one in found.cases} == {4, 8, 16}
    assert any("one by one" in one for one in found.notes)
    assert {one.case.model.together for one in found.cases} == {True, False}


def test_two_devices_are_not_judged(write: Write, tmp_path: Path) -> None:
    found = fleet_report([write(made=Made(devices=2, cases=2, samples=0), planted={})])
    assert found.exit_code == 2
    assert "no speed can be judged" in found.not_judged[0]
    done = call("fleet", "report", "fleet.jsonl", cwd=tmp_path)
    assert "no speed can be judged" in done.out
    assert done.err.startswith("gemmbench: not judged: 2 devices: no case is of 3 devices")
    assert "kernel" not in done.out


def test_a_slow_node_is_told(write: Write, tmp_path: Path) -> None:
    made = Made(devices=40, cases=4, repeats=2, samples=0, variants=16)
    path = write(made=made, planted=dict.fromkeys(range(8, 16), slower(0.12)))
    found = fleet_report([path])
    (slow,) = [one for one in found.parts if one.slow]
    assert (slow.what, slow.name, slow.devices, slow.flagged) == ("node", "node0001", 8, 8)
    racks = tmp_path / "racks.csv"
    racks.write_text("node,rack\n" + "".join(f"node{n:04},R{n % 2}\n" for n in range(5)))
    again = fleet_report([path], racks=racks)
    assert {one.name: one.devices for one in again.parts if one.what == "rack"} == {
        "R0": 24,
        "R1": 16,
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "begins with ''"),
        ("node,rack\n\n", "names no node"),
        ("a,b\n1,2\n", "begins with 'a,b': expected a CSV file with the columns node,rack"),
        ("node;rack\nn;a\n", "begins with 'node;rack'"),
        ("node,rack\nn,a\nn,b\n", "line 3: node 'n' stands in two racks"),
        ("node,rack\n\n\nn\n", "line 4: no node or no rack"),
        ("Node, Rack\n\nn,a\nm\n", "line 4: no node or no rack"),
    ],
)
def test_files_of_racks_that_are_none(write: Write, tmp_path: Path, text: str, told: str) -> None:
    racks = tmp_path / "racks.csv"
    racks.write_text(text)
    with pytest.raises(GemmbenchError, match=told):
        fleet_report([write()], racks=racks)


def test_a_fleet_that_is_slow_as_a_whole_shows_against_an_earlier_one(write: Write) -> None:
    before = write("before.jsonl")
    now = write("now.jsonl", planted=dict.fromkeys(range(16), slower(0.15)))
    assert fleet_report([now]).exit_code == 0
    found = fleet_report([now], against=before)
    assert found.exit_code == 1
    assert len(found.slower_than_then) == 4
    assert found.against[0].ratio == pytest.approx(0.85, abs=0.02)
    assert fleet_report([before], against=now).exit_code == 0
    assert fleet_report([now], against=before).notes == ()
    alike = write("alike.jsonl", Made(devices=16, cases=4, samples=0, seed=1))
    assert fleet_report([alike], against=before).exit_code == 0
    other = write("other.jsonl", Made(devices=4, cases=4, samples=0, device=MI300X))
    with pytest.raises(GemmbenchError, match="no case is in both"):
        fleet_report([now], against=other)


@pytest.mark.parametrize(("by", "slower_cases", "code"), [(0.4, 2, 1), (0.07, 0, 2), (0.0, 0, 0)])
def test_a_few_devices_against_an_earlier_fleet(
    write: Write, by: float, slower_cases: int, code: int
) -> None:
    few = Made(devices=4, cases=2, repeats=2, samples=0, sigma=0.001)
    then, now = write("then.jsonl", few), few
    found = fleet_report(
        [write("now.jsonl", now, planted=dict.fromkeys(range(4), slower(by)))], against=then
    )
    assert len(found.slower_than_then) == slower_cases
    assert found.exit_code == code
    assert any("fewer than 6 devices" in one for one in found.not_judged) is (code == 2)


def test_cases_that_only_one_of_two_fleets_has_are_told(write: Write) -> None:
    found = fleet_report(
        [write("now.jsonl", Made(devices=6, cases=2, samples=0))],
        against=write("then.jsonl", Made(devices=6, cases=3, samples=0)),
    )
    assert "1 case only in the earlier one: torch fp16" in found.notes[0]


def test_what_differs_from_the_earlier_fleet_is_named(write: Write) -> None:
    alone = write("alone.jsonl", Made(devices=6, cases=2, samples=0, at_once=1))
    with pytest.raises(GemmbenchError, match=r"measured at once \(now yes, then no\)$"):
        fleet_report([write()], against=alone)


def test_the_command(write: Write, tmp_path: Path) -> None:
    write(planted={5: slower(0.15)}, dead=[3])
    done = call("fleet", "report", "fleet.jsonl", cwd=tmp_path)
    assert done.code == 1
    assert done.out.startswith("2 of 16 devices flagged: 1 missing, 1 slow.")
    assert "node0000/5" in done.out
    assert "synthetic: never measured" in done.out
    lines = list(
        csv.DictReader(
            io.StringIO(call("fleet", "report", "fleet.jsonl", "-f", "csv", cwd=tmp_path).out)
        )
    )
    assert [line["flags"] for line in lines][3:6] == ["missing", "", "slow"]
    whole = json.loads(call("fleet", "report", "fleet.jsonl", "-f", "json", cwd=tmp_path).out)
    assert whole["exit_code"] == 1
    assert len(whole["devices"]) == 16
    assert len(whole["cases"][0]["relative"]) == whole["cases"][0]["n"] == 15
    marked = call("fleet", "report", "fleet.jsonl", "-f", "markdown", cwd=tmp_path)
    assert "| node0000/5 |" in marked.out
    assert "| torch | bf16 | 1024x1024x1024 | 15 |" in marked.out


def test_hostile_names_are_text(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>\x1b[31m$x^2$\u202e|"
    places = [
        Place(node=evil, rack=f"=cmd|{evil}", index=one.index, pci_address=one.pci_address)
        for one in places_of(Made(devices=6))
    ]
    made = Made(devices=6, cases=2, repeats=2, samples=0)
    write_fleet(tmp_path / "a.jsonl", made, places=places, planted={2: slower(0.3)})
    for form in ("table", "markdown", "csv", "json"):
        done = call("fleet", "report", "a.jsonl", "-f", form, cwd=tmp_path)
        assert done.code == 1
        assert "\x1b" not in done.out
        assert "\u202e" not in done.out
    arguments = ("--html", "a.html", "--plot", "a")
    done = call("fleet", "report", "a.jsonl", *arguments, cwd=tmp_path)
    assert done.code == 1, done.err
    page = (tmp_path / "a.html").read_text()
    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert page.count("<script>") == 1
    assert "http://" not in re.sub(r'xmlns(:\w+)?="[^"]+"', "", page)
    assert {one.name for one in tmp_path.glob("a*.*g")} == {
        *("a.png", "a.svg", "a-cases.png", "a-cases.svg"),
    }


@pytest.mark.parametrize("words", [False, True], ids=["texts", "words too"])
def test_hostile_runs_do_no_harm(words: bool, tmp_path: Path) -> None:
    """Three runs of which every text is a weapon, and three that are sound."""
    for index, name in enumerate("abc"):
        lines = hostile_runs.poisoned(texts=hostile_runs.TEXTS, words=words, factor=1.0 + index / 2)
        (tmp_path / f"{name}.jsonl").write_bytes(hostile_runs.data_of(lines))
        (tmp_path / f"sound{name}.jsonl").write_bytes(hostile_runs.data_of(hostile_runs.sound()))
    (tmp_path / "made").mkdir()
    made = ("--html", "made/f.html", "--plot", "made/f", "--against", "a.jsonl")
    asked = [("?.jsonl", "-f", form) for form in ("table", "markdown", "csv", "json")]
    for arguments in (*asked, *([("*.jsonl", *made)] if words else [])):
        done = call("fleet", "report", *arguments, cwd=tmp_path)
        assert done.code in (0, 1, 2)
        assert done.code != 2 or done.err
        hostile.check_text(done.out + done.err)
    check_made(tmp_path / "made")
    assert len([*(tmp_path / "made").iterdir()]) == (5 if words else 0)


def test_many_devices_are_drawn_and_told(write: Write, tmp_path: Path) -> None:
    many = Made(devices=700, cases=2, rounds=6, samples=0)
    write(made=many, planted={300: slower(0.3)})
    done = call("fleet", "report", "fleet.jsonl", "--html", "f.html", cwd=tmp_path)
    assert done.code == 1
    assert "1 of 700 devices flagged: 1 slow" in done.out
    assert len(done.out.splitlines()) < 60
    assert (tmp_path / "f.html").stat().st_size < 1_000_000


def test_no_place_for_pictures_is_told_before_the_work(write: Write, tmp_path: Path) -> None:
    write(planted={5: slower(0.15)})
    (tmp_path / "taken.png").mkdir()
    for stem in ("fleet.jsonl/f", "taken"):
        done = call("fleet", "report", "fleet.jsonl", "--plot", stem, cwd=tmp_path)
        assert done.code == 2
        assert "name another path with --plot" in done.err
        assert not done.out


def test_a_disk_that_fills_up_hides_no_flag(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(planted={5: slower(0.15)})

    def full(*_: object) -> None:
        raise GemmbenchError("cannot write f.png: No space left on device")

    monkeypatch.setattr("gemmbench.show.fleet.figures.draw", full)
    done = call("fleet", "report", "fleet.jsonl", "--plot", "f", cwd=tmp_path)
    assert done.code == 1
    assert "No space left" in done.err


def test_mistakes_are_one_line(write: Write, tmp_path: Path) -> None:
    write()
    for arguments, told in (
        (("none.jsonl",), "none.jsonl"),
        (("fleet.jsonl", "--format", "tabel"), "table"),
        (("fleet.jsonl", "--racks", "none.csv"), "none.csv"),
        (("fleet.jsonl", "--html", "fleet.jsonl"), "no report of gemmbench"),
    ):
        done = call("fleet", "report", *arguments, cwd=tmp_path)
        assert done.code == 2
        assert told in done.err
        assert done.err.count("\n") == 1
