"""`cost`."""

import click

from gemmbench.cli.app import app, carry_out
from gemmbench.cli.options import RUNS, form_option
from gemmbench.quantities import parse_amount, parse_share
from gemmkernels.errors import GemmbenchError


@app.command(
    epilog="Example: gemmbench cost RUN.jsonl --usd-per-hour 2.5 --parameters 70B --tokens 1.4T "
    "--utilisation 40% --devices 1024"
)
@RUNS
@click.option("--usd-per-hour", required=True, metavar="$", help="Rent of one device.")
@click.option("--watts", metavar="W", help="Power, where the run measured none.")
@click.option("--usd-per-kwh", metavar="$", help="Price of energy, such as 0.07.")
@click.option("--parameters", metavar="P", help="Of a model to train: 70e9 or 70B.")
@click.option("--tokens", metavar="T", help="To train it on: 1.4T.")
@click.option("--utilisation", metavar="U", help="Of the measured rate: 0.4 or 40%.")
@click.option("--devices", metavar="N", help="For the days that it takes. [1]")
@click.option("--precision", "-p", metavar="P", help="Such as bf16. [all of the run]")
@form_option("table", "markdown", "csv", "json")
def cost(
    runs: tuple[str, ...],
    usd_per_hour: str,
    watts: str | None,
    usd_per_kwh: str | None,
    parameters: str | None,
    tokens: str | None,
    utilisation: str | None,
    devices: str | None,
    precision: str | None,
    form: str,
) -> None:
    """What measured rates cost: dollars and kWh for 10¹⁸ FLOP, and for training a model."""

    def work() -> int:
        from gemmbench.analysis.cost import Prices, Training
        from gemmbench.show.cost import show_cost

        prices = Prices(
            usd_per_hour=parse_amount("--usd-per-hour", usd_per_hour) or 0.0,
            usd_per_kwh=parse_amount("--usd-per-kwh", usd_per_kwh),
            watts=parse_amount("--watts", watts),
        )
        model = {
            "--parameters": parse_amount("--parameters", parameters),
            "--tokens": parse_amount("--tokens", tokens),
            "--utilisation": parse_share("--utilisation", utilisation),
        }
        count = parse_amount("--devices", devices)
        missing = [name for name, value in model.items() if value is None]
        if missing and (len(missing) < 3 or count is not None):
            raise GemmbenchError(
                f"{' and '.join(missing)} missing: training needs --parameters, --tokens and "
                "--utilisation, all three"
            )
        training = None
        if not missing:
            p, t, u = (value or 0.0 for value in model.values())
            training = Training(parameters=p, tokens=t, utilisation=u, devices=count or 1.0)
        show_cost(runs, prices, training=training, precision=precision, form=form)
        return 0

    carry_out(work)
