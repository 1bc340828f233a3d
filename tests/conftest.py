"""What all tests share: where there is no GPU, its tests are skipped, and say why.

Where several processes share them, those that have a fixture of their module in common stay in one
process, which makes it once; and the slow ones come first, so that none is left to one process as
the others idle.

Hypothesis draws the same inputs each time, so that a test of one commit has one result;
`tests/hostile.py` draws new ones.
"""

import os
from typing import Any

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


def _shares_a_fixture(item: pytest.Item) -> bool:
    """Does the test use a fixture that is made once for its module?"""
    found: dict[str, Any] = getattr(item, "_fixtureinfo").name2fixturedefs  # noqa: B009
    every = (one for several in found.values() for one in several)
    return any(one.scope == "module" and one.baseid == item.nodeid.split("::")[0] for one in every)


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # a process of xdist's
        for item in items:
            if item.get_closest_marker("xdist_group") is None and _shares_a_fixture(item):
                item.add_marker(pytest.mark.xdist_group(item.nodeid.split("::")[0]))
        items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    marked = [item for item in items if item.get_closest_marker("gpu")]
    for item in marked:  # one at a time: they would slow each other
        item.add_marker(pytest.mark.xdist_group("gpu"))
    if marked and (reason := _no_gpu()):
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=reason))
