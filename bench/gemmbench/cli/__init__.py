"""The command line: one command a function, and no logic of its own.

Importing a module of it adds its commands.
"""

from gemmbench.cli import comparing, knowing, measuring, reading, tuning
from gemmbench.cli.app import app, main

__all__ = ["app", "comparing", "knowing", "main", "measuring", "reading", "tuning"]
