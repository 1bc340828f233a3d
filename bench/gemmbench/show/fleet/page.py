"""A report on a fleet as one HTML page, with the look and the safety of `gemmbench report`."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

from gemmbench._version import __version__
from gemmbench.analysis.fleet.model import FleetReport
from gemmbench.show.fleet.figures import spreads
from gemmbench.show.fleet.heatmap import heatmap
from gemmbench.show.fleet.tables import tables
from gemmbench.show.fleet.words import method, verdict
from gemmbench.show.report.page import environment_of, file_text, policy
from gemmbench.show.report.vector import themed
from gemmbench.show.text import printable

_SCRIPT = "page.js"
MOST_SOURCES = 20


@dataclass(frozen=True, kw_only=True)
class Picture:
    """As `macros.html.j2` draws it."""

    kind: str
    caption: str
    svg: Markup


def page(found: FleetReport) -> str:
    """The whole page as HTML text."""
    script = file_text(_SCRIPT)
    environment = environment_of()
    template = environment.get_template("fleet.html.j2")
    every = tables(found, most=False)
    return template.render(
        version=__version__,
        policy=policy([script]),
        styles=Markup(file_text("page.css")),  # noqa: S704 (a file of ours)
        page_js=Markup(script),  # noqa: S704
        title=f"{len(found.devices):,} devices",
        models=list(dict.fromkeys(one.model.text for one in found.devices if one.model)),
        verdict=verdict(found),
        bad=found.exit_code == 1,
        judged=found.exit_code != 2,
        synthetic=found.synthetic,
        not_judged=found.not_judged,
        notes=found.notes,
        method=method(found),
        pictures=list(_pictures(found)),
        tables=every,
        again=" ".join(["gemmbench fleet report", *_sources(found)]),
    )


def _sources(found: FleetReport) -> Iterable[str]:
    for name in found.sources[:MOST_SOURCES]:
        yield shlex.quote(f"./{name}" if name.startswith("-") else printable(name))
    if len(found.sources) > MOST_SOURCES:
        yield "…"
    for option, value in found.options:
        yield f"{option} {shlex.quote(printable(value))}"


def _pictures(found: FleetReport) -> Iterable[Picture]:
    if found.devices:
        yield Picture(
            kind="the devices",
            caption="Each device's speed over the median of the others', the median over its "
            "cases. Marks are flags; white was not measured, hatched was not judged.",
            svg=themed(heatmap(found), ident="map", label="A map of the devices"),
        )
    if found.cases:
        yield Picture(
            kind="the cases",
            caption="Each case over the devices: of many the middle 90% and 50%, of few each one.",
            svg=themed(spreads(found), ident="cases", label="The spread of each case"),
        )
