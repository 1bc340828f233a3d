"""The command line: one command a function, and no logic of its own.

Importing a module of it adds its commands.
"""

from gemmbench.cli import (
    claims,
    comparing,
    cost,
    explain,
    fleet,
    fleet_report,
    history,
    importing,
    knowing,
    measuring,
    parallel,
    reading,
    report,
    roofs,
    tuning,
)
from gemmbench.cli.app import app, main

__all__ = [
    "app",
    "claims",
    "comparing",
    "cost",
    "explain",
    "fleet",
    "fleet_report",
    "history",
    "importing",
    "knowing",
    "main",
    "measuring",
    "parallel",
    "reading",
    "report",
    "roofs",
    "tuning",
]
