"""The compiling process with compilers that fail as real ones do, chosen by a problem's M."""

import os
import signal
import sys
import time

from gemmbench.inspect import compiling
from gemmbench.inspect.question import Compiled, Question, Report

FINE, ABORT, HANG, REFUSE, EXIT, KILL_SERVER, NO_SPACE, PTXAS = range(1, 9)


def planted(question: Question) -> Report:
    match question.problem.m:
        case 2:
            os.write(2, b"note: something else\nplanted.cc:7: Assertion `sane' failed.\n")
            os.abort()
        case 3:
            time.sleep(60)
        case 4:
            os.write(2, b"loc(x): error: planted: no such layout\nnote: see here\n")
            raise RuntimeError("PassManager::run failed")
        case 5:
            os._exit(3)
        case 6:
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(60)
        case 7:
            raise OSError(28, "No space left on device")
        case 8:
            raise ValueError("`ptxas` stderr:\nptxas fatal   : planted option\nRepro: ptxas x.ptx")
    call = Compiled(function="planted", verdict="vector", registers=question.problem.m)
    return Report(question=question, verdict="vector", declared="vector", calls=(call,))


if __name__ == "__main__":
    compiling.compiled = planted
    compiling._warm = lambda questions: None
    compiling._version = lambda: "0"
    compiling.main()
    sys.exit(0)
