"""Tuned entries: which one serves a problem, what a file may hold, what a kernel makes of it."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from synthetic import CPU, H100

from gemmbench.runner.alone import measure_kernel
from gemmbench.runner.tune_file import add, text_of, writable
from gemmbench.timing.method import timing
from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError
from gemmkernels.kernel import Kernel, Launch, Settings
from gemmkernels.operands import Operands, allocate
from gemmkernels.problem import Problem
from gemmkernels.tuning import (
    VARIABLE,
    Entry,
    nearest,
    parse_entries,
    read_entries,
    shipped_file,
    user_file,
)

ENTRY = Entry(
    kernel="mine",
    architecture=CPU.architecture,
    precision="fp32",
    m=512,
    n=512,
    k=512,
    settings={"BLOCK_M": 64},
)
SQUARE = Problem(m=512, n=512, k=512, precision="fp32")


def changed(**changes: object) -> Entry:
    return Entry(**{**{name: getattr(ENTRY, name) for name in Entry.__struct_fields__}, **changes})


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes entries as the user's file."""
    path = tmp_path / "tuned.toml"
    monkeypatch.setenv(VARIABLE, str(path))

    def write(*entries: Entry) -> Path:
        path.write_text(text_of(entries))
        return path

    return write


# Which entry serves.


def tuned(kernel: str, problem: Problem, device: Device) -> Settings | None:
    found = nearest(kernel, problem, device)
    return found.settings if found else None


def test_the_nearest_entry_serves_within_a_factor_of_two(own: Callable[..., Path]) -> None:
    own(ENTRY, changed(m=1024, settings={"BLOCK_M": 128}))
    assert tuned("mine", SQUARE, CPU) == {"BLOCK_M": 64}
    assert tuned("mine", replace(SQUARE, m=1000), CPU) == {"BLOCK_M": 128}
    assert tuned("mine", replace(SQUARE, m=2048), CPU) == {"BLOCK_M": 128}
    assert tuned("mine", replace(SQUARE, m=2049), CPU) is None
    assert tuned("mine", replace(SQUARE, n=255), CPU) is None
    assert tuned("mine", replace(SQUARE, k=256), CPU) == {"BLOCK_M": 64}


@pytest.mark.parametrize(
    "unlike",
    [
        changed(kernel="other"),
        changed(architecture="x86-64-v3"),
        changed(precision="bf16"),
        changed(layout="nt"),
        changed(batch=4),
        changed(experts=4),
        changed(units=64),
    ],
    ids=lambda entry: str(entry.key),
)
def test_an_entry_of_something_else_does_not_serve(unlike: Entry, own: Callable[..., Path]) -> None:
    own(ENTRY)
    assert tuned("mine", SQUARE, CPU) == {"BLOCK_M": 64}
    own(unlike)
    assert tuned("mine", SQUARE, CPU) is None


def test_rows_below_a_tile_are_alike(own: Callable[..., Path]) -> None:
    own(changed(m=1))
    assert tuned("mine", replace(SQUARE, m=16), CPU)
    assert tuned("mine", replace(SQUARE, m=32), CPU)
    assert tuned("mine", replace(SQUARE, m=33), CPU) is None


def test_on_a_gpu_ragged_rows_get_no_entry_of_whole_ones(own: Callable[..., Path]) -> None:
    own(changed(architecture="sm_90"))
    assert tuned("mine", SQUARE, H100)
    assert tuned("mine", replace(SQUARE, n=511), H100) is None
    own(changed(n=511, architecture="sm_90"))
    assert tuned("mine", SQUARE, H100) is None
    assert tuned("mine", replace(SQUARE, n=509), H100)


def test_the_users_file_comes_before_the_shipped_one(
    own: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gemmkernels.tuning._FOLDER", tmp_path / "shipped")
    shipped = shipped_file(CPU.architecture)
    assert shipped.name == "x86-64-v4+amx.toml"
    add(shipped, [changed(settings={"BLOCK_M": 1})])
    assert tuned("mine", SQUARE, CPU) == {"BLOCK_M": 1}
    own(changed(m=600, settings={"BLOCK_M": 2}))
    assert tuned("mine", SQUARE, CPU) == {"BLOCK_M": 2}
    assert tuned("mine", replace(SQUARE, m=256), CPU) == {"BLOCK_M": 1}


def test_of_equals_the_last_one_serves(own: Callable[..., Path]) -> None:
    path = own(ENTRY, changed(settings={"BLOCK_M": 9}))
    assert tuned("mine", SQUARE, CPU) == {"BLOCK_M": 9}
    path.write_text(text_of([changed(settings={"BLOCK_M": 7, "x": True, "y": "z"})]))
    assert tuned("mine", SQUARE, CPU) == {"BLOCK_M": 7, "x": True, "y": "z"}


def test_where_the_users_file_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, "")
    assert user_file() is None
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert user_file() == tmp_path / "gemmbench/tuned.toml"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_file() == tmp_path / ".config/gemmbench/tuned.toml"
    assert tuned("mine", SQUARE, CPU) is None


