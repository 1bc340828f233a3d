"""`explain`: where the rest of the peak went."""

import sys

from gemmbench.cli.app import app, carry_out
from gemmbench.cli.options import RUNS, WHICH, asks, form_option


@app.command(epilog="Example: gemmbench explain RUN.jsonl --problem 8192x8192x8192 -p bf16")
@RUNS
@asks(*WHICH)
@form_option("table", "markdown", "json")
def explain(
    runs: tuple[str, ...],
    problems: tuple[str, ...],
    kernels: tuple[str, ...],
    precisions: tuple[str, ...],
    roofs: tuple[str, ...],
    form: str,
) -> None:
    """Where the rest of the peak went: clock, padding, waves, memory, launch, and the kernel."""

    def work() -> int:
        from gemmbench.analysis.explain import Wanted, explain
        from gemmbench.show.explained import echo_explained, to_json
        from gemmbench.show.tables import check_format

        chosen = check_format(form, ("table", "markdown", "json"))
        wanted = Wanted(kernels=kernels, problems=problems, precisions=precisions)
        found = explain(runs, roofs=roofs, wanted=wanted)
        if chosen == "json":
            sys.stdout.write(to_json(found))
        else:
            echo_explained(found, form=chosen, filtered=bool(wanted))
        return 0

    carry_out(work)
