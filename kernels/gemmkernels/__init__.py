"""Matrix multiplication kernels from a naive loop to the library, and the words to speak of them.

Importing this package imports neither torch nor triton nor numba.
"""

from gemmkernels.device import Device
from gemmkernels.errors import GemmbenchError, UnknownNameError
from gemmkernels.kernel import TIERS, Kernel, Launch
from gemmkernels.operands import Operands
from gemmkernels.precision import PRECISIONS, Precision
from gemmkernels.problem import Problem

__all__ = [
    "PRECISIONS",
    "TIERS",
    "Device",
    "GemmbenchError",
    "Kernel",
    "Launch",
    "Operands",
    "Precision",
    "Problem",
    "UnknownNameError",
]
