"""How far a machine can be trusted, judged over trials of which the truth is known."""

import math

import pytest

from gemmbench.devices.cpu import cpu_device
from gemmbench.doctor.finding import Finding
from gemmbench.doctor.noise import LEAST, Trial, noise_findings, reach, robust_sd, trials
from gemmbench.timing.callables import Speedup
from gemmkernels.probes.chain import WORK

LOST = Speedup(ratio=math.nan, low=math.nan, high=math.nan, verdict="contended")


def trial(at: int, *, ratio: float = WORK, half: float = 0.005, time_us: float = 250.0) -> Trial:
    found = Speedup(
        ratio=ratio, low=ratio * (1 - half), high=ratio * (1 + half), verdict="converged"
    )
    return Trial(at_s=float(at), time_us=time_us, ratio=found)


def judged(found: list[Trial], kind: str = "cpu") -> dict[str, Finding]:
    return {f.check.removeprefix("noise: "): f for f in noise_findings(found, kind=kind)}


SOUND = [trial(at, ratio=WORK * (1 + 1e-4 * (-1) ** at)) for at in range(10)]


def test_a_sound_machine_says_what_it_resolves() -> None:
    found = judged(SOUND)
    assert {f.grade for f in found.values()} == {"note"}
    assert found["planted ratio"].what.startswith("10 of 10 intervals hold the planted 1.37")
    assert "two kernels 0.5% apart" in found["resolution"].what
    assert "±0% from one" in found["resolution"].what
    assert found["neighbours"].what == "0 of 10 measurements contended"


def test_intervals_that_miss_the_truth_are_a_fault() -> None:
    def missing(count: int) -> str:
        off = [trial(at, ratio=WORK * 1.008) for at in range(count)]
        return judged(off + SOUND[count:])["planted ratio"].grade

    assert [missing(count) for count in (0, 1, 2, 10)] == ["note", "note", "fault", "fault"]
    worst = judged([trial(0, ratio=WORK * 0.98), *SOUND[1:]])["planted ratio"]
    assert "worst error -2.00%" in worst.what


def test_contended_measurements_are_left_out_until_they_are_most() -> None:
    lost = [Trial(at_s=float(at), time_us=250.0, ratio=LOST) for at in range(5)]
    found = judged(lost + SOUND[5:])
    assert found["neighbours"].grade == "note"
    assert found["planted ratio"].what.startswith("5 of 5")
    six = judged([*lost, Trial(at_s=5.0, time_us=250.0, ratio=LOST), *SOUND[6:]])
    assert six["neighbours"].grade == "fault"
    assert six["neighbours"].what == "6 of 10 measurements contended"
    all_lost = judged(lost)
    assert all_lost.keys() == {"neighbours", "constant loop"}
    assert all_lost["neighbours"].grade == "fault"


def test_speedups_that_scatter_are_a_fault_sooner_on_a_gpu() -> None:
    def scattered(sd: float, kind: str) -> Finding:
        steps = [WORK * (1 + sd / 1.4826 * step) for step in (-2, -1, -1, 0, 0, 0, 1, 1, 2, 0, -1)]
        found = [trial(at, ratio=value, half=0.5) for at, value in enumerate(steps)]
        return judged(found, kind)["spread of speedups"]

    assert scattered(0.019, "cpu").grade == "note"
    assert scattered(0.021, "cpu").grade == "fault"
    assert scattered(0.009, "gpu").grade == "note"
    assert scattered(0.011, "gpu").grade == "fault"
    assert "sd 2.10%" in scattered(0.021, "cpu").what


def test_drift_of_the_constant_loop() -> None:
    rising = [trial(at, time_us=250.0 + at) for at in range(11)]
    found = judged(rising)["constant loop"]
    assert "drift +3.92% over 10 s" in found.what
    assert "within chance" not in found.what
    flat = judged([trial(at, time_us=250.0 + (at % 2)) for at in range(11)])["constant loop"]
    assert "within chance" in flat.what
    dead = [Trial(at_s=0.0, time_us=math.nan, ratio=LOST)] * 3
    assert judged(dead)["constant loop"].grade == "unknown"


def test_scatter() -> None:
    assert robust_sd([99.0, 100.0, 101.0]) == pytest.approx(0.014826)
    assert reach([100.0] * 19 + [150.0]) == 0.0
    assert reach([100.0] * 18 + [150.0] * 2) == pytest.approx(0.5)


def test_trials_on_this_machine() -> None:
    said: list[int] = []
    found = trials(cpu_device(1), time_s=1.0, say=lambda done, at_s: said.append(done))
    assert len(found) >= LEAST
    assert said == list(range(1, len(found) + 1))
    assert all(trial.time_us > 0 or math.isnan(trial.time_us) for trial in found)
    assert [t.at_s for t in found] == sorted(t.at_s for t in found)
    judgement = judged(list(found))
    assert {"neighbours", "constant loop"} <= judgement.keys()