# What a file may hold.

TEXT = text_of([ENTRY])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TEXT + "\ncolour = 1", "entry[0]: table contains unknown field `colour`"),
        ("[[entries]]", "unknown field `entries`"),
        (TEXT.replace("m = 512", 'm = "512"'), "entry[0].m: Expected `int`, got `str`"),
        (TEXT.replace("m = 512", "m = 0"), "entry[0].m"),
        (TEXT.replace("m = 512\n", ""), "missing key"),
        (TEXT.replace('"fp32"', '"fp31"'), "did you mean fp32"),
        (TEXT + '\nlayout = "nx"', "unknown layout"),
        (TEXT.replace("{ BLOCK_M = 64 }", "{}"), "settings is empty"),
        (TEXT.replace("{ BLOCK_M = 64 }", "{ BLOCK_M = 6.5 }"), "entry[0].settings"),
        (TEXT.replace("{ BLOCK_M = 64 }", "{ a = [1] }"), "entry[0].settings"),
        (TEXT.replace("BLOCK_M", '"a\\u001b[31m"'), "printable"),
        (TEXT + "\nratio = nan", "ratio = nan must be a positive number"),
        (TEXT + "\ntime_us = -1.0", "must be a positive number"),
        ("entry = 5", "Expected `array`"),
        ("= = =", "is not TOML"),
        ("a." * 50_000 + "a = 1", "key of over 8 parts"),
        ("a = " + "[" * 100_000, "nested too deeply"),
    ],
    ids=map(str, range(17)),
)
def test_a_damaged_file_is_refused_in_one_line(text: str, said: str) -> None:
    with pytest.raises(GemmbenchError) as error:
        parse_entries(text.encode(), source="tuned.toml")
    assert said in str(error.value)
    assert str(error.value).startswith("tuned.toml")
    assert str(error.value).endswith("mend it, or remove it")
    assert "\n" not in str(error.value)


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=200) | st.text().map(lambda text: (TEXT + text).encode()))
def test_any_bytes_are_entries_or_refused_in_one_line(data: bytes) -> None:
    try:
        parse_entries(data, source="tuned.toml")
    except GemmbenchError as error:
        assert str(error).isprintable()


_VALUES = (
    st.integers(-(2**62), 2**62)
    | st.booleans()
    | st.text(st.characters(exclude_categories=("C", "Z")), max_size=9)
)


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=("C", "Z")), max_size=9), _VALUES, min_size=1
    ),
    st.floats(1e-9, 1e9),
)
def test_what_is_written_reads_the_same(found: dict[str, int | str | bool], time: float) -> None:
    entries = (changed(settings=found, time_us=time, software={"torch": "2.13+cpu"}), ENTRY)
    assert parse_entries(text_of(entries).encode(), source="x") == entries


def test_no_device_is_read_and_no_fifo_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.toml")
    big = tmp_path / "big.toml"
    big.write_bytes(b"#" * (2**20 + 1))
    for path in (tmp_path / "fifo.toml", Path("/dev/zero"), tmp_path, big):
        with pytest.raises(GemmbenchError):
            read_entries(path)
    assert read_entries(tmp_path / "none.toml") == ()
    assert read_entries(big / "under a file") == ()


# Writing.


