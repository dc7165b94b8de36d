"""Wait until an autoscaled cluster has the nodes that a command needs, then replace this process by that command.

python cluster/wait_for_nodes.py --nodes 4 --gpus 1 --cpus 4 -- python jobs/study.py studies/table-05.yaml

A run plans with the nodes that exist when it starts, and an idle autoscaled cluster has none. A placement group asks
the autoscaler for them and is removed just before the command starts; idle nodes are kept for minutes, so they are
still there.
"""

import argparse
import os
import sys
from collections.abc import Sequence

import ray
from ray._private.runtime_env.constants import RAY_JOB_CONFIG_JSON_ENV_VAR
from ray.util.placement_group import placement_group, remove_placement_group


def wait_for_nodes(count: int, cpus: float, gpus: float, minutes: float) -> bool:
    """Ask for ``count`` bundles, spread over nodes if possible; returns whether Ray granted them within ``minutes``."""
    bundle = {name: amount for name, amount in (("CPU", cpus), ("GPU", gpus)) if amount > 0}
    group = placement_group([dict(bundle) for _ in range(count)], strategy="SPREAD")
    try:
        return bool(group.wait(timeout_seconds=minutes * 60))
    finally:
        remove_placement_group(group)


def main(arguments: Sequence[str]) -> None:
    """Wait, then replace this process by the command; exits with 1 if the nodes did not come in time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, required=True, help="number of bundles, each on its own node if possible")
    parser.add_argument("--cpus", type=float, default=1.0, help="CPUs of each bundle")
    parser.add_argument("--gpus", type=float, default=0.0, help="GPUs of each bundle")
    parser.add_argument("--minutes", type=float, default=30.0, help="how long to wait")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="after --: the command to start")
    options = parser.parse_args(arguments)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if options.nodes < 1 or (options.cpus <= 0 and options.gpus <= 0) or not command:
        parser.error("needs --nodes of 1 or more, --cpus or --gpus above 0, and a command after --")
    wanted = f"{options.nodes} x {options.cpus:g} CPUs and {options.gpus:g} GPUs"
    print(f"waiting for {wanted}", flush=True)
    # Ray deletes a job's working directory when a driver that uses it ends. This driver ends before the command does,
    # so it connects without that setting; address and token still come from the environment.
    job_config = os.environ.pop(RAY_JOB_CONFIG_JSON_ENV_VAR, None)
    ray.init(address="auto", log_to_driver=False)
    try:
        came = wait_for_nodes(options.nodes, options.cpus, options.gpus, options.minutes)
    finally:
        ray.shutdown()
    if job_config is not None:
        os.environ[RAY_JOB_CONFIG_JSON_ENV_VAR] = job_config
    if not came:
        sys.exit(
            f"the cluster did not grow to {wanted} in {options.minutes:g} minutes; see `ray status`, ask for less, or "
            "raise --minutes"
        )
    os.execvp(command[0], command)  # noqa: S606 - signals of the job's stop must reach the command itself


if __name__ == "__main__":
    main(sys.argv[1:])
