"""`compare --fail-if-slower`: it passes only where everything that it gates was judged."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from synthetic import header, record, selftest, turn, turns, write

from gemmbench.analysis.compare import compare
from gemmbench.cli.app import app
from gemmbench.records.schema import Record, Status

LOUD = tuple(turn(number, 1e5, disturbed=9 if number < 7 else 0) for number in range(12))


def case(kernel: str = "mine", time_us: float = 100.0, **changes: object) -> list[Record]:
    """Three quiet repeats."""
    return [
        record(kernel, repeat=r, took=turns(time_us * (1 + r / 500)), **changes)  # type: ignore[arg-type]
        for r in range(3)
    ]


def loud(kernel: str = "mine", *, repeats: Sequence[int] = range(3)) -> list[Record]:
    """Three repeats, of which these were beside a neighbour."""
    quiet = case(kernel)
    return [record(kernel, repeat=r, took=LOUD) if r in repeats else quiet[r] for r in range(3)]


def ended(status: Status, kernel: str = "mine") -> list[Record]:
    return [record(kernel, repeat=r, status=status) for r in range(3)]


TORCH = case("torch", 50.0)


def gate(
    tmp_path: Path, a: Sequence[Record], b: Sequence[Record], *, anchor_us: float = 50.0
) -> Result:
    paths = [
        write(
            tmp_path / f"{name}.jsonl",
            [header(run_id=name), *(selftest(r, time_us=anchor, seed=r) for r in range(3)), *lines],
        )
        for name, lines, anchor in (("a", a, 50.0), ("b", b, anchor_us))
    ]
    return CliRunner().invoke(app, ["compare", *map(str, paths), "--fail-if-slower", "5%"])


@pytest.mark.parametrize(
    ("a", "b", "told"),
    [
        (case(), loud(), "mine fp32 1024x1024x1024 nn: ok | contended. Others used the cores"),
        (loud(), case(), "mine fp32 1024x1024x1024 nn: contended | ok. Others used the cores"),
        (loud(), loud(), "contended | contended. Others used the cores"),
        (case(), loud(repeats=(0, 1)), "b is contended. Others used the cores"),
        (case(), ended("failed"), "mine fp32 1024x1024x1024 nn: ok | failed. See what became"),
        (ended("wrong"), case(), "wrong | ok. See what became"),
        (case(), ended("timeout"), "ok | timeout. See"),
        (case(), ended("interrupted"), "ok | interrupted. See"),
        (case(), [*case()[:2], *ended("wrong")[2:]], "b is wrong in a repeat. See"),
        (case(), [case()[0], *ended("interrupted")[1:]], "one repeat: measure more"),
        (case(), [], "ok | not measured. See"),
        (case(), ended("unsupported"), "ok | unsupported. See"),
        ([*case(size=512)], [*case(size=512), *case()], "not measured | ok. See"),
    ],
    ids=lambda one: one.split(". ")[0] if isinstance(one, str) else "",
)
def test_what_was_not_judged_closes_the_gate_beside_a_quiet_kernel(
    tmp_path: Path, a: list[Record], b: list[Record], told: str
) -> None:
    done = gate(tmp_path, [*a, *TORCH], [*b, *TORCH])
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert "--fail-if-slower 5%: 1 of " in line
    assert told in line
    assert "mine" in line


def test_a_slower_row_fails_whatever_else_was_not_judged(tmp_path: Path) -> None:
    slow = case("slow", 120.0)
    done = gate(tmp_path, [*case(), *case("slow"), *TORCH], [*loud(), *slow, *TORCH])
    assert done.exit_code == 1
    first, second = done.stderr.splitlines()
    assert "slower by more than 5%: slow fp32 1024x1024x1024" in first
    assert "warning: --fail-if-slower 5%: 1 of 3 not judged: mine" in second


@pytest.mark.parametrize("before", [[], ended("unsupported")], ids=["", "unsupported"])
@pytest.mark.parametrize("now", [case(), loud()], ids=["quiet", "contended"])
def test_what_is_new_is_told_and_not_gated(
    tmp_path: Path, before: list[Record], now: list[Record]
) -> None:
    done = gate(tmp_path, [*before, *TORCH], [*now, *TORCH])
    assert done.exit_code == 0
    (line,) = done.stderr.splitlines()
    assert "warning: --fail-if-slower 5% is of what a has; b alone has mine fp32" in line


def test_a_new_shape_of_a_known_kernel_is_new(tmp_path: Path) -> None:
    more = [*case(size=512), *case("torch", 9.0, size=512)]
    done = gate(tmp_path, [*case(), *TORCH], [*case(), *TORCH, *more])
    assert (done.exit_code, "b alone has mine fp32 512x512x512" in done.stderr) == (0, True)


def test_what_neither_side_can_do_is_silent(tmp_path: Path) -> None:
    done = gate(tmp_path, [*TORCH, *ended("unsupported")], [*TORCH, *ended("unsupported")])
    assert (done.exit_code, done.stderr) == (0, "")


def test_a_machine_that_moved_closes_the_gate(tmp_path: Path) -> None:
    done = gate(tmp_path, TORCH, TORCH, anchor_us=60.0)
    assert done.exit_code == 2
    assert "the machine changed between the two sides: its self-test reads 0.8" in done.stderr


def test_where_all_was_contended_it_is_told_and_repeats_are_not(tmp_path: Path) -> None:
    for a, b in ((loud(), loud()), (loud(repeats=(0, 1)), loud(repeats=(1, 2)))):
        done = gate(tmp_path, a, b)
        assert (done.exit_code, "contended" in done.stderr) == (2, True)
        assert "--repeat" not in done.stderr
        assert "the cores" in done.stderr


def test_many_are_counted(tmp_path: Path) -> None:
    sizes = range(1, 8)
    lost = [record("mine", size=size, took=LOUD, repeat=r) for size in sizes for r in range(3)]
    done = gate(tmp_path, [*TORCH, *lost], [*TORCH, *lost])
    assert "7 of 8 not judged: mine fp32 1x1x1 nn: contended" in done.stderr
    assert "; and 2 more. Others" in done.stderr


def test_one_sound_repeat_of_two_is_not_told_to_repeat(tmp_path: Path) -> None:
    lines = [loud(repeats=(1,))[r] for r in range(2)]
    paths = [write(tmp_path / f"{n}.jsonl", [header(run_id=n), *lines]) for n in "ab"]
    (row,) = compare(*paths).rows
    assert (row.judged, row.verdict, row.repeats) == (False, "unsure", (1, 1))
    assert row.why == "one repeat is left, as others were contended"