def test_adding_keeps_what_is_there_and_replaces_the_same_problem(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "tuned.toml"
    add(path, [ENTRY, changed(m=1024)])
    add(path, [changed(settings={"BLOCK_M": 32}), changed(kernel="other")])
    found = read_entries(path)
    assert [(one.kernel, one.m, one.settings["BLOCK_M"]) for one in found] == [
        ("mine", 512, 32),
        ("mine", 1024, 64),
        ("other", 512, 64),
    ]
    assert [one.name for one in path.parent.iterdir()] == ["tuned.toml"]


def test_a_write_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tuned.toml"
    add(path, [ENTRY])
    before = path.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(GemmbenchError, match="No space left"):
        add(path, [changed(m=1024)])
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["tuned.toml"]


def test_a_place_that_takes_no_file_is_told_before_anything_is_measured(tmp_path: Path) -> None:
    writable(tmp_path / "tuned.toml")
    assert not list(tmp_path.iterdir())
    damaged = tmp_path / "damaged.toml"
    damaged.write_text("entry = 5")
    (tmp_path / "file").touch()
    for path in (damaged, tmp_path / "file" / "a.toml", tmp_path / "a.txt"):
        with pytest.raises(GemmbenchError):
            writable(path)


# What a kernel makes of it.


def library(operands: Operands, settings: Settings | None = None) -> Launch:
    import torch

    block = (settings or {"BLOCK_M": 16})["BLOCK_M"]
    if block == 13:
        raise GemmbenchError("BLOCK_M = 13 is no power of two")

    def run() -> None:
        torch.mm(operands.a, operands.b, out=operands.out)
        if block == 666:
            operands.out[0, 0] += 1
        if block == 777:
            raise RuntimeError("out of resource: shared memory")

    return Launch(run=run, config={"BLOCK_M": block})


MINE = Kernel(
    name="mine",
    tier="library",
    backend="torch",
    precisions=("fp32",),
    summary="torch",
    bind=library,
    space=lambda problem, device: [{"BLOCK_M": 16}, {"BLOCK_M": 64}],
)


def test_a_launch_takes_the_entry_and_names_it(own: Callable[..., Path]) -> None:
    operands = allocate(SQUARE, CPU)[0]
    assert MINE.launch(operands).config == {"BLOCK_M": 16}
    own(changed(n=600))
    assert MINE.launch(operands).config == {"BLOCK_M": 64, "tuned": "512x600x512"}
    assert MINE.launch(operands, settings={"BLOCK_M": 32}).config == {"BLOCK_M": 32}
    assert replace(MINE, space=None).launch(operands).config == {"BLOCK_M": 16}


@pytest.mark.parametrize("block", [13, 666, 777])
def test_an_entry_that_does_not_work_any_more_costs_no_case(
    block: int, own: Callable[..., Path]
) -> None:
    own(changed(settings={"BLOCK_M": block}))
    how = timing("quick", kind="cpu", vendor="other")
    small = replace(SQUARE, m=500)
    found = measure_kernel(MINE, small, CPU, timing=how, data="normal", timed=False).record
    assert (found.status, found.config) == ("ok", {"BLOCK_M": 16})
    assert found.warnings[0].startswith("settings tuned at 512x512x512 left for the default's: ")
    own(ENTRY)
    found = measure_kernel(MINE, small, CPU, timing=how, data="normal", timed=False).record
    assert (found.config["BLOCK_M"], found.warnings) == (64, ())


def test_a_damaged_file_fails_the_case_with_its_line(own: Callable[..., Path]) -> None:
    own(ENTRY).write_text("[[entry]]\n")
    how = timing("quick", kind="cpu", vendor="other")
    found = measure_kernel(MINE, SQUARE, CPU, timing=how, data="normal", timed=False).record
    assert found.status == "failed"
    assert "mend it, or remove it" in found.reason


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([], "space returned []"),
        (None, "space returned None"),
        ([{}], "must be a dict"),
        ([5], "must be a dict"),
        ([{"a": 1.5}], "must be a whole number, a bool or a printable word"),
        ([{"a\n": 1}], "printable names"),
        ([{"a": 2**70}], "must be a whole number"),
    ],
)
def test_settings_that_make_no_sense_are_refused(found: object, said: str) -> None:
    kernel = replace(MINE, space=lambda problem, device: found)  # type: ignore[arg-type, return-value]
    with pytest.raises(GemmbenchError) as error:
        kernel.settings(SQUARE, CPU)
    assert said in str(error.value)


def test_settings_are_each_there_once() -> None:
    twice = replace(MINE, space=lambda problem, device: [{"a": 1}, {"a": 2}, {"a": 1}])
    assert twice.settings(SQUARE, CPU) == ({"a": 1}, {"a": 2})
    assert replace(MINE, space=None).settings(SQUARE, CPU) == ()
    with pytest.raises(GemmbenchError, match="space"):
        replace(MINE, space="no path")


def test_what_is_shipped_can_be_read() -> None:
    for path in shipped_file("x").parent.glob("*.toml"):
        for entry in read_entries(path):
            assert path == shipped_file(entry.architecture)
            assert entry.ratio_low, f"{path}: an entry without evidence"
            assert entry.ratio_low > 1
    assert nearest("mine", SQUARE, CPU) is None
