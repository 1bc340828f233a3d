"""Whole runs on a real GPU: presets, graphs, telemetry, and an error that spoils the process."""

from dataclasses import replace
from pathlib import Path

import pytest

from gemmbench.records.frame import frame
from gemmbench.records.reader import Run, read
from gemmbench.runner.listener import Outcome
from gemmbench.runner.request import Request
from gemmbench.runner.supervisor import Supervisor
from gemmbench.show.progress import Quiet

pytestmark = pytest.mark.gpu

SMALL = Request(shapes=("1024x1024x1024",), precisions=("fp16",), preset="quick")

STICKY = """
import torch
from gemmkernels import Kernel, Launch

def bind(operands):
    def run():
        index = torch.full((1,), 10**9, device=operands.out.device)
        operands.out.view(-1)[index] = 1  # a device-side assertion
    return Launch(run=run)

KERNEL = Kernel(name="sticky", tier="library", backend="torch", precisions=("fp16",),
                summary="spoils its process", bind=bind)
"""


def carry_out(request: Request) -> tuple[Outcome, Run]:
    outcome = Supervisor(request, Quiet()).run()
    assert outcome.path is not None
    return outcome, read(outcome.path)


def vendor(run: Run) -> str:
    return run.header.device.vendor


@pytest.mark.parametrize("preset", ["sustained", "cold", "quick"])
def test_presets(preset: str, tmp_path: Path) -> None:
    request = replace(SMALL, preset=preset, max_time_s=10.0, out=str(tmp_path))
    outcome, run = carry_out(request)
    assert outcome.statuses["ok"] >= 4, [(r.kernel, r.reason) for r in run.records]
    assert set(outcome.statuses) <= {"ok", "unsupported"}
    table = frame([run])
    table = table[table["status"] == "ok"]
    assert not table["impossible"].any()
    assert (table["error"] <= 1).all()
    # A ladder that is no ladder was not measured: each rung is far faster than the one below.
    rate = dict(zip(table["kernel"].tolist(), table["tflops"].tolist(), strict=True))
    assert rate["triton-tiled"] > rate["triton-naive"]
    assert rate["triton-matrix-core"] > 3 * rate["triton-tiled"]
    expected = {"cold": "single"}.get(preset, "graph" if vendor(run) == "nvidia" else "stream")
    assert set(table["launch"]) == {expected}
    assert run.header.method.cache == ("flushed" if preset == "cold" else "rotated")
    if preset == "sustained":
        assert all(turn.settle_s >= 0.1 for r in run.records for turn in r.turns)
        assert table["clock_mhz"].gt(100).all()


def test_hot_cold_and_stream_agree_where_they_must(tmp_path: Path) -> None:
    """At 4096³ launches and caches matter little; the clock of a chip that stays cool is higher."""
    times = {}
    for name, options in {
        "graph": {"launch": "graph"},
        "stream": {"launch": "stream"},
        "cold": {"preset": "cold"},
    }.items():
        request = replace(SMALL, shapes=("4096x4096x4096",), kernels=("torch",), out=str(tmp_path))
        _, run = carry_out(replace(request, max_time_s=8.0, **options))  # type: ignore[arg-type]
        times[name] = float(frame([run])["time_us"].iloc[0])
    assert max(times["graph"], times["stream"]) < 1.1 * min(times["graph"], times["stream"]), times
    assert max(times.values()) < 1.5 * min(times.values()), times


def test_the_self_test_pair_resolves_its_ratio(tmp_path: Path) -> None:
    _, run = carry_out(replace(SMALL, kernels=("torch",), out=str(tmp_path)))
    table = frame([run])
    assert table["anchor_error"].abs().max() < 1.0  # percent


def test_a_sticky_error_costs_its_own_case_only(tmp_path: Path) -> None:
    mine = tmp_path / "sticky.py"
    mine.write_text(STICKY)
    request = replace(SMALL, kernels=(str(mine), "torch", "triton-naive"), out=str(tmp_path))
    outcome, run = carry_out(request)
    found = {record.kernel: record for record in run.records}
    assert found["sticky"].status == "failed"
    assert found["torch"].status == "ok"
    assert found["triton-naive"].status == "ok"
    assert outcome.exit_code == 1
