"""The cost of many short trials for the driver: memory, and seconds a trial at the start and at the end of a sweep.

    python benchmarks/many_trials.py --trials 1000

Trials end at once, but all else is real: queue, searcher, reused actors, ledger, progress files and display, on a local
Ray. Both numbers leave out the first trials, during which actors and Tune start.
"""

import argparse
import io
import json
import logging
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import ray
from ray import tune
from ray.tune.result import RESULT_DUPLICATE
from rich.console import Console

from minidisc_ray.accounting.ledger import Ledger
from minidisc_ray.cli.lines import Lines
from minidisc_ray.cli.live import watching_trials
from minidisc_ray.configs.loader import resolve
from minidisc_ray.driver.lease import leased
from minidisc_ray.files.storage import Storage
from minidisc_ray.pipeline.run_directory import open_run
from minidisc_ray.preparation.prepare import prepare
from minidisc_ray.ray_backend import trial_actor
from minidisc_ray.ray_backend.experiment import fit_items
from minidisc_ray.ray_backend.policies.queue import Item, ItemQueue
from minidisc_ray.ray_backend.policies.retries import RetryPolicy
from minidisc_ray.ray_backend.policies.sharing import sharing_cluster
from minidisc_ray.ray_backend.run import RunMonitor
from minidisc_ray.ray_backend.supervision.watching import in_thread
from minidisc_ray.ray_backend.trial_actor import TrialActor, report_end
from minidisc_ray.run_files.progress import Progress, write_progress

_WARM_UP_TRIALS = 20
_SHARE = 0.1  # of the trials, at the start and at the end, for seconds a trial


class ShortTrial(TrialActor):  # type: ignore[misc]
    """A trial whose stage ends at once."""

    def _trainable_func(self, config: dict[str, Any]) -> None:
        # Through the module: an imported name would be pickled with the class, with the driver's empty value.
        folder, trial = trial_actor._runs[config["run"]].run_folder, config["trial"]
        now = time.time()
        with Ledger(Storage("/"), folder / "ledger.jsonl").attempt("stage", "nothing", trial, 1, "cpu-core"):
            for status in ("running", "finished"):
                progress = Progress(
                    trial=trial, status=status, stage="nothing", stage_index=1, num_stages=1, started_at=now,
                    updated_at=time.time(),
                )  # fmt: skip
                write_progress(Storage("/"), folder, progress)
        report_end(None)
        # Ray's own function actor ends in this way.
        tune.report({RESULT_DUPLICATE: True})


def measure(num_trials: int, num_cpus: int, storage: Path) -> dict[str, float]:
    """Run the trials, and sample the driver's memory and the number of finished trials."""
    prepared = prepare(resolve({"storage": str(storage), "name": "many-trials"}))
    items = [Item(prepared, name, name) for name in (f"trial-{number:05d}" for number in range(num_trials))]
    queue = ItemQueue(items, RetryPolicy.of(prepared.config.compute))
    samples: list[tuple[float, int, int]] = []
    is_over = threading.Event()
    process = psutil.Process()

    def sample() -> None:
        while True:
            samples.append((time.monotonic(), len(queue.succeeded), process.memory_info().rss))
            if is_over.wait(0.1):
                return

    with leased(Storage("/"), prepared.run_folder) as lease, sharing_cluster(prepared.name, 0) as turn:
        folder = open_run(prepared)
        with watching_trials(Lines(Console(file=io.StringIO(), force_terminal=True, width=120))) as watch:
            monitor = RunMonitor([prepared], queue, lease, None, watch)
            sampler = threading.Thread(target=sample)
            sampler.start()
            started_at = time.monotonic()
            try:
                with in_thread(fit_items, queue, num_cpus, folder / "ray", turn, ShortTrial) as is_running:
                    while is_running():
                        monitor.check()
            finally:
                seconds = time.monotonic() - started_at
                is_over.set()
                sampler.join()
    assert len(queue.succeeded) == num_trials, queue.failed
    attempts = Ledger(Storage("/"), folder / "ledger.jsonl").attempts()
    # A trial may have two holds, if its actor starts so slowly that it gets another one.
    assert len({attempt.trial for attempt in attempts if attempt.kind == "hold"}) == num_trials
    assert sum(attempt.kind == "stage" for attempt in attempts) == num_trials
    part = round(_SHARE * num_trials)
    first = _seconds(samples, _WARM_UP_TRIALS, _WARM_UP_TRIALS + part) / part
    last = _seconds(samples, num_trials - part, num_trials) / part
    warm = next(rss for _, done, rss in samples if done >= _WARM_UP_TRIALS)
    return {
        "trials": num_trials,
        "seconds": seconds,
        "seconds_per_trial_first": first,
        "seconds_per_trial_last": last,
        "last_over_first": last / first,
        "rss_mib_warm": warm / 2**20,
        "rss_mib_most": max(rss for _, _, rss in samples) / 2**20,
        "growth_mb": (max(rss for _, _, rss in samples) - warm) / 1e6,
        "seconds_after_the_last_trial": started_at + seconds - _when(samples, num_trials),
    }


def _when(samples: list[tuple[float, int, int]], done: int) -> float:
    return next(at for at, found, _ in samples if found >= done)


def _seconds(samples: list[tuple[float, int, int]], begin: int, end: int) -> float:
    return _when(samples, end) - _when(samples, begin)


def main() -> None:
    """Print the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--cpus", type=int, default=os.cpu_count() or 1, help="number of trials that run at once")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    arguments = parser.parse_args()
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    ray.init(address="local", num_cpus=arguments.cpus, log_to_driver=False, logging_level=logging.ERROR)
    try:
        with tempfile.TemporaryDirectory() as storage:
            found = measure(arguments.trials, arguments.cpus, Path(storage))
    finally:
        ray.shutdown()
    if arguments.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:32} {value:10.3f}")


if __name__ == "__main__":
    main()
