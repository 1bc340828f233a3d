"""`show --format parquet`, and --out of what other programs read."""

import json
import math
import os
import pty
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Literal

import pandas as pd
import pytest
from synthetic import footer, header, record, turn, turns, write

from gemmbench.records.frame import load
from gemmbench.show.columns import check_out, columns, parquet
from gemmbench.show.whole import write_whole
from gemmkernels.errors import GemmbenchError

pq = pytest.importorskip("pyarrow.parquet", reason="the extra parquet is not installed")


def call(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "gemmbench", *arguments]
    return subprocess.run(command, capture_output=True, timeout=120)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    found = [
        record("fast", took=[turn(number, 1e3 * (10 + number)) for number in (2, 0, 1)]),
        record("gone", status="failed", reason="out of memory"),
        record("evil\x1b[31m\u202e", took=turns(100.0), splits=2),
    ]
    return write(tmp_path / "run.jsonl", [header(synthetic=True), *found, footer(found)])


def test_what_is_read_back_is_what_was_loaded(run: Path, tmp_path: Path) -> None:
    done = call("show", str(run), "--format", "parquet", "--out", str(tmp_path / "a.parquet"))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    back, df = pd.read_parquet(tmp_path / "a.parquet"), load(run)
    assert list(back.columns) == list(df.columns)
    for name in set(df.columns) - {"turn_us", "kernel"}:
        whole = df[name].isna().tolist() == back[name].isna().tolist()
        assert whole, name
        known = df[name].notna()
        assert df.loc[known, name].tolist() == back.loc[known, name].tolist(), name
        if df[name].dtype not in ("object", "string"):
            assert back[name].dtype == df[name].dtype, name
    assert [list(one) for one in back["turn_us"]][:2] == [[10.0, 11.0, 12.0], []]
    assert "\x1b" not in "".join(back["kernel"])
    assert "\u202e" not in "".join(back["kernel"])


def test_types_for_arrow(run: Path) -> None:
    table = pq.read_table(BytesIO(parquet(load(run))))
    kinds = {field.name: str(field.type) for field in table.schema}
    assert kinds["turn_us"] in ("list<element: double>", "list<item: double>")
    assert kinds["m"] == kinds["threads"] == kinds["splits"] == "int64"
    assert kinds["power_limited"] == kinds["synthetic"] == "bool"
    assert kinds["device_id"] == kinds["verdict"] == kinds["peak_unit"] == "string"  # all null here
    assert kinds["time_us"] == "double"
    rows = {row["kernel"]: row for row in table.to_pylist()}
    assert rows["gone"]["time_us"] is None  # never 0
    assert rows["gone"]["splits"] is None
    assert rows["fast"]["time_us"] == 11.0


def test_a_run_without_records(tmp_path: Path) -> None:
    df = load(write(tmp_path / "empty.jsonl", [header(synthetic=True)]))
    table = pq.read_table(BytesIO(parquet(df)))
    assert table.num_rows == 0
    assert table.column_names == list(df.columns)


def test_to_standard_output_where_that_is_no_terminal(run: Path) -> None:
    done = call("show", str(run), "--format", "parquet")
    assert done.returncode == 0
    assert pq.read_table(BytesIO(done.stdout)).num_rows == 3


def test_never_to_a_terminal(run: Path) -> None:
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "gemmbench", "show", str(run), "--format", "parquet"]
    done = subprocess.run(command, stdout=child, stderr=subprocess.PIPE, timeout=120)
    os.close(child)
    os.close(parent)
    assert done.returncode == 2
    assert b"--out" in done.stderr
    assert b"Traceback" not in done.stderr


def test_without_pyarrow_the_extra_is_named(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(GemmbenchError, match=r"pip install 'gemmbench\[parquet\]'"):
        parquet(load(run))


@pytest.mark.parametrize("form", ["csv", "json"])
def test_other_formats_go_to_a_file_too(
    run: Path, tmp_path: Path, form: Literal["csv", "json"], capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / f"rows.{form}"
    columns(load(run), form, check_out(form, str(place)))
    assert capsys.readouterr().out == ""
    columns(load(run), form, check_out(form, None))
    text = place.read_text()
    assert text == capsys.readouterr().out
    rows = json.loads(text) if form == "json" else pd.read_csv(place).to_dict("records")
    assert len(rows) == 3
    assert rows[0]["kernel"] == "fast"
    assert math.isclose(rows[0]["time_us"], 11.0)


def test_a_table_has_no_out() -> None:
    with pytest.raises(GemmbenchError, match="--out 'x' is for --format csv, json and parquet"):
        check_out("table", "x")


def test_a_run_is_never_overwritten(run: Path) -> None:
    was = run.read_bytes()
    with pytest.raises(GemmbenchError, match="is a run: name another file"):
        columns(load(run), "csv", run)
    assert run.read_bytes() == was


def test_a_file_is_replaced_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, link = tmp_path / "a.csv", tmp_path / "link.csv"
    place.write_text("old")
    link.symlink_to(place)
    write_whole(b"new", link)
    assert place.read_text() == "new"
    assert link.is_symlink()

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(GemmbenchError, match="No space left on device; name another file"):
        write_whole(b"newer", place)
    assert place.read_text() == "new"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.csv", "link.csv"]


def test_a_device_file_stays_one() -> None:
    write_whole(b"x", Path(os.devnull))
    assert not Path(os.devnull).is_file()


@pytest.mark.parametrize("place", ["/proc/none/a.csv", "a\0b", "."])
def test_a_place_that_cannot_be_written(tmp_path: Path, place: str) -> None:
    with pytest.raises(GemmbenchError, match="name another file with --out"):
        write_whole(b"x", tmp_path / place)
