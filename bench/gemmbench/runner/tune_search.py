"""Which settings to try next: half of them near the best so far, half anywhere."""

import random
from collections.abc import Sequence

from gemmbench.runner.messages import Settings
from gemmkernels.kernel import settings_text

PARENTS = 3


class Search:
    """A walk through a kernel's space. It measures nothing: what was found is told to it."""

    def __init__(self, space: Sequence[Settings], *, seed: int) -> None:
        self._all = {settings_text(one): one for one in space}
        self._left = dict(self._all)
        self.size = len(self._all)
        self._gains: dict[str, float] = {}
        self._draw = random.Random(seed)
        self._ranks = _ranks(space)

    @property
    def left(self) -> int:
        """How many have not been tried."""
        return len(self._left)

    def learn(self, settings: Settings, gain: float | None) -> None:
        """It is so many times faster than the incumbent; None for one that did not come through."""
        name = settings_text(settings)
        self._all.setdefault(name, settings)  # an incumbent may come from elsewhere
        self._left.pop(name, None)
        if gain is not None:
            self._gains[name] = gain

    def best(self, count: int) -> tuple[Settings, ...]:
        """The fastest so far, best first."""
        names = sorted(self._gains, key=self._gains.__getitem__, reverse=True)
        return tuple(self._all[name] for name in names[:count])

    def gain(self, settings: Settings) -> float:
        return self._gains[settings_text(settings)]

    def batch(self, size: int) -> tuple[Settings, ...]:
        """What to try next; nothing when all was tried. At first the space's own order counts."""
        names = list(self._left)
        self._draw.shuffle(names)
        parents = self.best(PARENTS)
        near = (
            sorted(names, key=lambda name: min(self._apart(name, one) for one in parents))
            if parents
            else list(self._left)
        )
        chosen = dict.fromkeys([*near[: size - size // 2], *names][:size])
        for name in names:
            if len(chosen) >= min(size, len(names)):
                break
            chosen.setdefault(name)
        return tuple(self._left[name] for name in chosen)

    def _apart(self, name: str, other: Settings) -> int:
        """In how many steps, of one setting to its next value, one becomes the other."""
        mine = self._left[name]
        return sum(
            abs(ranks.get(mine.get(key), -1) - ranks.get(other.get(key), -1))
            for key, ranks in self._ranks.items()
        )


def _ranks(space: Sequence[Settings]) -> dict[str, dict[int | str | bool | None, int]]:
    """Of each setting its values in order, numbered."""
    found: dict[str, set[int | str | bool]] = {}
    for settings in space:
        for key, value in settings.items():
            found.setdefault(key, set()).add(value)
    return {
        key: {value: rank for rank, value in enumerate(sorted(values, key=_order))}
        for key, values in found.items()
    }


def _order(value: int | str | bool) -> tuple[bool, int, str]:
    return (True, 0, value) if isinstance(value, str) else (False, int(value), "")
