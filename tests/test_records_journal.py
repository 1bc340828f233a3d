"""Writing runs: what is on the disk survives cuts, full disks and a second writer."""

import errno
import math
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import CPU, footer, header, record, turn, turns

from gemmbench.records.journal import Journal, MovedWarning, keep_samples
from gemmbench.records.reader import read, read_many
from gemmbench.records.schema import Check
from gemmkernels.errors import GemmbenchError


def test_a_run_is_written_and_read_again(tmp_path: Path) -> None:
    first = record(took=turns(100.0, samples=5), tile=(64, 64, 16), config={"warps": 4, "x": 0.5})
    with Journal.create(tmp_path / "new" / "folder", header()) as journal:
        journal.append(first)
        journal.append(footer([first]))
    run = read(journal.path)
    assert run.header == header()
    assert run.records == (first,)
    assert run.footer == footer([first])
    assert run.warnings == ()
    assert journal.path.name.endswith("-synthetic-cpu-synthetic.jsonl")


def test_each_line_is_on_the_disk_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(descriptor))
    with Journal.create(tmp_path, header()) as journal:
        before = len(synced)
        journal.append(record())
        assert len(synced) == before + 1


def test_a_file_is_never_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gemmbench.records.journal.now", lambda: datetime(2026, 1, 1, tzinfo=UTC))
    Journal.create(tmp_path, header()).close()
    (path,) = tmp_path.iterdir()
    before = path.read_bytes()
    with pytest.raises(GemmbenchError, match="File exists; choose another folder"):
        Journal.create(tmp_path, header())
    assert path.read_bytes() == before


def test_names_of_devices_cannot_leave_the_folder(tmp_path: Path) -> None:
    device = msgspec.structs.replace(header(), run_id="../../é x/..")
    with Journal.create(tmp_path, device) as journal:
        assert journal.path.parent == tmp_path
        assert [journal.path] == list(tmp_path.iterdir())


@pytest.mark.parametrize("keep", [1, 20, -1])
def test_resume_drops_only_the_cut_tail(tmp_path: Path, keep: int) -> None:
    with Journal.create(tmp_path, header()) as journal:
        journal.append(record("one"))
    whole = journal.path.read_bytes()
    line = msgspec.json.encode(record("two"))
    journal.path.write_bytes(whole + line[:keep])
    assert read(journal.path).warnings
    with Journal.resume(journal.path) as again:
        assert journal.path.read_bytes() == whole
        again.append(record("three"))
    run = read(journal.path)
    assert [one.kernel for one in run.records] == ["one", "three"]
    assert not run.warnings


def test_resume_keeps_a_whole_line_without_its_newline(tmp_path: Path) -> None:
    with Journal.create(tmp_path, header()) as journal:
        journal.append(record("one"))
    journal.path.write_bytes(journal.path.read_bytes()[:-1])
    with Journal.resume(journal.path) as again:
        again.append(record("two"))
    assert [one.kernel for one in read(journal.path).records] == ["one", "two"]


def test_resume_drops_zeros_that_a_power_cut_left(tmp_path: Path) -> None:
    with Journal.create(tmp_path, header()) as journal:
        journal.append(record("one"))
    whole = journal.path.read_bytes()
    for tail in (b"\0" * (3 << 20), b'{"type":"rec\n'):
        journal.path.write_bytes(whole + tail)
        Journal.resume(journal.path).close()
        assert journal.path.read_bytes() == whole


def test_two_writers_are_refused(tmp_path: Path) -> None:
    with (
        Journal.create(tmp_path, header()) as journal,
        pytest.raises(GemmbenchError, match="being written by another run"),
    ):
        Journal.resume(journal.path)
    Journal.resume(journal.path).close()


def test_resume_of_something_else_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_text('{"mine": 1}\nno newline')
    with pytest.raises(GemmbenchError, match="not a run"):
        Journal.resume(path)
    assert path.read_text() == '{"mine": 1}\nno newline'


