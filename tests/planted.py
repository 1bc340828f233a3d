"""Kernels with faults, as a user's file: what the runner must survive, and say."""

import itertools
import os
import sys
import time

import torch

from gemmkernels import Kernel, Launch, Operands


def library(operands: Operands) -> None:
    torch.mm(operands.a, operands.b, out=operands.out)


def healthy(operands: Operands) -> Launch:
    return Launch(run=lambda: library(operands), config={"idea": "none"}, tile=(1, 2, 3))


def raises_in_bind(operands: Operands) -> Launch:
    raise ValueError("no such\ntile")


def nth_call(n: int, fault):  # type: ignore[no-untyped-def]
    """A kernel that is right until its n-th call, on whichever operand set."""
    calls = itertools.count(1)

    def bind(operands: Operands) -> Launch:
        def run() -> None:
            library(operands)
            time.sleep(100e-6)  # so that the number of calls in a turn is known
            if next(calls) >= n:
                fault(operands)

        return Launch(run=run)

    return bind


def raise_error(operands: Operands) -> None:
    raise RuntimeError("the tile fell off")


def leave(operands: Operands) -> None:
    raise SystemExit(0)


def interrupt(operands: Operands) -> None:
    raise KeyboardInterrupt


def abort(operands: Operands) -> None:
    print("about to abort", file=sys.stderr, flush=True)
    os.abort()


def hang(operands: Operands) -> None:
    time.sleep(1000)


def add_one(operands: Operands) -> None:
    operands.out[0, 0] += 1


def allocate(operands: Operands) -> None:
    torch.empty(10 * 2**40, dtype=torch.uint8)


def chatter(operands: Operands) -> None:
    print("x" * 1000)


def kernel(name: str, bind) -> Kernel:  # type: ignore[no-untyped-def]
    return Kernel(
        name=name,
        tier="library",
        backend="user",
        precisions=("fp32",),
        summary="planted",
        bind=bind,
    )


IN_TURNS = 100

KERNELS = (
    kernel("healthy", healthy),
    kernel("raises-in-bind", raises_in_bind),
    kernel("raises", nth_call(1, raise_error)),
    kernel("raises-in-turn", nth_call(IN_TURNS, raise_error)),
    kernel("leaves", nth_call(2, leave)),
    kernel("interrupts", nth_call(1, interrupt)),
    kernel("allocates", nth_call(1, allocate)),
    kernel("wrong", nth_call(1, add_one)),
    kernel("wrong-on-third", nth_call(3, add_one)),
    kernel("wrong-at-the-end", nth_call(IN_TURNS, add_one)),
    kernel("aborts", nth_call(1, abort)),
    kernel("aborts-in-turn", nth_call(IN_TURNS, abort)),
    kernel("hangs", nth_call(1, hang)),
    kernel("chatters", nth_call(1, chatter)),
)
