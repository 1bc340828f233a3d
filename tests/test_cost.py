"""What measured rates cost: exact arithmetic, the row that counts, and mistakes in one line."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from synthetic import H100, footer, header, record, turn, write

from gemmbench.analysis.cost import Cost, Prices, Training, cost, training_flop
from gemmbench.analysis.speedup import ladder
from gemmbench.analysis.summary import best
from gemmbench.cli import app
from gemmbench.quantities import parse_amount, parse_share
from gemmbench.records.frame import load
from gemmbench.show.cost import _notes
from gemmkernels.errors import GemmbenchError

FLOP = 2 * 1024**3


def case(
    kernel: str = "torch",
    *,
    precision: str = "bf16",
    tflops: float = 500.0,
    power_w: float | None = None,
    **changes: Any,
) -> Any:
    took = [turn(number, FLOP / tflops / 1e3, power_w=power_w) for number in range(10)]
    return record(kernel, precision=precision, tier="library", took=took, **changes)


def run(path: Path, *records: Any, **of_header: Any) -> Path:
    head = header(H100, **{"synthetic": True, **of_header})
    return write(path, [head, *records, footer(records)])


def reckoned(path: Path, **options: Any) -> tuple[Cost, ...]:
    prices = options.pop("prices", Prices(usd_per_hour=2.5))
    return cost(load(path), prices, **options)


def invoke(*arguments: str) -> tuple[int, str, str]:
    found = CliRunner().invoke(app, ["cost", *arguments])
    return found.exit_code, found.stdout, found.stderr


def test_money_and_energy_of_an_exaflop_are_the_products(tmp_path: Path) -> None:
    path = run(tmp_path / "a.jsonl", case(tflops=500.0, power_w=600.0))
    prices = Prices(usd_per_hour=2.5, usd_per_kwh=0.07)
    (one,) = reckoned(path, prices=prices)
    hours = 1e18 / 500e12 / 3600
    assert one.hours == pytest.approx(hours, rel=1e-9)
    assert one.usd == pytest.approx(2.5 * hours, rel=1e-9)
    assert one.kwh == pytest.approx(0.6 * hours, rel=1e-9)
    assert one.usd_energy == pytest.approx(0.07 * 0.6 * hours, rel=1e-9)
    assert one.watts_from == "measured"


def test_training_is_six_times_parameters_times_tokens(tmp_path: Path) -> None:
    assert training_flop(70e9, 1.4e12) == 6 * 70e9 * 1.4e12
    path = run(tmp_path / "a.jsonl", case(tflops=500.0))
    model = Training(parameters=70e9, tokens=1.4e12, utilisation=0.4, devices=1000)
    (one,) = reckoned(path, prices=Prices(usd_per_hour=2.5, watts=700.0), training=model)
    assert one.training is not None
    hours = 6 * 70e9 * 1.4e12 / (500e12 * 0.4) / 3600
    assert one.training.device_hours == pytest.approx(hours, rel=1e-9)
    assert one.training.days == pytest.approx(hours / 1000 / 24, rel=1e-9)
    assert one.training.usd == pytest.approx(2.5 * hours, rel=1e-9)
    assert one.training.kwh == pytest.approx(0.7 * hours, rel=1e-9)
    assert math.isnan(one.training.usd_energy)


def test_measured_power_comes_before_what_is_said_and_that_is_told(tmp_path: Path) -> None:
    measured = run(tmp_path / "a.jsonl", case(power_w=600.0))
    blind = run(tmp_path / "b.jsonl", case())
    prices = Prices(usd_per_hour=2.5, watts=700.0)
    (one,), (other,) = (reckoned(path, prices=prices) for path in (measured, blind))
    assert (one.watts, one.watts_from) == (600.0, "measured")
    assert any("700 W is not used" in note for note in one.notes)
    assert (other.watts, other.watts_from) == (700.0, "said")
    (third,) = reckoned(blind)
    assert math.isnan(third.watts)
    assert math.isnan(third.kwh)


def test_the_fastest_verified_quiet_and_possible_row_counts(tmp_path: Path) -> None:
    neighbour = [turn(number, FLOP / 800 / 1e3, n_samples=10, disturbed=10) for number in range(10)]
    path = run(
        tmp_path / "a.jsonl",
        case("slow", tflops=400.0),
        case("best", tflops=500.0),
        case("wrong", tflops=900.0, status="wrong"),
        record("contended", precision="bf16", took=neighbour),
        case("impossible", tflops=2000.0),
        case("fp32", precision="fp32", tflops=30.0),
    )
    assert [(one.precision, one.kernel) for one in reckoned(path)] == [
        ("bf16", "best"),
        ("fp32", "fp32"),
    ]
    assert [one.kernel for one in reckoned(path, precision="fp32")] == ["fp32"]


def test_the_row_that_counts_is_the_one_that_the_summary_ranks_first(tmp_path: Path) -> None:
    """A noisy row is no faster than the lower end of its interval."""
    times = (FLOP / 700e3, FLOP / 300e3)
    noisy = record(
        "noisy",
        precision="bf16",
        tier="library",
        took=[turn(number, times[number % 2]) for number in range(10)],
    )
    path = run(tmp_path / "a.jsonl", noisy, case("steady", tflops=400.0))
    df = load(path)
    assert dict(zip(df["kernel"], df["verdict"], strict=True))["noisy"] == "noisy"
    assert df["tflops"][df["kernel"].eq("noisy")].item() > 410
    (one,) = reckoned(path)
    assert one.kernel == "steady"
    assert one.tflops == pytest.approx(400.0)
    assert best(ladder(df))["kernel"].tolist() == ["steady"]


def test_what_another_tool_measured_counts_only_where_there_is_nothing_else(tmp_path: Path) -> None:
    theirs = run(tmp_path / "b.jsonl", case("theirs", tflops=700.0), tool="nvbench", run_id="b")
    (alone,) = reckoned(theirs)
    assert alone.kernel == "theirs"
    assert any("nvbench" in note for note in alone.notes)
    run(tmp_path / "a.jsonl", case("ours", tflops=500.0), run_id="a")
    (both,) = cost(load(tmp_path), Prices(usd_per_hour=1.0))
    assert both.kernel == "ours"


def test_what_was_measured_comes_before_faster_synthetic_rows(tmp_path: Path) -> None:
    run(tmp_path / "a.jsonl", case("fast", tflops=900.0), run_id="a")
    run(tmp_path / "b.jsonl", case("real", tflops=500.0), run_id="b", synthetic=True)
    df = load(tmp_path)
    df["synthetic"] = df["run_id"].eq("a")
    (one,) = cost(df, Prices(usd_per_hour=1.0))
    assert (one.kernel, one.origin) == ("real", "verified")
    assert not one.notes
    df["tool"] = df["run_id"].eq("b").map({True: "nvbench", False: ""})
    (one,) = cost(df, Prices(usd_per_hour=1.0))
    assert (one.kernel, one.origin) == ("real", "imported")
    df["synthetic"] = True
    (one,) = cost(df, Prices(usd_per_hour=1.0))
    assert one.origin == "synthetic"


def test_a_table_says_what_its_rows_are(tmp_path: Path) -> None:
    path = run(tmp_path / "a.jsonl", case())
    rows = reckoned(path)
    for origin, said in (
        ("verified", "the best verified row of"),
        ("imported", "the best imported, unverified row of"),
        ("synthetic", "the best synthetic, never measured row of"),
    ):
        told = _notes([replace(rows[0], origin=origin)])  # type: ignore[arg-type]
        assert told[0].startswith(said)
    _, out, _ = invoke(str(path), "--usd-per-hour", "2.5")
    assert "best verified" not in out


@pytest.mark.parametrize("form", ["table", "markdown", "csv", "json"])
def test_every_form_has_the_figures(tmp_path: Path, form: str) -> None:
    path = run(tmp_path / "a.jsonl", case(tflops=500.0, power_w=600.0))
    code, out, err = invoke(
        *(str(path), "--usd-per-hour", "2.5", "--usd-per-kwh", "0.07", "--format", form),
        *("--parameters", "70B", "--tokens", "1.4T", "--utilisation", "40%", "--devices", "1024"),
    )
    assert (code, err) == (0, "")
    if form == "json":
        (one,) = json.loads(out)["costs"]
        assert one["usd"] == pytest.approx(2.5 * 1e18 / 500e12 / 3600, rel=1e-6)
        assert one["training"]["flop"] == pytest.approx(5.88e23)
    else:
        assert ("1.3888" if form == "csv" else "1.39") in out
        assert "synthetic" in out


def test_a_mistake_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    path = str(run(tmp_path / "a.jsonl", case()))
    empty = str(run(tmp_path / "e.jsonl", case(status="wrong")))
    price = ("--usd-per-hour", "2.5")
    for arguments, said in (
        ((path, "--usd-per-hour", "0"), "--usd-per-hour"),
        ((path, "--usd-per-hour", "-2"), "--usd-per-hour"),
        ((path, "--usd-per-hour", "nan"), "--usd-per-hour"),
        ((path, "--usd-per-hour", "inf"), "--usd-per-hour"),
        ((path, *price, "--watts", "0"), "--watts"),
        ((path, *price, "--tokens", "1T"), "--parameters and --utilisation missing"),
        ((path, *price, "--devices", "8"), "missing"),
        ((path, *price, "--usd-per-kwh", "0.07"), "add --watts"),
        ((path, *price, "--precision", "fp64"), "fp64"),
        ((path, *price, "--precision", "bf61"), "bf16"),
        ((path, *price, "--format", "xml"), "unknown format"),
        ((empty, *price), "no row has a rate"),
        (("nowhere.jsonl", *price), "nowhere.jsonl"),
    ):
        code, out, err = invoke(*arguments)
        assert (code, out) == (2, ""), arguments
        assert said in err
        assert len(err.strip().splitlines()) == 1


def test_prices_and_models_out_of_range_are_refused() -> None:
    for value in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(GemmbenchError, match="above zero"):
            Prices(usd_per_hour=value)
        with pytest.raises(GemmbenchError, match="above zero"):
            Training(parameters=value, tokens=1.0, utilisation=0.5)
    with pytest.raises(GemmbenchError, match="over 1"):
        Training(parameters=1.0, tokens=1.0, utilisation=40.0)


@pytest.mark.parametrize(
    ("said", "value"),
    [("70e9", 70e9), ("70B", 70e9), ("70b", 70e9), ("1.4T", 1.4e12), ("2.5", 2.5), ("8k", 8e3)],
)
def test_amounts_as_users_write_them(said: str, value: float) -> None:
    assert parse_amount("--x", said) == pytest.approx(value)


@given(st.text(max_size=30) | st.floats().map(str))
def test_any_option_is_a_positive_number_or_refused(said: str) -> None:
    for reader, most in ((parse_amount, 1e40), (parse_share, 1.0)):
        try:
            value = reader("--x", said)
        except GemmbenchError as error:
            assert "--x" in str(error)
        else:
            assert value is not None
            assert 0 < value <= most