def full_after(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """A disk that takes so many bytes more, and fills up in the middle of a line."""
    write, left = os.write, [size]

    def full(descriptor: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = write(descriptor, data[: left[0]])
        left[0] -= written
        return written

    monkeypatch.setattr(os, "write", full)


def test_a_full_disk_keeps_the_lines_that_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal.create(tmp_path, header()) as journal:
        whole = journal.path.read_bytes()
        first = msgspec.json.encode(record("one")) + b"\n"
        full_after(monkeypatch, len(first) + 10)
        with pytest.raises(GemmbenchError) as seen:
            journal.append(record("one"), record("two"), record("three"))
        assert str(seen.value) == (
            f"cannot write to {journal.path}: No space left on device; its last 2 lines are lost, "
            "all before is whole: free some space, then go on with: "
            f"gemmbench run --resume {journal.path}"
        )
        assert journal.path.read_bytes() == whole + first
        monkeypatch.undo()
        journal.append(record("four"))
    assert [one.kernel for one in read(journal.path).records] == ["one", "four"]


def test_lines_of_which_nobody_knows_the_fate_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with Journal.create(tmp_path, header()) as journal:
        whole = journal.path.read_bytes()
        monkeypatch.setattr(os, "fsync", broken)
        with pytest.raises(GemmbenchError, match="Input/output error; its last line is lost"):
            journal.append(record())
        assert journal.path.read_bytes() == whole


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.EROFS, "copy it into"), (errno.ENOSPC, "free some space, or copy it into")],
)
def test_what_cannot_be_resumed_has_a_remedy_that_resume_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, remedy: str
) -> None:
    with Journal.create(tmp_path, header()) as journal:
        path = journal.path

    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("gemmbench.records.journal.os.open", refuse)
    with pytest.raises(GemmbenchError) as seen:
        Journal.resume(path)
    assert str(seen.value) == (
        f"cannot write {path}: {os.strerror(number)}; {remedy} a folder that you may write to, "
        "and resume that"
    )


def test_a_header_that_does_not_fit_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_after(monkeypatch, 100)
    with pytest.raises(GemmbenchError, match=r"free some space, or choose .* --out") as seen:
        Journal.create(tmp_path, header())
    assert "\n" not in str(seen.value)
    assert not list(tmp_path.iterdir())


def remove(path: Path) -> None:
    path.unlink()


def remove_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def remove_all_but_a_link(path: Path) -> None:
    os.link(path, path.parents[1] / "saved.jsonl")
    path.unlink()


def remove_on_nfs(path: Path) -> None:
    path.rename(path.with_name(".nfs000000000000beef"))


@pytest.mark.parametrize("lose", [remove, remove_folder, remove_all_but_a_link, remove_on_nfs])
def test_a_removed_file_is_written_anew(tmp_path: Path, lose: Callable[[Path], None]) -> None:
    with Journal.create(tmp_path / "folder", header()) as journal:
        path = journal.path
        journal.append(record("one"))
        lose(path)
        with pytest.warns(MovedWarning, match="all of it is now in"):
            journal.append(record("two"))
        assert journal.path == path
        journal.append(record("three"))
        with pytest.raises(GemmbenchError, match="being written"):
            Journal.resume(path)
    assert [one.kernel for one in read(path).records] == ["one", "two", "three"]
    assert not list(path.parent.glob("*.part"))


def test_a_replaced_file_is_not_overwritten(tmp_path: Path) -> None:
    with Journal.create(tmp_path, header()) as journal:
        path = journal.path
        path.unlink()
        path.write_text("mine")
        with pytest.warns(MovedWarning, match="all of it is now in"):
            journal.append(record("one"))
    assert path.read_text() == "mine"
    assert journal.path == path.with_name(f"{path.stem}-2.jsonl")
    assert [one.kernel for one in read(journal.path).records] == ["one"]


