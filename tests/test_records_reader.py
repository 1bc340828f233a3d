"""Reading runs: old, cut, damaged, newer and foreign files."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from synthetic import footer, header, ladder_run, record, selftest, turn, turns, write

from gemmbench.records import fleet, reader
from gemmbench.records.frame import frame, load
from gemmbench.records.reader import RunFileWarning, read, read_header, read_many
from gemmkernels.errors import GemmbenchError

DATA = Path(__file__).parent / "data"
LINES = [msgspec.json.encode(line) for line in (header(), record("one"), record("two"))]


def lines(path: Path, *extra: bytes, end: bytes = b"\n") -> Path:
    path.write_bytes(b"\n".join([*LINES, *extra]) + end)
    return path


def refused(path: Path | str) -> str:
    with pytest.raises(GemmbenchError) as seen:
        read(path)
    message = str(seen.value)
    assert "\n" not in message
    assert Path(path).name in message
    return message


def test_format_1_0_loads_for_ever() -> None:
    run = read(DATA / "format-1.0.jsonl")
    assert run.warnings == ()
    assert run.header.format == (1, 0)
    assert "never measured" in run.header.software["synthetic"]
    assert {one.status for one in run.records} == {
        "ok", "unsupported", "wrong", "failed", "timeout", "interrupted",
    }  # fmt: skip
    assert run.footer is not None
    table = frame([run])
    first = table[table.kernel == "library"].iloc[0]
    assert first.time_us == pytest.approx(20.0, rel=0.01)
    assert first.tflops == pytest.approx(2 * 1024**3 / 20e-6 / 1e12, rel=0.01)
    assert first.power_w == 400.0
    assert first.splits == 2
    assert first.modes == "fast_accumulation=on"


def test_what_was_planned_and_is_not_there_is_counted(tmp_path: Path) -> None:
    one, two, late = record("one"), record("two"), record("one", status="interrupted")
    planned = header(plan=(one.case, two.case))
    path = write(tmp_path / "run.jsonl", [planned, late])
    (told,) = read(path).warnings
    assert told.startswith("1 of 2 planned cases have no record: the run still goes on, or was cut")
    write(path, [planned, late, one, two])
    assert not read(path).warnings


def test_a_cut_header_is_said_to_be_cut(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(LINES[0][:200])
    assert "is cut in its header, nothing of it can be loaded" in refused(path)


@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_cut_tail_costs_only_itself(tmp_path: Path, size: int) -> None:
    path = lines(tmp_path / "run.jsonl", LINES[1][:size], end=b"")
    run = read(path)
    assert [one.kernel for one in run.records] == ["one", "two"]
    assert run.footer is None
    assert run.warnings == (f"the last line is cut: its {size} bytes were not loaded",)


def test_a_damaged_middle_line_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(b"\n".join([LINES[0], b"\xff\x00{", LINES[2][:-3] + b"}", LINES[1]]) + b"\n")
    run = read(path)
    assert [one.kernel for one in run.records] == ["one"]
    (told,) = run.warnings
    assert told.startswith("2 damaged line(s) of ")
    assert "line 2, 3" in told


def test_a_wrong_type_or_a_turn_of_no_time_costs_its_line(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "run.jsonl",
        LINES[1].replace(b'"m":1024', b'"m":-1'),
        msgspec.json.encode(record("zero", took=[turn(0, 0.0)])),
    )
    run = read(path)
    assert [one.kernel for one in run.records] == ["one", "two"]
    assert "2 damaged line(s)" in run.warnings[0]


def test_unknown_fields_types_and_blank_lines(tmp_path: Path) -> None:
    newer = LINES[1].replace(b'"kernel":"one"', b'"kernel":"three","colour":{"a":[1]}')
    strange = '{"type":"\u202eevil","a":1}'.encode()
    path = lines(tmp_path / "run.jsonl", b"", newer, strange, strange, b"  ")
    run = read(path)
    assert [one.kernel for one in run.records] == ["one", "two", "three"]
    (told,) = run.warnings
    assert told.startswith("2 line(s) of the unknown type '\\u202eevil' skipped")


def test_a_newer_minor_version_loads_and_a_newer_major_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(LINES[0].replace(b'"format":[1,0]', b'"format":[1,99]') + b"\n")
    assert read(path).header.format == (1, 99)
    path.write_bytes(LINES[0].replace(b'"format":[1,0]', b'"format":[2,0]') + b"\n")
    assert "format 2.0, this gemmbench reads up to 1.x: update it" in refused(path)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n",
        b"\x7fELF\x02\x00\x00\n\x00",
        b'{"name": "somebody else"}\n',
        b"[1, 2]\n",
        b"null",
        b'{"type":"run"}\n',
        b'{"type":"run","format":"1.0"}\n',
        b'{"type":"run","format":[1,0]}\n',
        LINES[0][:100],
        LINES[1] + b"\n" + LINES[0] + b"\n",
        b"[" * 1_000_000,
        b'{"type":"run","format":[1,0],"x":' + b"[" * 100_000,
    ],
)
def test_a_file_that_is_not_ours(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "other.jsonl"
    path.write_bytes(data)
    assert "expected a .jsonl file that `gemmbench run` wrote" in refused(path)


def test_folders_missing_files_and_devices(tmp_path: Path) -> None:
    assert "is a folder" in refused(tmp_path)
    assert "No such file" in refused(tmp_path / "none.jsonl")
    assert "no regular file" in refused("/dev/zero")
    for path in ("a\0b", "x" * 5000):
        with pytest.raises(GemmbenchError, match="cannot read"):
            read_many(path)


def test_a_line_deeper_than_the_stack_is_skipped(tmp_path: Path) -> None:
    path = lines(tmp_path / "run.jsonl", b'{"type":"record","x":' + b"[" * 500_000)
    run = read(path)
    assert len(run.records) == 2
    assert len(run.warnings) == 1


def test_a_line_too_long_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "MAX_LINE_BYTES", 4096)
    path = tmp_path / "run.jsonl"
    path.write_bytes(b"\n".join([*LINES[:2], b"x" * 3_000_000, LINES[2], b"y" * 5000]))
    run = read(path)
    assert [one.kernel for one in run.records] == ["one", "two"]
    assert "the last line is cut: its 5000 bytes were not loaded" in run.warnings
    assert any("3000001 bytes" in told for told in run.warnings)


def test_two_runs_in_one_file_are_not_mixed(tmp_path: Path) -> None:
    path = lines(tmp_path / "run.jsonl", *LINES)
    run = read(path)
    assert len(run.records) == 2
    assert run.warnings[0].startswith("line 4 begins a second run")


def test_the_last_record_of_a_case_counts(tmp_path: Path) -> None:
    cut, done = record("one", status="interrupted"), record("one", took=turns(100.0))
    other = record("one", repeat=1, status="failed")
    path = write(
        tmp_path / "run.jsonl", [header(), cut, other, footer([cut]), done, footer([done])]
    )
    run = read(path)
    assert run.records == (other, done)
    assert run.footer == footer([done])


def test_read_many_takes_files_patterns_folders_and_lists(tmp_path: Path) -> None:
    one = ladder_run(tmp_path / "one.jsonl")
    (tmp_path / "deep" / "deeper").mkdir(parents=True)
    two = ladder_run(tmp_path / "deep" / "two.jsonl")
    ladder_run(tmp_path / "deep" / "deeper" / "three.jsonl")
    (tmp_path / "notes.txt").write_text("not a run")

    def names(source: "reader.Source | list[reader.Source]") -> list[str]:
        return [run.path.name for run in read_many(source)]

    assert names(one) == ["one.jsonl"]
    assert names(tmp_path) == ["one.jsonl", "two.jsonl"]
    assert names(str(tmp_path / "*" / "*.jsonl")) == ["two.jsonl"]
    assert names([two, tmp_path]) == ["two.jsonl", "one.jsonl"]
    for nothing in (tmp_path / "deep" / "none", str(tmp_path / "x*"), str(tmp_path / "n[o]t*x")):
        with pytest.raises(GemmbenchError):
            read_many(nothing)
    with pytest.raises(GemmbenchError, match="'' names no run"):  # it is not the current folder
        read_many(["", tmp_path])
    with pytest.raises(GemmbenchError, match="no run file was named"):
        read_many([])
    (tmp_path / "empty").mkdir()
    with pytest.raises(GemmbenchError, match="holds no run"):
        read_many(tmp_path / "empty")


def test_a_name_with_brackets_is_a_file_before_it_is_a_pattern(tmp_path: Path) -> None:
    path = ladder_run(tmp_path / "run[1].jsonl")
    assert [run.path for run in read_many(str(path))] == [path]


def test_header_and_selftests(tmp_path: Path) -> None:
    path = write(tmp_path / "run.jsonl", [header(), selftest(0), selftest(1)])
    assert read_header(path) == header()
    assert [one.repeat for one in read(path).selftests] == [0, 1]


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None
)
@given(st.data())
def test_any_damage_is_a_run_or_one_line(tmp_path: Path, data: st.DataObject) -> None:
    whole = b"\n".join([*LINES, msgspec.json.encode(record(took=turns(9.0, samples=2)))]) + b"\n"
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, min(len(whole), start + 40)))
    path = tmp_path / "fuzz.jsonl"
    path.write_bytes(whole[:start] + data.draw(st.binary(max_size=40)) + whole[stop:])
    try:
        run = read(path)
    except GemmbenchError as error:
        assert len(str(error).splitlines()) == 1
    else:
        frame([run])


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)
@given(st.binary(max_size=300))
@example(b'{"type":"run","format":[]}')
def test_any_bytes_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "fuzz.jsonl"
    path.write_bytes(data)
    refused(path)


# What lies beside runs.


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Two runs, and what is none, in a folder."""
    for name in ("a", "b"):
        write(tmp_path / f"{name}.jsonl", [header(run_id=name), record("one", took=turns(9.0))])
    (tmp_path / "c.jsonl").write_text("no run")
    (tmp_path / "d.jsonl").write_text('{"type":"run","format":[9,0]}')
    return tmp_path


