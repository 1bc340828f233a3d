"""Whom this process was started beside: a neighbour is somebody else."""

import contextlib
import os

import psutil


def family() -> int:
    """The process that started this one, and others beside it: of a Ray actor its node's raylet."""
    parent = os.getppid()
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(parent)
        if process.cmdline()[:1] and process.cmdline()[0].startswith("ray::"):
            return process.ppid()
    return parent
