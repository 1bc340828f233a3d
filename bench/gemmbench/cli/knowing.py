"""`list`, `doctor`, `inspect` and `schema`: what is known without a run."""

from typing import TYPE_CHECKING, Any

import click

from gemmbench.cli.app import app, carry_out
from gemmbench.cli.options import SPEC, form_option
from gemmbench.quantities import parse_duration
from gemmkernels.errors import GemmbenchError

if TYPE_CHECKING:
    pass


@app.command("list", epilog="Example: gemmbench list devices --sources --device h100-sxm5")
@click.argument("what", metavar="kernels|suites|devices|precisions|published")
@click.option("--sources", is_flag=True, help="Of devices: every figure, and who prints it.")
@click.option("--device", "-d", metavar="ID", help="Of devices and published: this one.")
@SPEC
@click.option("--template", is_flag=True, help="Of devices: print a file to add your own with.")
@form_option("table", "markdown", "json")
def list_(what: str, form: str, **options: Any) -> None:
    """List what there is; devices are those with a spec sheet."""

    def work() -> int:
        from gemmbench.show.catalogue import catalogue, devices_json, to_json
        from gemmbench.show.tables import Table, check_format, echo

        known = check_format(form, ("table", "markdown", "json"))
        given = [name for name, value in options.items() if value]

        def tell(table: Table) -> int:
            if known == "json":
                click.echo(to_json(table))
            else:
                echo([table], form=known)
            return 0

        if what == "published" and given in ([], ["device"]):
            from gemmbench.show.published import published_list

            return tell(published_list(options["device"]))
        if what != "devices":
            if given:
                raise GemmbenchError(f"--{given[0]} is for gemmbench list devices, not {what}")
            return tell(catalogue(what))
        from gemmbench.show.datasheets import devices, template

        if options.pop("template"):
            if len(given) > 1:
                raise GemmbenchError("--template prints a file, and takes no other option")
            click.echo(template(), nl=False)
        elif known == "json":  # with their sources always
            click.echo(devices_json(device=options["device"], spec=options["spec"]))
        else:
            echo(devices(**options), form=known)
        return 0

    carry_out(work)


@app.command(epilog="Example: gemmbench doctor --noise --time 60s")
@click.option("--device", "-d", default="auto", metavar="cpu|cuda:0", help="[the first GPU]")
@click.option("--noise", is_flag=True, help="Also measure how far this machine can be trusted.")
@click.option("--time", "time_", metavar="T", help="For --noise. [60s]")
@form_option("table", "markdown", "json")
def doctor(device: str, noise: bool, time_: str | None, form: str) -> None:
    """What spoils measurements on this machine, and how to mend each. Exit code 1 when a figure
    from it should not be published."""

    def work() -> int:
        from gemmbench.show.diagnosis import examine

        if time_ is not None and not noise:
            raise GemmbenchError(f"--time {time_} is for --noise: say --noise too")
        time_s = parse_duration("--time", time_ or "60s")
        return examine(device, noise_s=time_s if noise else None, form=form)

    carry_out(work)


@app.command(epilog="Example: gemmbench inspect triton-persistent --target sm_90 -p bf16")
@click.argument("kernels", nargs=-1, metavar="KERNEL…")
@click.option(
    *("--target", "targets"),
    multiple=True,
    metavar="T",
    help="Such as sm_90 or gfx942; repeat for more. [sm_80 sm_90 sm_100 gfx942 gfx950]",
)
@click.option(
    *("--precision", "-p", "precisions"),
    multiple=True,
    metavar="P",
    help="Such as bf16; repeat for more. [all that the kernel has]",
)
@click.option("--layout", metavar="nn|nt|tn|tt", help="Of A and B. [nn; nt for 8 bits]")
@click.option("--shape", metavar="MxNxK", help="Also 8*MxNxK, 8@MxNxK. [large and aligned]")
@form_option("table", "markdown", "json")
def inspect(kernels: tuple[str, ...], **options: Any) -> None:
    """What the compiler makes of Triton kernels, for GPUs that need not be there: matrix
    instructions, registers, spills, shared memory. Exit code 1 when one is not what it declares."""

    def work() -> int:
        from gemmbench.show.inspected import inspect

        return inspect(kernels, **options)

    carry_out(work)


@app.command(epilog="Example: gemmbench schema > run.schema.json")
def schema() -> None:
    """Print the JSON Schema (draft 2020-12) of a run file's lines."""

    def work() -> int:
        import json

        from gemmbench.records.jsonschema import schema

        click.echo(json.dumps(schema(), indent=2, ensure_ascii=False))
        return 0

    carry_out(work)