def test_a_moved_file_is_followed(tmp_path: Path) -> None:
    with Journal.create(tmp_path / "old", header()) as journal:
        name = journal.path.name
        (tmp_path / "old").rename(tmp_path / "new")
        with pytest.warns(MovedWarning, match="was moved: the run goes on in"):
            journal.append(record("one"))
        journal.append(record("two"))
        assert journal.path == tmp_path / "new" / name
    assert [one.kernel for one in read(journal.path).records] == ["one", "two"]
    assert not (tmp_path / "old").exists()


def test_a_folder_that_cannot_be_made_anew_is_one_line(tmp_path: Path) -> None:
    with Journal.create(tmp_path / "folder", header()) as journal:
        shutil.rmtree(tmp_path / "folder")
        (tmp_path / "folder").write_text("in the way")
        with pytest.raises(GemmbenchError, match=r"removed .* cannot be written anew") as seen:
            journal.append(record("one"))
        assert "\n" not in str(seen.value)


def test_a_clock_set_back_and_two_runs_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)]
    clock.append(datetime(1970, 1, 1, tzinfo=UTC))
    monkeypatch.setattr("gemmbench.records.journal.now", lambda: clock.pop(0))
    journals = [Journal.create(tmp_path, header(run_id=name)) for name in ("aa", "bb", "cc")]
    for number in range(3):
        for journal in journals:
            journal.append(record(f"{journal.path.stem[-2:]}-{number}"))
    for journal in journals:
        journal.close()
    found = {run.header.run_id: run for run in read_many(tmp_path)}
    assert list(found) == ["cc", "aa", "bb"]  # by the clock that named them
    for name, run in found.items():
        assert [one.kernel for one in run.records] == [f"{name}-{n}" for n in range(3)]
        assert not run.warnings


def test_a_folder_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GemmbenchError, match="cannot write") as seen:
        Journal.create(tmp_path / "file", header())
    assert "\n" not in str(seen.value)


def test_text_that_is_no_utf8_and_floats_that_are_not_finite(tmp_path: Path) -> None:
    broken = os.fsdecode(b"/home/\xff")
    with Journal.create(tmp_path, header(environment={"PATH": broken})) as journal:
        journal.append(record(check=Check(exact_by="product", error=math.inf, rows=1)))
    run = read(journal.path)
    assert run.header.environment == {"PATH": "/home/\\udcff"}
    assert run.records[0].check is not None
    assert run.records[0].check.error is None
    assert not run.warnings


def test_samples_are_kept_in_whole_rounds() -> None:
    whole = record(took=[turn(r, 100.0, samples=[float(r)] * 30) for r in range(20)])
    kept = keep_samples(whole)
    held = [one.round for one in kept.turns if one.samples_ns is not None]
    assert held == [1, 5, 8, 11, 15, 18]
    assert [one.median_ns for one in kept.turns] == [one.median_ns for one in whole.turns]
    assert [one.n_samples for one in kept.turns] == [30] * 20
    assert kept.n_samples == 600


def test_few_samples_are_all_kept() -> None:
    whole = record(took=turns(100.0, rounds=20, samples=10))
    assert keep_samples(whole) is whole


@given(st.lists(st.none() | st.integers(0, 500), max_size=30))
def test_at_most_200_samples_are_kept(counts: list[int | None]) -> None:
    took = [
        turn(r, 100.0, samples=None if count is None else [float(i) for i in range(count)])
        for r, count in enumerate(counts)
    ]
    kept = [one.samples_ns for one in keep_samples(record(took=took)).turns if one.samples_ns]
    total = sum(map(len, kept))
    assert total <= 200
    assert bool(kept) == any(counts)
    if sum(count or 0 for count in counts) <= 200:
        assert total == sum(count or 0 for count in counts)


def test_the_slug_names_the_file(tmp_path: Path) -> None:
    with Journal.create(tmp_path, header(CPU, run_id="abc")) as journal:
        assert journal.path.name.split("Z-")[1] == "synthetic-cpu-abc.jsonl"
