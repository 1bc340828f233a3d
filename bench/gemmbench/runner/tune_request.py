"""A tuning from what was asked on the command line, new or taken up again."""

from dataclasses import replace
from pathlib import Path

from gemmbench.runner.request import Request
from gemmbench.runner.resume import of_run
from gemmbench.runner.tune import Tuner
from gemmbench.runner.tune_finding import TuneListener
from gemmkernels.errors import GemmbenchError
from gemmkernels.ladder import LADDER
from gemmkernels.tuning import VARIABLE, user_file


def tuner_of(
    request: Request, listener: TuneListener, *, out: str | None, resume: str | None
) -> Tuner:
    """`out` is the file of entries that was named, `resume` the run that goes on.

    A run that is taken up may get another budget. Raises GemmbenchError.
    """
    if resume is None:
        if not request.kernels:
            tunable = ", ".join(kernel.name for kernel in LADDER if kernel.space is not None)
            raise GemmbenchError(
                f"no kernel is named: gemmbench tune KERNEL, of {tunable}, or a file of your own"
            )
        return Tuner(request, listener, out=_file(out), out_name=Path(out).name if out else "")
    usual = Request()
    given = replace(request, budget_s=None, out=usual.out)
    found, run = of_run(Path(resume), given, tuning=True)
    name = str(run.header.request.get("tuned") or "")
    if name and not out:
        raise GemmbenchError(f"that tuning wrote to {name}: name it again, --out …/{name}")
    found = replace(found, budget_s=request.budget_s or found.budget_s)
    return Tuner(found, listener, out=_file(out), out_name=name, resume=run)


def _file(out: str | None) -> Path:
    found = Path(out) if out else user_file()
    if found is None:
        raise GemmbenchError(
            f"there is no file for what is found: {VARIABLE} is empty, or you have no home folder: "
            "name one with --out FILE.toml"
        )
    return found
