"""A driver of its own for trials that only wait; prints as JSON what became of them.

    python short_sweep.py '{"storage": "DIR", "name": "low", "trials": 8, "seconds": 1, "compute": {}}'

With ``nodes``, a list of CPUs and GPUs, it starts a cluster of them and runs there.
"""

import json
import logging
import os
import sys
import time
from contextlib import ExitStack
from typing import Any

from ray import tune
from ray.tune.result import RESULT_DUPLICATE
from storage_kit import LOCAL

from minidisc_ray.accounting.ledger import Ledger
from minidisc_ray.configs.loader import resolve
from minidisc_ray.driver.lease import leased
from minidisc_ray.pipeline.run_directory import open_run
from minidisc_ray.preparation.prepare import prepare
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.ray_backend.cluster import cluster
from minidisc_ray.ray_backend.experiment import fit_items
from minidisc_ray.ray_backend.policies.queue import Item, ItemQueue
from minidisc_ray.ray_backend.policies.resources import trials_at_once
from minidisc_ray.ray_backend.policies.retries import RetryPolicy
from minidisc_ray.ray_backend.policies.sharing import sharing_cluster
from minidisc_ray.ray_backend.supervision.stalls import read_worker_process, write_worker_process
from minidisc_ray.ray_backend.supervision.watching import in_thread
from minidisc_ray.ray_backend.trial_actor import TrialActor, report_end
from minidisc_ray.run_files.progress import Progress, write_progress


class WaitingTrial(TrialActor):  # type: ignore[misc]
    def setup(self, config: dict[str, Any], runs: dict[str, PreparedRun]) -> None:
        self.runs = runs
        super().setup(config, runs)

    def _trainable_func(self, config: dict[str, Any]) -> None:
        run, trial = self.runs[config["run"]], config["trial"]
        folder = run.run_folder
        write_worker_process(LOCAL, folder, trial)
        with Ledger(LOCAL, folder / "ledger.jsonl").attempt("stage", "wait", trial, 1, "cpu-core"):
            now = time.time()
            progress = Progress(
                trial=trial, status="running", stage="wait", stage_index=1, num_stages=1, started_at=now, updated_at=now
            )
            write_progress(LOCAL, folder, progress)
            time.sleep(run.config.finetune.learning_rate * 1000)
            write_progress(LOCAL, folder, progress.model_copy(update={"status": "finished"}))
        report_end(None)
        tune.report({RESULT_DUPLICATE: True})


def start_cluster(nodes: list[list[float]]) -> Any:
    from ray.cluster_utils import Cluster

    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for cpus, gpus in nodes:
        started.add_node(num_cpus=cpus, num_gpus=gpus)
    return started


def main() -> None:
    settings = json.loads(sys.argv[1])
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    with ExitStack() as stack:
        if settings.get("nodes"):
            started = start_cluster(settings["nodes"])
            stack.callback(started.shutdown)
            settings["compute"]["address"] = started.address
        recipe = {"storage": settings["storage"], "name": settings["name"], "compute": settings["compute"]}
        prepared = prepare(resolve(recipe, [f"finetune.learning_rate={settings['seconds'] / 1000}"]))
        compute = prepared.config.compute
        names = [f"trial-{number:03d}" for number in range(settings["trials"])]
        queue = ItemQueue([Item(prepared, name, name) for name in names], RetryPolicy.of(compute))
        lease = stack.enter_context(leased(LOCAL, prepared.run_folder))
        nodes = stack.enter_context(cluster(compute.address))
        turn = stack.enter_context(sharing_cluster(prepared.name, compute.priority))
        folder = open_run(prepared)
        at_once = trials_at_once(nodes, compute)
        with in_thread(fit_items, queue, at_once, folder / "ray", turn, WaitingTrial) as is_running:
            while is_running():
                lease.check()
        places = [read_worker_process(folder, name) for name in names]
        stages = [a for a in Ledger(LOCAL, folder / "ledger.jsonl").attempts() if a.kind == "stage"]
        print(
            json.dumps(
                {
                    "at_once": at_once,
                    "failed": {title: failure.sentence for title, failure in queue.failed.items()},
                    "nodes": [place.node_id for place in places if place is not None],
                    "stages": sorted((a.started_at, a.started_at + a.seconds) for a in stages),
                    "experiments": sorted(path.name for path in (folder / "ray").iterdir()),
                }
            )
        )


if __name__ == "__main__":
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    main()