@pytest.mark.parametrize("pattern", ["", "*.jsonl", "[a-d].jsonl"])
def test_a_file_that_is_no_run_does_not_hide_those_beside_it(pattern: str, mixed: Path) -> None:
    with pytest.warns(RunFileWarning) as told:
        found = read_many(str(mixed / pattern))
    assert [run.header.run_id for run in found] == ["a", "b"]
    assert len(told) == 2
    assert f"not loaded: {mixed}/c.jsonl is not a run" in str(told[0].message)
    assert f"not loaded: {mixed}/d.jsonl has format 9.0" in str(told[1].message)
    with pytest.warns(RunFileWarning):
        assert len(load(mixed)) == 2


def test_a_file_that_is_named_must_be_a_run(mixed: Path) -> None:
    for sources in ([mixed / "c.jsonl"], [mixed / "a.jsonl", mixed / "c.jsonl"]):
        with pytest.raises(GemmbenchError, match=r"c\.jsonl is not a run"):
            read_many(sources)
    with pytest.raises(GemmbenchError, match=r"c\.jsonl is not a run"):  # also where it is both
        read_many([mixed / "[abc].jsonl", mixed / "c.jsonl"])


def test_where_nothing_is_a_run_that_is_an_error(mixed: Path) -> None:
    for name in ("a", "b"):
        (mixed / f"{name}.jsonl").unlink()
    with pytest.raises(GemmbenchError, match=r"c\.jsonl is not a run: .*; nor are 1 more"):
        read_many(mixed)


def test_many_files_that_are_no_runs_are_told_in_a_few_lines(mixed: Path) -> None:
    for number in range(40):
        (mixed / f"x{number:02}.jsonl").write_text("")
    with pytest.warns(RunFileWarning) as told:
        read_many(mixed)
    assert len(told) == 6
    assert str(told[-1].message) == "37 more files were not loaded"


def test_damage_is_told_with_the_value(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [header(), record("one", took=turns(9.0))])
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"target":0.02', b'"target":"soon"'))
    with pytest.raises(
        GemmbenchError, match=r"method\.target: Expected `float`, got `str`: 'soon'"
    ):
        read(path)
    path.write_bytes(whole.replace(b'"m":1024', b'"m":-7'))
    (told,) = read(path).warnings
    assert told.endswith("m: Expected `int` >= 1, got -7")
