"""A cluster of several nodes on this machine, a sweep on it as a user starts one, and a meter of its own."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster
from ray.util.state import list_actors, list_placement_groups
from ray_kit import TRIAL_TITLES, clean_environment, processes_below
from storage_kit import LOCAL
from tiny_teacher import TINY_TEACHER

from minidisc_ray.accounting.attempts import Attempt
from minidisc_ray.accounting.ledger import Ledger
from minidisc_ray.ray_backend.supervision.stalls import read_worker_process
from minidisc_ray.run_files.progress import Progress, read_progress
from minidisc_ray.run_files.result import RunResult, load_result

# A dead node is noticed in seconds here, not in a quarter of a minute.
FAST = {
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_health_check_initial_delay_ms": "1000",
}
MAIN = "from minidisc_ray.cli import main; main()"
_LONG = {"num_epochs": 24, "batch_size": 16, "learning_rate": 2e-3, "early_stop_epochs": None}
STUDY: dict[str, Any] = {
    "name": "chaos",
    "title": "A sweep that is disturbed",
    "recipe": {
        "data": {"kind": "builtin", "train_rows": 128, "validation_rows": 64, "test_rows": 32},
        "teacher": TINY_TEACHER,
        "pruning": {"neuron_multiple": 1},
        "finetune": _LONG,
        "sandwich": _LONG,
        "distil": _LONG,
        "schedule": {"kind": "minidisc", "scales": [60, 30], "num_sampled": 2},
        "compute": {"max_failures": 20, "retry_wait_seconds": 0.5, "stall_seconds": 15.0},
    },
    "tasks": {"builtin": None},
    "scales": [10],
    "seeds": [0],
    "methods": {
        "LTSD": {"schedule": {"kind": "conventional"}},
        "TA": {"schedule": {"kind": "assistant", "assistant_percent": 40}},
        "MiniDisc": None,
        "MaxiDisc": {"schedule": {"kind": "maxidisc"}},
    },
}


class Nodes:
    """A head that runs no trial, and nodes of one CPU each."""

    def __init__(self, count: int = 2) -> None:
        os.environ.update(FAST)
        self.cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": True, "dashboard_port": 0}
        )
        self.nodes = [self.cluster.add_node(num_cpus=1) for _ in range(count)]
        ray.init(address=self.cluster.address, log_to_driver=False, logging_level="ERROR")

    @property
    def address(self) -> str:
        return self.cluster.address

    def lose_one(self) -> None:
        """Kill a node's raylet without notice; another one joins a little later."""
        node = self.nodes.pop(0)
        self.cluster.remove_node(node, allow_graceful=False)

    def join_one(self) -> None:
        self.nodes.append(self.cluster.add_node(num_cpus=1))

    def shutdown(self) -> None:
        ray.shutdown()
        self.cluster.shutdown()


@dataclass
class Life:
    """When a placement group was granted and when it was gone, in seconds since the epoch, and the CPUs in it."""

    granted_at: float
    cpus: float
    ended_at: float | None = None


class Meter(threading.Thread):
    """Looks at the cluster's placement groups, as Ray's state API tells of them; knows nothing of ledgers."""

    def __init__(self, address: str, every_seconds: float = 0.5) -> None:
        super().__init__(name="meter", daemon=True)
        self.address = address
        self.every_seconds = every_seconds
        self.lives: dict[str, list[Life]] = {}
        self._is_over = threading.Event()

    def run(self) -> None:
        while not self._is_over.wait(self.every_seconds):
            try:
                found = list_placement_groups(self.address, detail=True, limit=10_000, timeout=10)
            except Exception:  # noqa: BLE001 - while a head is away there is nothing to be read
                continue
            self._look({str(group.placement_group_id): group for group in found}, time.time())

    def _look(self, groups: dict[str, Any], now: float) -> None:
        for name, group in groups.items():
            if group.state != "CREATED" or (name in self.lives and self.lives[name][-1].ended_at is None):
                continue
            stats = group.stats
            granted_at = int(stats["creation_request_received_ns"]) / 1e9 + (
                int(stats["end_to_end_creation_latency_us"]) / 1e6
            )
            cpus = sum(float(bundle["unit_resources"].get("CPU", 0.0)) for bundle in group.bundles)
            lives = self.lives.setdefault(name, [])
            # A group that lost its node is granted again, and its statistics may still tell of the first time.
            lives.append(Life(now - self.every_seconds / 2 if lives else granted_at, cpus))
        for name, (*_, life) in self.lives.items():
            is_held = name in groups and groups[name].state == "CREATED"
            if not is_held and life.ended_at is None:
                life.ended_at = now - self.every_seconds / 2

    def stop(self) -> None:
        self._is_over.set()
        self.join()

    def cpu_seconds(self) -> float:
        now = time.time()
        lives = [life for lives in self.lives.values() for life in lives if life.cpus]
        return sum((life.ended_at or now) - life.granted_at for life in lives)


