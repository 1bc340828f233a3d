"""`import`."""

import sys
from pathlib import Path

import click

from gemmbench.cli.app import app, carry_out


@app.command("import", epilog="Example: gemmbench import bench.json --precision bf16 --map m=Rows")
@click.argument("files", nargs=-1, required=True, metavar="FILE…")
@click.option(
    *("--from", "tool"),
    metavar="TOOL",
    help="nvbench, hipblaslt-bench, rocblas-bench, cutlass, mamf-finder, pytest-benchmark. "
    "[by the content]",
)
@click.option("--device-id", metavar="ID", help="Such as h100-sxm5. [what the file names]")
@click.option(
    *("--precision", "-p"), metavar="P", help="Such as bf16, where the file does not tell."
)
@click.option(
    *("--map", "map_"),
    metavar="m=M,n=N,k=K",
    help="Which axes or parameters are M, N, K, batch, layout, precision; or their values.",
)
@click.option("--out", default="results/local", metavar="DIR", help="[results/local]")
def import_(
    files: tuple[str, ...],
    tool: str | None,
    device_id: str | None,
    precision: str | None,
    map_: str | None,
    out: str,
) -> None:
    """Read what another tool measured into runs, marked as its own."""

    def work() -> int:
        from gemmbench.records.imports import Asked, keep, read_foreign
        from gemmbench.records.imports.words import parse_map
        from gemmbench.runner.resume import command_of
        from gemmbench.show.imported import imported

        asked = Asked(precision=precision, device_id=device_id, map=parse_map(map_))
        command = command_of(tuple(sys.argv[1:]))
        runs = [
            run
            for file in dict.fromkeys(files)
            for run in read_foreign(Path(file), asked, tool=tool, command=command)
        ]
        for line in imported(runs, keep(runs, Path(out))):
            click.echo(line)
        return 0

    carry_out(work)
