"""gemmbench: how fast a device really multiplies matrices, and how far that is from its spec sheet.

Everything here is imported on first use: `import gemmbench` imports no torch, triton or matplotlib.
"""

import importlib
from typing import TYPE_CHECKING

from gemmbench._version import __version__

if TYPE_CHECKING:
    from gemmbench.analysis.compare import compare
    from gemmbench.records.frame import load
    from gemmbench.timing.callables import Measurement, Speedup, measure, speedup
    from gemmkernels.errors import GemmbenchError

_HOMES = {
    "GemmbenchError": "gemmkernels.errors",
    "Measurement": "gemmbench.timing.callables",
    "Speedup": "gemmbench.timing.callables",
    "compare": "gemmbench.analysis.compare",
    "load": "gemmbench.records.frame",
    "measure": "gemmbench.timing.callables",
    "speedup": "gemmbench.timing.callables",
}

__all__ = [
    "GemmbenchError",
    "Measurement",
    "Speedup",
    "__version__",
    "compare",
    "load",
    "measure",
    "speedup",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'gemmbench' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
