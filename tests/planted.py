"""Kernels with faults, as a user's file: what the runner must survive, and say.

With PLANTED_HEALTHY=1 in the environment the same kernels have no fault, so that what the faults
cost can be told: `gemmbench run --kernel tests/planted.py --shape 32x32x32 --precision fp32`.
"""

import contextlib
import ctypes
import itertools
import os
import signal
import sys
import time

import torch

from gemmkernels import Kernel, Launch, Operands

HEALTHY = bool(os.environ.get("PLANTED_HEALTHY"))


def library(operands: Operands) -> None:
    torch.mm(operands.a, operands.b, out=operands.out)


def healthy(operands: Operands) -> Launch:
    return Launch(run=lambda: library(operands), config={"idea": "none"}, tile=(1, 2, 3))


def raises_in_bind(operands: Operands) -> Launch:
    if HEALTHY:
        return healthy(operands)
    raise ValueError("no such\ntile")


def raises_when_asked(problem, device):  # type: ignore[no-untyped-def]
    if not HEALTHY:
        raise ZeroDivisionError("tiles of nothing")


def nth_call(n: int, fault):  # type: ignore[no-untyped-def]
    """A kernel that is right until its n-th call, on whichever operand set."""
    calls = itertools.count(1)

    def bind(operands: Operands) -> Launch:
        def run() -> None:
            library(operands)
            time.sleep(100e-6)  # so that the number of calls in a turn is known
            if next(calls) >= n and not HEALTHY:
                fault(operands)

        return Launch(run=run)

    return bind


def every_nth_call(n: int, fault):  # type: ignore[no-untyped-def]
    calls = itertools.count(1)

    def bind(operands: Operands) -> Launch:
        def run() -> None:
            library(operands)
            time.sleep(2e-3)
            if next(calls) % n == 0 and not HEALTHY:
                fault(operands)

        return Launch(run=run)

    return bind


# What ends a case, or its process.


def raise_error(operands: Operands) -> None:
    raise RuntimeError("the tile fell off")


def leave(operands: Operands) -> None:
    raise SystemExit(0)


def leave_at_once(operands: Operands) -> None:
    os._exit(0)


def interrupt(operands: Operands) -> None:
    raise KeyboardInterrupt


def abort(operands: Operands) -> None:
    print("about to abort", file=sys.stderr, flush=True)
    os.abort()


def segfault(operands: Operands) -> None:
    ctypes.string_at(0)


def hang(operands: Operands) -> None:
    while True:
        pass


def hang_in_c(operands: Operands) -> None:
    ctypes.PyDLL(None).sleep(1000)  # holds Python's lock


def allocate(operands: Operands) -> None:
    torch.empty(10 * 2**40, dtype=torch.uint8)


def babble(operands: Operands) -> None:
    os.write(int(sys.argv[1]), b"what?\n")


def close_all(operands: Operands) -> None:
    os.closerange(3, 4096)


def add_one(operands: Operands) -> None:
    operands.out[0, 0] += 1


# What must not reach the next case.


def close_output(operands: Operands) -> None:
    if not sys.stdout.closed:
        sys.stdout.close()
    for number in (1, 2):
        with contextlib.suppress(OSError):
            os.close(number)


def print_much(operands: Operands) -> None:
    if next(PRINTED) < 4:
        print("x" * 2**20)


def fill_stderr(operands: Operands) -> None:
    if next(FILLED) < 4:
        os.write(2, b"e" * 2**20)


PRINTED, FILLED = itertools.count(), itertools.count()


def fork_away(operands: Operands) -> None:
    """A child in a session of its own, which burns a core and holds every pipe open."""
    if next(FORKED) == 0 and os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.environ["PLANTED"] = "child"
            os.execv(sys.executable, [sys.executable, "-c", "while True: pass", CHILD])
        os._exit(0)


FORKED = itertools.count()
CHILD = "planted-child-of-a-kernel"


def fork_and_return(operands: Operands) -> None:
    """A child that goes on as if it were the worker."""
    if next(RETURNED) == 0:
        os.fork()


RETURNED = itertools.count()


def change_dtype(operands: Operands) -> None:
    torch.set_default_dtype(torch.float64)


def change_threads(operands: Operands) -> None:
    torch.set_num_threads(1)


def change_precision(operands: Operands) -> None:
    torch.set_float32_matmul_precision("medium")


def set_alarm(operands: Operands) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(1)


def leave_folder(operands: Operands) -> None:
    os.chdir("/")
    os.environ["PATH"] = "/nowhere"


def stall(operands: Operands) -> None:
    time.sleep(0.03)


def kernel(name: str, bind, needs=None) -> Kernel:  # type: ignore[no-untyped-def]
    return Kernel(
        name=name,
        tier="library",
        backend="user",
        precisions=("fp32",),
        summary="planted",
        bind=bind,
        needs=needs,
    )


IN_TURNS = 100

FAULTY = (
    kernel("raises-in-bind", raises_in_bind),
    kernel("raises-when-asked", healthy, raises_when_asked),
    kernel("raises", nth_call(1, raise_error)),
    kernel("raises-in-turn", nth_call(IN_TURNS, raise_error)),
    kernel("leaves", nth_call(2, leave)),
    kernel("leaves-at-once", nth_call(1, leave_at_once)),
    kernel("interrupts", nth_call(1, interrupt)),
    kernel("allocates", nth_call(1, allocate)),
    kernel("wrong", nth_call(1, add_one)),
    kernel("wrong-on-third", nth_call(3, add_one)),
    kernel("wrong-at-the-end", nth_call(IN_TURNS, add_one)),
    kernel("aborts", nth_call(1, abort)),
    kernel("aborts-in-turn", nth_call(IN_TURNS, abort)),
    kernel("segfaults", nth_call(1, segfault)),
    kernel("babbles", nth_call(1, babble)),
    kernel("closes-all", nth_call(1, close_all)),
    kernel("hangs", nth_call(1, hang)),
    kernel("hangs-in-c", nth_call(1, hang_in_c)),
)
"""Each of them ends badly."""

LEAKY = (
    kernel("closes-output", nth_call(1, close_output)),
    kernel("prints-much", nth_call(1, print_much)),
    kernel("fills-stderr", nth_call(1, fill_stderr)),
    kernel("forks-away", nth_call(1, fork_away)),
    kernel("forks-and-returns", nth_call(1, fork_and_return)),
    kernel("changes-dtype", nth_call(1, change_dtype)),
    kernel("changes-threads", nth_call(1, change_threads)),
    kernel("changes-precision", nth_call(1, change_precision)),
    kernel("sets-an-alarm", nth_call(1, set_alarm)),
    kernel("leaves-its-folder", nth_call(1, leave_folder)),
    kernel("stalls", every_nth_call(50, stall)),
)
"""Each is right, and leaves something behind, or stalls."""

KERNELS = (kernel("healthy", healthy), *FAULTY, *LEAKY)
