"""Kernels of known cause through the real runner on a CPU: the right factor, within 5%."""

from dataclasses import replace

import msgspec
import planted_gap
import pytest
from synthetic import roof, write

from gemmbench.analysis.explain import explain
from gemmbench.analysis.gap import Cause, Gap
from gemmbench.devices.sample import Window
from gemmbench.devices.telemetry import Telemetry
from gemmbench.records.reader import read
from gemmbench.records.schema import Record
from gemmbench.runner.request import Request
from gemmbench.runner.supervisor import Supervisor
from gemmbench.show.progress import Quiet

SPEC_MHZ, HELD_MHZ = 1830.0, 1410.0


class FakeSensor(Telemetry):
    """Every turn at 1410 MHz, at the power limit."""

    def window(self, start_s: float, stop_s: float) -> Window:
        return Window(
            start_s=start_s,
            stop_s=stop_s,
            samples=10,
            clock_mhz=HELD_MHZ,
            limits_ns={"power": 0.97e9 * (stop_s - start_s)},
        )


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Gap]:
    """By kernel; the roofs are those that the kernels keep to."""
    shapes = (*planted_gap.SHAPES.values(), planted_gap.CLOCKED)
    request = Request(
        device="cpu",
        preset="quick",
        shapes=tuple("x".join(map(str, one)) for one in shapes),
        precisions=("fp32",),
        threads=1,
        kernels=(planted_gap.__file__, "torch"),
        out=str(tmp_path_factory.mktemp("runs")),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gemmbench.runner.supervisor.Telemetry", FakeSensor)
        outcome = Supervisor(request, Quiet()).run()
    assert outcome.path is not None
    run = read(outcome.path)
    roofs = [
        roof("vector", planted_gap.RATE / 1e12, "TFLOP/s", precision="fp32", clock_mhz=SPEC_MHZ),
        roof("copy", planted_gap.GBPS, "GB/s"),
        roof("launch-loop", planted_gap.LAUNCH_S * 1e6, "us"),
    ]
    probing = msgspec.structs.replace(run.header, run_id="roofs", probing=True, plan=())
    write(outcome.path.with_name("roofs.jsonl"), [probing, *roofs])
    planted = [one for one in run.records if one.backend == "user"]  # torch would void the roof
    write(outcome.path, [run.header, *map(undisturbed, planted)])
    (one,) = explain(outcome.path)
    assert [path.name for path in one.roofs_from] == ["roofs.jsonl"]
    return {gap.case.kernel: gap for gap in one.gaps}


def undisturbed(record: Record) -> Record:
    """As if it had been alone: a kernel that waits keeps its time only where it has a core."""
    samples = [one for turn in record.turns for one in turn.samples_ns or ()]
    if not samples:  # another shape's kernel
        return record
    quickest = min(samples)
    turns = tuple(
        replace(turn, disturbed=0, others_s=None, median_ns=quickest) for turn in record.turns
    )
    return msgspec.structs.replace(record, turns=turns)


HELD = HELD_MHZ / SPEC_MHZ
COMPUTE_US = {
    name: planted_gap.flop(shape) / planted_gap.RATE * 1e6
    for name, shape in planted_gap.SHAPES.items()
}
COPY_US = planted_gap.moved(planted_gap.SHAPES["copies"]) / planted_gap.GBPS / 1e3


@pytest.mark.parametrize(
    ("kernel", "cause", "factor"),
    [
        ("copies", "memory", COMPUTE_US["copies"] / HELD / COPY_US),
        ("pads", "padding", 129 / 256),
        ("clocked", "clock", HELD),
    ],
)
def test_the_cause_has_its_factor(
    found: dict[str, Gap], kernel: str, cause: Cause, factor: float
) -> None:
    assert found[kernel].factor(cause) == pytest.approx(factor, rel=0.05)


def test_a_sleep_is_the_launch_floor(found: dict[str, Gap]) -> None:
    sleeps = found["sleeps"]
    assert sleeps.bound == "launch"
    assert sleeps.factors[4].after_us == pytest.approx(1e6 * planted_gap.LAUNCH_S)
    assert sleeps.pct_allowed == pytest.approx(100 * COMPUTE_US["sleeps"] / 1e3, rel=0.05)


@pytest.mark.parametrize("kernel", ["sleeps", "copies", "clocked"])
def test_nothing_else_is_left_to_the_kernel(found: dict[str, Gap], kernel: str) -> None:
    assert found[kernel].factor("kernel") == pytest.approx(1.0, abs=0.05)


def test_the_clock_is_traced(found: dict[str, Gap]) -> None:
    clock = found["clocked"].causes.clock
    assert clock is not None
    assert clock.held_mhz == HELD_MHZ
    assert clock.turns > 0
    assert clock.limits is not None
    assert clock.limits[0].reason == "power"
    assert clock.limits[0].share > 0.9  # of the turns that are left
