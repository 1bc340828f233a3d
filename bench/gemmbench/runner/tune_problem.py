"""One problem tuned: a search, finals, and the winner measured again before it counts."""

import math
import time
from collections.abc import Sequence
from statistics import fmean

import msgspec

from gemmbench.runner.exchange import SpentError
from gemmbench.runner.messages import Case, Settings, Space
from gemmbench.runner.tune_finding import NOTHING, Finding, TuneListener, Word
from gemmbench.runner.tune_prune import ruled_out
from gemmbench.runner.tune_search import Search
from gemmbench.runner.tune_stages import (
    BATCH,
    BEFORE,
    FINALISTS,
    SEMIFINALISTS,
    Clock,
    Pace,
    Stages,
)
from gemmbench.runner.tune_trials import (
    Group,
    Trials,
    hint,
    is_whole,
    of_group,
    of_groups,
    time_us,
)
from gemmbench.timing.method import Timing
from gemmbench.timing.statistics import SYSTEMATIC_FLOOR, Estimate
from gemmkernels.device import Device
from gemmkernels.kernel import settings_text

MAYBE = 0.97
"""What three rounds see as slower by less than that may be faster."""

PATIENCE = 3
"""So many times the processes are started that it takes on a machine without neighbours."""

LEAST_CONFIRMED = 2
"""So many processes that find the winner no faster end its confirmation."""


