"""A fleet on Ray whose parts are killed at random: all records of all workers, and none twice.

`GEMMBENCH_FLEET_KILLS` says how often; 5 where it is not set.
"""

import os
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
from ray_kill_loop import loop


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.xdist_group("ray")
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed")
def test_random_kills_of_a_fleet_lose_and_double_nothing(tmp_path: Path) -> None:
    loop(tmp_path, kills=int(os.environ.get("GEMMBENCH_FLEET_KILLS", "5")), seed=int(time.time()))
