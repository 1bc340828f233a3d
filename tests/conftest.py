"""What all tests share: where there is no GPU, its tests are skipped, and say why.

Hypothesis draws the same inputs each time, so that a test of one commit has one result;
`tests/hostile.py` draws new ones.
"""

import os

import pytest
from hypothesis import settings

os.environ["GEMMBENCH_TUNED"] = ""  # what the user has tuned is nothing to a test
os.environ["GEMMBENCH_DEVICES"] = ""  # nor are the user's datasheets

settings.register_profile("same", derandomize=True, deadline=None)
settings.load_profile("same")


def _no_gpu() -> str | None:
    import torch

    if not torch.cuda.is_available():
        return f"torch {torch.__version__} can use no GPU here"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    marked = [item for item in items if item.get_closest_marker("gpu")]
    for item in marked:  # one at a time: they would slow each other
        item.add_marker(pytest.mark.xdist_group("gpu"))
    if marked and (reason := _no_gpu()):
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=reason))