class TuneProblem:
    """Tunes one case. `least_s` is what that takes at least, once its first group is measured."""

    def __init__(
        self,
        case: Case,
        space: Space,
        *,
        trials: Trials,
        stages: Stages,
        clock: Clock,
        device: Device,
        triton: bool,
        listener: TuneListener,
        seed: int,
    ) -> None:
        self._case = case
        self._trials = trials
        self._stages = stages
        self._clock = clock
        self._device = device
        self._triton = triton
        self._listener = listener
        self._default: Settings = space.settings[0]
        self._incumbent: Settings = space.tuned or self._default
        self._search = Search(space.settings, seed=seed)
        self._pruned = self._fallen = 0
        self._looked = False
        self._pace = Pace(stages, start_s=clock.start_s)
        self._confirmed: tuple[Group, ...] = ()

    @property
    def least_s(self) -> float:
        return self._pace.batch_s + self._pace.finals_s

    def tune(self) -> Finding:
        """Raises as Trials does, but for the budget: what it cut short is `unfinished`."""
        try:
            return self._tune()
        except SpentError:
            return self._finding("unfinished", "the time budget was spent")

    def _tune(self) -> Finding:
        if reason := self._begin():
            return self._finding("failed", reason)
        for group in self._trials.begun(self._case, "search"):
            self._learn(group)
            self._looked |= is_whole(group)
        stands = any(self._trials.known(self._case, stage) for stage in ("semifinal", "final"))
        if not stands:
            self._look_around()
        winner = self._finals(stands=stands)
        while winner is None and self._look_around():
            winner = self._finals()
        if winner is None:
            return self._kept("nothing that was tried was faster")
        return self._confirm(winner)

    def _measure(
        self, stage: str, settings: Sequence[Settings], *, until_s: float, repeat: int | None = None
    ) -> Group:
        how = {
            "semifinal": self._stages.semifinal,
            "final": self._stages.final,
            "confirm": self._time_confirm(repeat or 0),
        }.get(stage, self._stages.screen)
        return self._trials.measure(
            self._case,
            stage,
            settings,
            how,
            until_s=until_s,
            repeat=repeat,
            start_s=0.0 if repeat is None else self._clock.start_s,
        )

    def _begin(self) -> str:
        """Measure what is there: the default, and the tuned entry. In words why neither runs."""
        for known in self._trials.known(self._case, "start"):  # by now there may be another entry
            others = [name for name in known if name != settings_text(self._default)]
            self._incumbent = known[others[0]].settings or {} if others else self._default
        began = time.monotonic()
        group = self._measure("start", [self._default, self._incumbent], until_s=self._clock.end_s)
        took_s = time.monotonic() - began
        if not any(record.status == "ok" for record in group.values()):
            record = group[settings_text(self._default)]
            return f"its default settings: {record.status}: {record.reason}"
        if group[settings_text(self._incumbent)].status != "ok":
            self._incumbent = self._default
        if group[settings_text(self._default)].status != "ok":
            self._default = self._incumbent
        for one in (self._default, self._incumbent):
            self._search.learn(one, hint(group, settings_text(one), self._incumbent))
        self._pace.learn(group, took_s, first=True)
        return ""

    def _look_around(self) -> bool:
        """Batches of candidates against the incumbent, in the time there is. Were there any?"""
        search, any_tried = self._search, False
        while batch := search.batch(BATCH):
            until_s = self._clock.share_s - self._pace.finals_s
            if self._looked and time.monotonic() + self._pace.batch_s > until_s:
                break
            try:
                self._try(batch, until_s=until_s if self._looked else self._clock.share_s)
            except SpentError:
                if not self._looked or time.monotonic() >= self._clock.end_s:
                    raise
                break
            self._looked = any_tried = True
            told = f"search: {search.size - search.left} of {search.size} tried"
            for best in search.best(1):
                told += f", best {search.gain(best):.3f}× {settings_text(best)}"
            self._listener.step(told)
        return any_tried

    def _try(self, batch: Sequence[Settings], *, until_s: float) -> None:
        began = time.monotonic()
        if self._triton:
            left_s = max(1.0, until_s - time.monotonic())
            told = ruled_out(self._case, self._default, batch, self._device, timeout_s=left_s)
            reasons = {settings_text(one): why for one, why in zip(batch, told, strict=True) if why}
            out = [one for one in batch if settings_text(one) in reasons]
            if out:
                self._learn(self._trials.rule_out(self._case, out, reasons))
            batch = [one for one in batch if settings_text(one) not in reasons]
        if batch:
            before = len(self._trials.begun(self._case, "search"))
            try:
                found = self._measure("search", [self._incumbent, *batch], until_s=until_s)
            except SpentError:
                for group in self._trials.begun(self._case, "search")[before:]:
                    self._learn(group)
                raise
            self._learn(found)
            self._pace.learn(found, time.monotonic() - began)

    def _learn(self, group: Group) -> None:
        """Of a group that was cut short only who fell is known."""
        whole = is_whole(group)
        for name, record in group.items():
            assert record.settings is not None
            if name == settings_text(self._incumbent) or record.status == "interrupted":
                continue
            self._pruned += record.status == "unsupported"
            self._fallen += record.status in ("failed", "timeout", "wrong")
            if whole and record.status == "ok":
                self._search.learn(record.settings, hint(group, name, self._incumbent))
            elif record.status != "ok":
                self._search.learn(record.settings, None)

    def _finals(self, *, stands: bool = False) -> Settings | None:
        """The one that is still the fastest when more is known of it; None if none is faster.

        What an earlier sitting has measured may stand.
        """
        chosen: Sequence[Settings] = self._challengers(self._search.best(SEMIFINALISTS + 1))
        own = settings_text(self._incumbent)
        for stage, count in (("semifinal", FINALISTS), ("final", 1)):
            known = self._trials.known(self._case, stage) if stands else ()
            if known:
                group = known[-1]
            elif not chosen or (stage == "semifinal" and len(chosen) <= FINALISTS):
                continue
            else:
                asked = [self._incumbent, *chosen]
                group = self._measure(stage, asked, until_s=self._clock.end_s)
            hints = {name: hint(group, name, self._incumbent) for name in group if name != own}
            gains = {name: gain for name, gain in hints.items() if gain is not None}
            ranked = sorted(gains, key=gains.__getitem__, reverse=True)
            ranked = [name for name in ranked if gains[name] > 1 + SYSTEMATIC_FLOOR]
            chosen = [group[name].settings or {} for name in ranked[:count]]
            if ranked:
                self._listener.step(f"{stage}: {gains[ranked[0]]:.3f}× {ranked[0]}")
        return chosen[0] if chosen else None

    def _challengers(self, best: Sequence[Settings]) -> list[Settings]:
        own = settings_text(self._incumbent)
        others = [one for one in best if settings_text(one) != own]
        return [one for one in others if self._search.gain(one) > MAYBE][:SEMIFINALISTS]

    def _confirm(self, winner: Settings) -> Finding:
        """In fresh processes, against incumbent and default: only these figures are evidence.

        A process that a neighbour has disturbed does not count, and another one takes its place.
        """
        name, repeats = settings_text(winner), self._stages.confirm.repeats
        asked = [self._incumbent, winner, self._default]
        quiet: list[Group] = []
        gains: list[float] = []
        for repeat in range(PATIENCE * repeats):
            try:
                group = self._measure("confirm", asked, until_s=self._clock.end_s, repeat=repeat)
            except SpentError:
                if len(quiet) < self._stages.least_confirmed:
                    raise
                break
            if group[name].status != "ok":
                return self._kept(f"{name} is {group[name].status}: {group[name].reason}")
            gain = of_group(group, winner, self._incumbent)
            said = f"{gain.value:.3f}×" if gain else "contended, does not count"
            self._listener.step(f"measured afresh, {len(quiet) + 1} of {repeats}: {said}")
            if gain:
                quiet.append(group)
                gains.append(gain.value)
            if len(quiet) == repeats:
                break
            if len(gains) >= LEAST_CONFIRMED and fmean(map(math.log, gains)) <= 0:
                return self._kept(f"{name} was no faster when measured afresh")
        if len(quiet) < self._stages.least_confirmed:
            return self._kept("contended: others use the machine so much that nothing is claimed")
        over = of_groups(quiet, winner, self._incumbent)
        if not over.low > 1:
            return self._kept(f"{name} may be no faster: {over.low:.3f} … {over.high:.3f}×")
        self._confirmed = tuple(quiet)
        return self._finding("faster", "", best=winner)

    def _time_confirm(self, repeat: int) -> Timing:
        """Its least rounds always, more while the budget lasts."""
        how = self._stages.confirm
        left_s = (self._clock.end_s - time.monotonic()) / max(1, how.repeats - repeat)
        spare_s = max(1.0, left_s - 2 * self._clock.start_s)
        return msgspec.structs.replace(how, max_time_s=min(how.max_time_s, spare_s))

    def _kept(self, reason: str) -> Finding:
        return self._finding("kept", reason, best=self._incumbent)

    def _finding(self, word: Word, reason: str, *, best: Settings | None = None) -> Finding:
        case, groups = self._case, self._confirmed
        seen = groups or tuple(
            group for stage in BEFORE for group in self._trials.known(case, stage)
        )

        def ratio(over: Settings) -> Estimate:
            return of_groups(groups, best, over) if best else NOTHING

        return Finding(
            kernel=case.kernel,
            problem=case.problem,
            word=word,
            reason=reason,
            default=self._default,
            incumbent=self._incumbent,
            best=best,
            default_us=time_us(seen, self._default),
            best_us=time_us(seen, best) if best is not None else NOTHING,
            ratio=ratio(self._default),
            over=ratio(self._incumbent),
            space=self._search.size,
            tried=self._search.size - self._search.left,
            pruned=self._pruned,
            fallen=self._fallen,
        )