@dataclass
class Sweep:
    """``minidisc study`` in a process of its own, given again as often as it takes."""

    folder: Path
    address: str
    storage: Path
    environment: dict[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    outage_seconds: float = 6.0
    process: subprocess.Popen[str] | None = None
    starts: int = 0

    def start(self) -> None:
        file = self.folder / "study.yaml"
        file.write_text(json.dumps(STUDY), encoding="utf-8")  # which is YAML as well
        self.starts += 1
        command = [sys.executable, "-c", MAIN, "study", str(file), "--storage", str(self.storage), "--format", "json"]
        with (self.folder / f"driver-{self.starts:03d}.log").open("w") as log:
            self.process = subprocess.Popen(
                [*command, *self.options],
                env={**clean_environment(**FAST), **self.environment, "RAY_ADDRESS": self.address},
                stdout=log,
                stderr=subprocess.STDOUT,
                text=True,
            )

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def wait(self, seconds: float) -> int:
        assert self.process is not None
        return self.process.wait(timeout=seconds)

    def runs(self) -> list[Path]:
        found = self.storage.iterdir() if self.storage.is_dir() else iter(())
        return sorted(path for path in found if (path / "identity.json").is_file())

    def results(self) -> dict[str, RunResult]:
        return {path.name: load_result(path) for path in self.runs()}

    def attempts(self) -> list[Attempt]:
        return [attempt for path in self.runs() for attempt in Ledger(LOCAL, path / "ledger.jsonl").attempts()]

    def live(self, stage: str | None = None, step: int = 0) -> list[tuple[Path, Progress]]:
        """Runs that are in a stage now, at some step or later, as far as their files tell."""
        young = time.time() - 5
        return [
            (path, progress)
            for path in self.runs()
            for progress in read_progress(path)
            if progress.status == "running" and progress.updated_at > young and stage in (None, progress.stage)
            if progress.step >= step
        ]


def trial_processes() -> dict[int, str]:
    """Processes of this machine's clusters that run a trial, by pid."""
    return {
        pid: command
        for pid, command in processes_below(os.getpid()).items()
        if command.startswith(TRIAL_TITLES) or "RayTrainWorker" in command
    }


def pids_in(sweep: Sweep, stage: str | None, step: int) -> list[int]:
    """Processes that run trials; if a stage is named, those alone that are in it, at some step or later."""
    alive = trial_processes()
    if stage is None:
        return sorted(alive)
    places = [read_worker_process(path, progress.trial) for path, progress in sweep.live(stage, step)]
    return sorted({place.pid for place in places if place is not None} & alive.keys())


def leftovers(address: str, storage: Path) -> list[str]:
    """What a sweep that is over should not have left: actors, placement groups, temporary files."""
    found = [
        f"actor {actor.class_name}" for actor in list_actors(address, filters=[("state", "=", "ALIVE")], limit=10_000)
    ]
    found += [
        f"placement group {group.placement_group_id}"
        for group in list_placement_groups(address, limit=10_000)
        if group.state not in ("REMOVED",)
    ]
    return found + [str(path) for path in storage.rglob("*.tmp[0-9]*")]


def poll(condition: Callable[[], Any], seconds: float, every: float = 0.1) -> Any:
    """The first true value of a condition; its last, false one if time is over."""
    deadline = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(every)
    return found


def end(process: subprocess.Popen[str] | None) -> None:
    if process is not None and process.poll() is None:
        process.send_signal(signal.SIGKILL)
        process.wait()
