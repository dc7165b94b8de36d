"""The makespan of a sweep of equal trials on a few slots.

    python benchmarks/makespan.py --trials 12 --slots 2

Trials only sleep; all else is real: the queue, Ray Tune and reused actors. The best possible makespan is
trials / slots times a trial's seconds.
"""

import argparse
import logging
import os
import tempfile
import time
from typing import Any

import ray
from ray import tune
from ray.tune.result import RESULT_DUPLICATE

from minidisc_ray.configs.loader import resolve
from minidisc_ray.pipeline.run_directory import open_run
from minidisc_ray.preparation.prepare import prepare
from minidisc_ray.ray_backend.experiment import fit_items
from minidisc_ray.ray_backend.policies.queue import Item, ItemQueue
from minidisc_ray.ray_backend.policies.retries import RetryPolicy
from minidisc_ray.ray_backend.policies.sharing import sharing_cluster
from minidisc_ray.ray_backend.trial_actor import TrialActor, report_end

TRIAL_SECONDS = 5.0


class WaitingTrial(TrialActor):  # type: ignore[misc]
    """A trial of known duration."""

    def _trainable_func(self, config: dict[str, Any]) -> None:  # noqa: ARG002
        time.sleep(TRIAL_SECONDS)
        report_end(None)
        # Ray's own function actor ends in this way.
        tune.report({RESULT_DUPLICATE: True})


def measure(num_trials: int, num_slots: int) -> float:
    """Seconds from the start of the first trial to the end of the last, without the start of Ray."""
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    ray.init(address="local", num_cpus=num_slots, log_to_driver=False, logging_level=logging.ERROR)
    try:
        with tempfile.TemporaryDirectory() as storage:
            prepared = prepare(resolve({"storage": storage, "name": "makespan"}))
            items = [Item(prepared, name, name) for name in (f"trial-{number:02d}" for number in range(num_trials))]
            queue = ItemQueue(items, RetryPolicy.of(prepared.config.compute))
            folder = open_run(prepared)
            with sharing_cluster(prepared.name, 0) as turn:
                started_at = time.monotonic()
                fit_items(queue, num_slots, folder / "ray", turn, WaitingTrial)
                seconds = time.monotonic() - started_at
            assert len(queue.succeeded) == num_trials, queue.failed
            return seconds
    finally:
        ray.shutdown()


def main() -> None:
    """Print the makespan and the best possible one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--slots", type=int, default=2)
    arguments = parser.parse_args()
    best = arguments.trials / arguments.slots * TRIAL_SECONDS
    print(f"{measure(arguments.trials, arguments.slots):.1f} s; {best:.0f} s is the best possible")


if __name__ == "__main__":
    main()
