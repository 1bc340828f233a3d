"""Durations and percentages as users write them, counts as they read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gemmbench.quantities import counted, parse_duration, parse_percent, size_text
from gemmbench.show.progress import span
from gemmkernels.errors import GemmbenchError
from gemmkernels.problem import parse_shape


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("1.5m", 90), ("8 min", 480), ("2h", 7200), (None, None)],
)
def test_durations(text: str | None, seconds: float | None) -> None:
    assert parse_duration("--budget", text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-1", "1d", "soon", "1e9", "nan", "inf", "1m30"])
def test_what_is_no_duration_is_named(text: str) -> None:
    with pytest.raises(GemmbenchError, match="--budget"):
        parse_duration("--budget", text)


@pytest.mark.parametrize(("text", "share"), [("1%", 0.01), ("0.5", 0.005), ("50 %", 0.5)])
def test_percentages(text: str, share: float) -> None:
    assert parse_percent("--target", text) == pytest.approx(share)


@given(st.text(max_size=30))
def test_any_text_is_a_quantity_or_a_clear_error(text: str) -> None:
    for parse in (parse_duration, parse_percent):
        try:
            value = parse("--option", text)
        except GemmbenchError as error:
            assert "\n" not in str(error)
        else:
            assert value is not None
            assert value > 0


@given(st.text(max_size=30))
def test_any_text_is_a_shape_or_a_clear_error(text: str) -> None:
    try:
        m, n, k = parse_shape(text)
    except GemmbenchError as error:
        assert "\n" not in str(error)
    else:
        assert min(m, n, k) >= 0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (59, "59 s"), (60, "1 min"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_spans_are_written_as_people_say_them(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_sizes_are_binary() -> None:
    assert [size_text(size) for size in (512, 2048, 2**25, 3 * 2**29)] == [
        *("512 B", "2 KiB", "32 MiB", "1.5 GiB"),
    ]


def test_counts_are_written_as_people_say_them() -> None:
    assert [counted(number, "run") for number in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]
    assert counted(1, "case is not shown", "cases are not shown") == "1 case is not shown"
    assert counted(1200, "case is not shown", "cases are not shown") == "1,200 cases are not shown"
