"""Rounds: one turn of every kernel of a group, in a new order each time, until it is known."""

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from gemmbench.timing.turn import Turn
from gemmbench.timing.verdict import verdict


class Turner(Protocol):
    """Takes one turn of one kernel; the argument is the number of the round."""

    def __call__(self, number: int, /) -> Turn: ...


def is_look(rounds: int, least: int) -> bool:
    """Look after `least` rounds, then at times 1.5: 10, 15, 23, 35, 53, 80 …

    Looking after every round would find a narrow interval by chance.
    """
    look = least
    while look < rounds:
        look = -(-look * 3 // 2)
    return look == rounds


def rounds(
    turners: Mapping[str, Turner],
    *,
    min_rounds: int,
    max_rounds: int,
    max_time_s: float,
    target: float,
    seed: int,
    least_rounds: int = 1,
    on_turn: Callable[[str, Turn], None] | None = None,
    before_turn: Callable[[str], None] | None = None,
) -> dict[str, tuple[Turn, ...]]:
    """Turns of each name, all with the same rounds.

    Ends at a look where every name has converged to `target`, after `max_rounds`, or with the
    round in which `max_time_s` ran out, but not before `least_rounds`. The order within a round is
    shuffled anew, from `seed`: any fixed order can fall into step with periodic noise.
    """
    order = list(turners)
    shuffle = random.Random(seed)
    taken: dict[str, list[Turn]] = {name: [] for name in order}
    began = time.monotonic()
    for number in range(max_rounds):
        shuffle.shuffle(order)
        for name in order:
            if before_turn:
                before_turn(name)
            turn = turners[name](number)
            taken[name].append(turn)
            if on_turn:
                on_turn(name, turn)
        done = number + 1
        if done >= least_rounds and time.monotonic() - began >= max_time_s:
            break
        if is_look(done, min_rounds) and _known(taken.values(), target):
            break
    return {name: tuple(turns) for name, turns in taken.items()}


def _known(series: Iterable[Sequence[Turn]], target: float) -> bool:
    return all(verdict(turns, target=target) in ("converged", "throttled") for turns in series)
