"""Faults, each as a function that does it for real, and what was at risk when it was done."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from chaos_kit import Nodes, Sweep, pids_in, trial_processes
from ray_kit import command_of
from storage_kit import full, read_only

from minidisc_ray.ray_backend.supervision.stalls import WorkerProcess, read_worker_process
from minidisc_ray.run_files.progress import Progress, read_progress


@dataclass
class Fault:
    """One fault that was done.

    Attributes:
        name: its kind.
        stages: what was running.
        steps_redone: steps since its newest checkpoint of that running trial which had most; an upper bound, since the
            fault may have hit another.
        note: what it hit.
    """

    name: str
    stages: str
    steps_redone: int
    note: str = ""


@dataclass
class Aim:
    """At what a fault is done, and what chooses."""

    nodes: Nodes
    sweep: Sweep
    rng: random.Random
    stage: str | None = None
    step: int = 0

    def signal_one(self, number: int) -> str | None:
        """Send a signal to one process that runs a trial; None if there is none."""
        found = pids_in(self.sweep, self.stage, self.step)
        if not found:
            return None
        pid = self.rng.choice(found)
        command = command_of(pid)
        os.kill(pid, number)
        return command


# What was hit; None if nothing was.
Inject = Callable[[Aim], str | None]


def inject(name: str, aim: Aim) -> Fault | None:
    """Do a fault; what was at risk is written down just before. None if it hit nothing."""
    live = aim.sweep.live(aim.stage, aim.step)
    stages = ", ".join(sorted({progress.stage for _, progress in live})) or "none"
    redone = max((_steps_at_risk(path, progress) for path, progress in live), default=0)
    hit = FAULTS[name](aim)
    return None if hit is None else Fault(name, stages, redone, hit)


def _steps_at_risk(run: Path, progress: Progress) -> int:
    trial = run if progress.trial in ("main", "shared") else run / "trials" / progress.trial
    try:
        state = json.loads((trial / "stages" / progress.stage / "newest" / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return progress.step
    return max(0, progress.step - int(state.get("steps_done", 0)))


def kill_worker(aim: Aim) -> str | None:
    return aim.signal_one(signal.SIGKILL)


def tell_worker_to_leave(aim: Aim) -> str | None:
    return aim.signal_one(signal.SIGTERM)


def freeze_worker(aim: Aim) -> str | None:
    places = [read_worker_process(run, progress.trial) for run, progress in aim.sweep.live(aim.stage, max(1, aim.step))]
    found = sorted({place.pid for place in places if place is not None} & trial_processes().keys())
    if not found:
        return None
    pid = aim.rng.choice(found)
    os.kill(pid, signal.SIGSTOP)
    return command_of(pid)


def freeze_worker_between_trials(aim: Aim) -> str | None:
    """As soon as a trial is over: before its process has the next one."""
    over = {found[0] for found in _over(aim.sweep)}
    deadline = time.monotonic() + 120
    while aim.sweep.is_running and time.monotonic() < deadline:
        for key, place in _over(aim.sweep):
            if key not in over and place is not None and place.pid in trial_processes():
                os.kill(place.pid, signal.SIGSTOP)
                return f"{command_of(place.pid)} after {key[1]} of {key[0].name}"
        time.sleep(0.002)
    return None


def _over(sweep: Sweep) -> list[tuple[tuple[Path, str], WorkerProcess | None]]:
    every = [(run, progress) for run in sweep.runs() for progress in read_progress(run)]
    return [((run, p.trial), read_worker_process(run, p.trial)) for run, p in every if p.status == "finished"]


def starve_worker(aim: Aim) -> str | None:
    """No further page for a process, as where memory is short: it fails at whatever asks for one next."""
    found = pids_in(aim.sweep, aim.stage, aim.step)
    if not found:
        return None
    pid = aim.rng.choice(found)
    limited = subprocess.run(["prlimit", "--pid", str(pid), f"--as={512 * 2**20}"], check=False)
    return f"process {pid} may hold 512 MiB of addresses" if limited.returncode == 0 else None


def kill_driver(aim: Aim) -> str | None:
    process = aim.sweep.process
    if process is None or process.poll() is not None:
        return None
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(1)
    aim.sweep.start()
    return "and the command given again"


def stop_driver(aim: Aim) -> str | None:
    process = aim.sweep.process
    if process is None or process.poll() is not None:
        return None
    process.send_signal(signal.SIGTERM)
    code = process.wait(timeout=60)
    aim.sweep.start()
    return f"ended with {code}, and the command given again"


def kill_node(aim: Aim) -> str | None:
    aim.nodes.lose_one()
    aim.nodes.join_one()
    return "and another one joins"


def make_storage_read_only(aim: Aim) -> str | None:
    sweep = aim.sweep
    for _ in range(50):
        # What is open for writing keeps a mount busy, so try again.
        with suppress(subprocess.CalledProcessError), read_only(sweep.storage):
            time.sleep(sweep.outage_seconds)
            return f"for {sweep.outage_seconds:g} s"
        time.sleep(0.1)
    return None


def fill_disk(aim: Aim) -> str | None:
    sweep = aim.sweep
    before = shutil.disk_usage(sweep.storage).used
    with full(sweep.storage):
        time.sleep(sweep.outage_seconds)
    return f"for {sweep.outage_seconds:g} s; {before / 2**20:.0f} MiB were in use"


FAULTS: dict[str, Inject] = {
    "worker killed (-9)": kill_worker,
    "worker asked to leave (SIGTERM)": tell_worker_to_leave,
    "worker frozen": freeze_worker,
    "worker frozen between trials": freeze_worker_between_trials,
    "worker out of memory": starve_worker,
    "driver killed (-9)": kill_driver,
    "driver stopped (SIGTERM)": stop_driver,
    "node killed": kill_node,
    "storage read-only": make_storage_read_only,
    "disk full": fill_disk,
}
# Only root can mount what these need.
NEED_A_DISK = {"storage read-only", "disk full"}
