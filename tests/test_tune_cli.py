"""`gemmbench tune` on this CPU, with kernels whose best settings are known, and with faults."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gemmbench.records.frame import load
from gemmbench.records.reader import read
from gemmkernels.tuning import VARIABLE, read_entries

PLANTED = str(Path(__file__).with_name("planted_tuning.py"))
HERE = ("--shape", "64x64x64", "--device", "cpu", "--threads", "1")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "gemmbench", *arguments]


def gemmbench(
    *arguments: str, kind: str = "loops", tuned: str = ""
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PLANTED_TUNING": kind, VARIABLE: tuned}
    return subprocess.run(command(*arguments), capture_output=True, text=True, env=environment)


def tune(folder: Path, *arguments: str, kind: str = "loops") -> subprocess.CompletedProcess[str]:
    where = ("--out", str(folder / "tuned.toml"), "--runs", str(folder / "runs"))
    return gemmbench("tune", PLANTED, *HERE, *where, *arguments, kind=kind)


@pytest.mark.slow
def test_what_fails_costs_itself_and_what_wins_is_used(tmp_path: Path) -> None:
    done = tune(tmp_path, "--budget", "2m", "--timeout", "5", "--format", "json", kind="faults")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    (path,) = (tmp_path / "runs").glob("*.jsonl")
    run = read(path)
    assert run.header.tuning
    assert not run.warnings
    fates = {}
    for record in run.records:
        assert record.settings is not None
        fates[record.settings.get("fault", "none")] = record.status
    ends = {"wrong": "wrong", "raise": "failed", "abort": "failed", "hang": "timeout"}
    assert fates == {**ends, "none": "ok"}
    assert (found["space"], found["tried"], found["fallen"]) == (6, 6, 4)
    # Beside neighbours on the cores nothing may be claimed: then nothing is written either.
    entries = read_entries(tmp_path / "tuned.toml")
    if found["outcome"] != "faster":
        assert found["outcome"] in ("kept", "unfinished")
        assert found["settings"] in ({"times": 4}, None)
        assert found["reason"]
        assert entries == ()
        return
    assert (found["outcome"], found["settings"]) == ("faster", {"times": 2})
    assert 1 < found["ratio_low"] < found["ratio"] < 2.2
    (entry,) = entries
    assert (entry.settings, entry.default, entry.run) == ({"times": 2}, {"times": 4}, path.name)
    assert entry.ratio == pytest.approx(found["ratio"], rel=1e-4)
    assert str(tmp_path) not in path.read_text()
    check = ("--kernel", PLANTED, "--kernel", "planted", *HERE, "--preset", "quick", "--quiet")
    again = gemmbench(
        "run", *check, "--out", str(tmp_path / "b"), tuned=str(tmp_path / "tuned.toml")
    )
    assert again.returncode == 0, again.stderr
    (record,) = read(next((tmp_path / "b").glob("*.jsonl"))).records
    assert record.config == {"times": 2, "tuned": "64x64x64"}
    rows = load(path)
    assert "planted times=4" in set(rows["kernel"])


@pytest.mark.slow
def test_a_tuning_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    where = ("--out", str(tmp_path / "tuned.toml"), "--runs", str(tmp_path))
    start = command("tune", PLANTED, *HERE, *where, "--budget", "4m")
    environment = {**os.environ, "PLANTED_TUNING": "faults"}
    process = subprocess.Popen(
        start, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    runs: list[Path] = []
    while process.poll() is None:  # until its first group is kept, and it hangs in the second
        runs = list(tmp_path.glob("*.jsonl"))
        if runs and " start 1" in runs[0].read_text():
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Go on with: gemmbench tune --resume" in said
    cut = read(runs[0])
    assert cut.footer is not None
    assert cut.footer.interrupted
    assert "interrupted" in {record.status for record in cut.records}

    def resume(*arguments: str) -> subprocess.CompletedProcess[str]:
        taken = ("tune", PLANTED, "--resume", str(runs[0]), *arguments)
        return gemmbench(*taken, kind="faults")

    forgot = resume()
    assert forgot.returncode == 2
    assert "that tuning wrote to tuned.toml: name it again, --out …/tuned.toml" in forgot.stderr
    changed = resume("--out", str(tmp_path / "tuned.toml"), "--seed", "5")
    assert changed.returncode == 2
    assert "leave out --seed" in changed.stderr
    short = resume("--out", str(tmp_path / "tuned.toml"), "--budget", "1s", "-f", "json")
    assert short.returncode == 0, short.stderr
    assert json.loads(short.stdout)[0]["outcome"] == "unfinished"
    names = [record.case for record in read(runs[0]).records if " start " in record.group]
    assert len(names) == 1


def test_the_budget_is_held_also_by_what_hangs(tmp_path: Path) -> None:
    began = time.monotonic()
    done = tune(tmp_path, "--budget", "12s", "--timeout", "100", kind="faults")
    assert done.returncode == 0, done.stderr
    assert "unfinished" in done.stdout
    assert "Go on with: gemmbench tune --resume" in done.stdout
    assert not (tmp_path / "tuned.toml").exists()
    assert time.monotonic() - began < 60  # the silence that it might wait for is 100 s


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "no kernel is named: gemmbench tune KERNEL, of "),
        (("torsh",), "did you mean torch"),
        (("numba-naive", *HERE), "kernel numba-naive has no settings to tune: take "),
        (("numba-packed", "--suite", "sqare"), "did you mean square"),
        (("numba-packed", *HERE, "-p", "fp31"), "did you mean fp32"),
        (("numba-packed", *HERE, "--budget", "soon"), "--budget 'soon' is no time"),
        (("numba-packed", *HERE, "--out", "a.txt"), "expected a file, *.toml"),
        (("numba-packed", *HERE, "--out", "/proc/x/a.toml"), "choose another file with --out"),
        (("numba-packed", *HERE, "--format", "csv"), "unknown format 'csv'"),
        (("none.py", *HERE), "there is no such file"),
        (("--resume", "none.jsonl"), "cannot read 'none.jsonl'"),
        (("numba-packed", *HERE), f"{VARIABLE} is empty"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = "" if VARIABLE in said else str(tmp_path / "tuned.toml")
    done = gemmbench("tune", *arguments, tuned=own)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().split("\n")) == 1, done.stderr
    assert not done.stdout


def test_a_damaged_file_of_entries_is_told_before_anything_is_measured(tmp_path: Path) -> None:
    own = tmp_path / "tuned.toml"
    own.write_text("[[entry]]\ncolour = 1\n")
    done = gemmbench("run", *HERE, "-k", "torch", "--out", str(tmp_path), tuned=str(own))
    assert done.returncode == 2
    assert "unknown field `colour`: mend it, or remove it" in done.stderr
    assert not list(tmp_path.glob("*.jsonl"))


def test_a_file_without_settings_to_tune_says_so(tmp_path: Path) -> None:
    planted = str(Path(__file__).with_name("planted.py"))
    done = gemmbench("tune", planted, *HERE, "--out", str(tmp_path / "a.toml"))
    assert done.returncode == 2
    assert "no kernel in it has settings to tune: declare some, Kernel(…, space=…)" in done.stderr


def test_a_run_and_a_tuning_are_not_taken_for_each_other(tmp_path: Path) -> None:
    from synthetic import footer, header, write

    run = write(tmp_path / "run.jsonl", [header(), footer([])])
    tuning = write(tmp_path / "tuning.jsonl", [header(tuning=True), footer([])])
    done = gemmbench("tune", "--resume", str(run), "--out", str(tmp_path / "a.toml"))
    assert "is a run of kernels: gemmbench run --resume takes it up" in done.stderr
    done = gemmbench("run", "--resume", str(tuning))
    assert "is a tuning: gemmbench tune --resume takes it up" in done.stderr
