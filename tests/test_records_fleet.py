"""Files that hold the runs of several devices: written, indexed, read, one by one and together."""

import warnings
from pathlib import Path

import pytest
from synthetic import footer, header, record

from gemmbench.records.fleet import member, split
from gemmbench.records.frame import load
from gemmbench.records.journal import Journal, encode
from gemmbench.records.reader import (
    RunFileWarning,
    fleet_of,
    paths_of,
    read,
    read_header,
    read_many,
)
from gemmbench.records.schema import Fleet, Line, Lost, Place
from gemmkernels.errors import GemmbenchError

PLACES = tuple(Place(node=f"n{i // 2}", rack="r", index=i % 2, at_once=3) for i in range(3))


def lines_of(unit: int, *names: str, seed: int = 0) -> list[bytes]:
    place = PLACES[unit]
    found = [record(name) for name in names]
    begun: list[Line] = [header(run_id=f"run{unit}{seed}", synthetic=True, place=place)]
    return [encode(line) for line in (*begun, *found, footer(found))]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Units 0 and 2 came to their end, in turns; unit 1 never answered."""
    fleet = Fleet(
        run_id="f", started="2026-01-01T00:00:00+00:00", version="1", places=PLACES, synthetic=True
    )
    with Journal.create(tmp_path, fleet) as journal:
        first, last = lines_of(0, "a", "b"), lines_of(2, "a", "b")
        for one, other in zip(first, last, strict=True):
            journal.append_of([(2, other)])
            journal.append_of([(0, one)])
        journal.append(Lost(unit=1, reason="no answer"))
        return journal.path


def test_each_run_reads_as_from_a_file_of_its_own(path: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.jsonl"
    alone.write_bytes(b"".join(lines_of(2, "a", "b")))
    read_here, there = read(member(path, 2)), read(alone)
    assert read_here.header == there.header
    assert read_here.records == there.records
    assert read_here.footer == there.footer
    assert read_here.warnings == there.warnings
    assert [run.header.run_id for run in read_many(path)] == ["run00", "run20"]
    assert paths_of(path.parent)[:2] == [member(path, 0), member(path, 2)]


def test_columns_tell_the_place(path: Path) -> None:
    df = load(path)
    assert df["unit"].tolist() == [0, 0, 2, 2]
    assert df["node"].tolist() == ["n0", "n0", "n1", "n1"]
    assert df["device_index"].tolist() == [0] * 4
    assert df["at_once"].tolist() == [3] * 4
    assert df["file"].tolist() == [f"{path.name}#0"] * 2 + [f"{path.name}#2"] * 2
    assert load(member(path, 2))["unit"].tolist() == [2, 2]


def test_what_the_file_says_of_all(path: Path) -> None:
    index = fleet_of(path)
    assert index is not None
    assert index.fleet.places == PLACES
    assert index.absent == (1,)
    assert index.lost[1].reason == "no answer"
    assert index.warnings == ()
    assert fleet_of(write_alone(path.parent)) is None


def write_alone(folder: Path) -> Path:
    path = folder / "one.jsonl"
    path.write_bytes(b"".join(lines_of(0, "a")))
    return path


def test_a_run_must_be_named(path: Path) -> None:
    with pytest.raises(GemmbenchError, match=r"runs of 2 devices: name one of #0 … #2"):
        read(path)
    with pytest.raises(GemmbenchError, match=r"holds #0 … #2"):
        read_header(member(path, 1))


def test_a_unit_that_goes_on_is_not_lost(path: Path) -> None:
    with Journal.resume(path) as journal:
        journal.append_of((1, line) for line in lines_of(1, "a"))
    index = fleet_of(path)
    assert index is not None
    assert not index.lost
    assert not index.absent
    assert len(load(path)) == 5


def test_a_file_cut_at_any_byte_keeps_what_is_whole(path: Path, tmp_path: Path) -> None:
    data = path.read_bytes()
    whole = [i + 1 for i, byte in enumerate(data) if byte == 10]
    cut_file = tmp_path / "cut.jsonl"
    for cut in range(whole[2], len(data), 37):
        cut_file.write_bytes(data[:cut])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RunFileWarning)
            df = load(cut_file)
        kept = data[: max(one for one in whole if one <= cut)]
        assert len(df) == kept.count(b'"type":"record"')
        with Journal.resume(cut_file):
            pass
        assert cut_file.read_bytes() == kept


def test_names_with_a_number_sign(tmp_path: Path) -> None:
    odd = tmp_path / "odd#3"
    odd.write_bytes(b"".join(lines_of(0, "a")))
    assert split(odd) == (odd, None)
    assert len(load(odd)) == 1
    assert split(tmp_path / "x.jsonl#12") == (tmp_path / "x.jsonl", 12)
    with pytest.raises(GemmbenchError, match=r"cannot read .*none\.jsonl"):
        load(tmp_path / "none.jsonl#3")


def test_a_damaged_first_line_is_told(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"places":[', b'"places":7,"x":[', 1))
    with pytest.raises(GemmbenchError, match="its first line is damaged"):
        load(path)
