"""A Ray cluster of several nodes on this machine, for tests; Ray runs in a process of its own.

Nodes are named, have as many CPUs and GPUs as they say, and are killed or added at will. Nothing of
it is left behind: no process, and no file.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import psutil

MEMORY = 78 * 2**20
PATIENT = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 3000,
    "health_check_failure_threshold": 5,
}
"""A node that is killed is found in seconds; one that is slow, on a busy machine, is let live."""


class RayCluster:
    """Use it as a context manager. The head offers no devices; `add` a node for each that does."""

    def __init__(self) -> None:
        self._folder = tempfile.mkdtemp(prefix="gb-", dir="/tmp")  # a socket's path must be short
        self.environment = {
            **os.environ,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_TMPDIR": self._folder,
        }
        self._log = (Path(self._folder) / "cluster.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=self.environment,
            start_new_session=True,
        )
        self.address: str = self._ask(do="head")

    def add(
        self,
        name: str,
        *,
        cpus: int = 0,
        gpus: int = 0,
        labels: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._ask(
            do="add",
            node_name=name,
            num_cpus=cpus,
            num_gpus=gpus,
            labels=labels,
            env_vars=environment,
        )

    def kill(self, name: str) -> None:
        """End the node at once, as a power cut does."""
        self._ask(do="kill", name=name)

    def wait(self, *names: str) -> None:
        """Until exactly these nodes, and the head, are alive by the cluster's own count."""
        self._ask(do="wait", names=names)

    def put(self, key: str, value: str) -> None:
        """Write into the cluster's own table of facts."""
        self._ask(do="put", key=key, value=value)

    def get(self, key: str) -> str:
        return self._ask(do="get", key=key)

    def hold(self, name: str, gpus: int) -> None:
        """Another job takes that many GPUs of a node, and keeps them."""
        self._ask(do="hold", name=name, gpus=gpus)

    def processes(self) -> list[psutil.Process]:
        """All that runs within the cluster."""
        found = []
        for one in psutil.process_iter():
            try:
                if one.environ().get("RAY_TMPDIR") == self._folder and one.pid != os.getpid():
                    found.append(one)
            except psutil.Error:
                continue
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        deadline_s = time.monotonic() + 20
        while left := self.processes():
            for one in left:
                if time.monotonic() > deadline_s - 15:
                    one.kill()
            assert time.monotonic() < deadline_s, f"left behind: {left}"
            time.sleep(0.1)
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()
        shutil.rmtree(self._folder)

    def _ask(self, **command: object) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        self._process.stdin.flush()
        if line := self._process.stdout.readline():
            return str(json.loads(line))
        log = (Path(self._folder) / "cluster.log").read_text()[-3000:]
        raise RuntimeError(f"the cluster broke at {command}: {log}")


class _Holder:
    """The process that Ray's nodes belong to."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self._cluster = Cluster()
        self._nodes: dict[str, Any] = {}
        self._held: list[Any] = []

    def do(self, command: dict[str, Any]) -> str:
        match command.pop("do"):
            case "head":
                self._cluster.add_node(
                    num_cpus=0,
                    include_dashboard=False,
                    object_store_memory=MEMORY,
                    node_name="head",
                    _system_config=PATIENT,
                )
                return str(self._cluster.address)
            case "add":
                self._nodes[command["node_name"]] = self._cluster.add_node(
                    include_dashboard=False, object_store_memory=MEMORY, **command
                )
            case "kill":
                node = self._nodes.pop(command["name"])
                self._cluster.remove_node(node, allow_graceful=False)
            case "wait":
                self._wait({"head", *command["names"]})
            case "put":
                self._kv()._internal_kv_put(command["key"], command["value"], namespace="cluster")
            case "get":
                return str(
                    self._kv()._internal_kv_get(command["key"], namespace="cluster").decode()
                )
            case "hold":
                self._hold(command["name"], command["gpus"])
        return ""

    def _wait(self, names: set[str]) -> None:
        import ray

        deadline_s = time.monotonic() + 60
        self._connect()
        while {one["NodeName"] for one in ray.nodes() if one["Alive"]} != names:
            assert time.monotonic() < deadline_s, ray.nodes()
            time.sleep(0.2)

    def _hold(self, name: str, gpus: int) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self._connect()
        node = next(
            one["NodeID"] for one in ray.nodes() if one["Alive"] and one["NodeName"] == name
        )

        class Holder:
            def there(self) -> bool:
                return True

        actor = (
            ray.remote(Holder)
            .options(
                num_gpus=gpus,
                num_cpus=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
            )
            .remote()
        )
        ray.get(actor.there.remote(), timeout=60)
        self._held.append(actor)

    def _kv(self) -> Any:
        from ray.experimental import internal_kv

        self._connect()
        return internal_kv

    def _connect(self) -> None:
        import ray

        if not ray.is_initialized():
            ray.init(address=self._cluster.address, log_to_driver=False)

    def end(self) -> None:
        import ray

        ray.shutdown()
        self._cluster.shutdown()


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Ray prints must not get between
    holder = _Holder()
    try:
        for line in sys.stdin:
            print(json.dumps(holder.do(json.loads(line))), file=answers, flush=True)
    finally:
        holder.end()


if __name__ == "__main__":
    main()
