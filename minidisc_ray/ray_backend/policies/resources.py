"""How many trials a cluster holds, from the resources that a recipe needs and those of the nodes."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.training import ComputeConfig

_ROUNDING = 1e-6


@dataclass(frozen=True)
class Node:
    """Resources of one node that is alive."""

    cpus: float
    gpus: float = 0.0


def workers_on(node: Node, compute: ComputeConfig) -> int:
    """How many workers a node holds; a fraction of a GPU never spans two."""
    by_cpu = int(node.cpus / compute.cpus_per_worker + _ROUNDING)
    if compute.gpus_per_worker == 0:
        return by_cpu
    on_each_gpu = int(1 / compute.gpus_per_worker + _ROUNDING)
    return min(by_cpu, int(node.gpus) * on_each_gpu)


def trials_at_once(nodes: Sequence[Node], compute: ComputeConfig) -> int:
    """How many whole trials the cluster holds at the same time, within the recipe's caps.

    More must not start where trials have several workers: two trials that each hold some of their workers, and wait
    for the rest, would never end.

    Raises:
        UserError: if the cluster holds none; the message says what is missing.
    """
    if compute.autoscaling:
        # The nodes of now do not limit it: the autoscaler adds more while trials wait.
        assert compute.max_concurrent_trials is not None
        return min(compute.max_concurrent_trials, most_within_caps(compute))
    places = [workers_on(node, compute) for node in nodes]
    if not any(places):
        _refuse_worker(nodes, compute)
    count = sum(places) // compute.num_workers
    if count == 0:
        raise UserError(
            f"this plan needs {compute.num_workers} workers at once, each with {_worker(compute)}; the cluster holds "
            f"{sum(places)}. Lower compute.num_workers, or add nodes."
        )
    return min(count, compute.max_concurrent_trials or count, most_within_caps(compute))


def most_within_caps(compute: ComputeConfig) -> int:
    """How many trials ``max_cpus`` and ``max_gpus`` allow at once; the config checks that they allow one."""
    of_trial = (
        (compute.max_cpus, compute.num_workers * compute.cpus_per_worker),
        (compute.max_gpus, compute.num_workers * compute.gpus_per_worker),
    )
    counts = [int(cap / need + _ROUNDING) for cap, need in of_trial if cap is not None and need > 0]
    return max(1, min(counts, default=sys.maxsize))


def _refuse_worker(nodes: Sequence[Node], compute: ComputeConfig) -> None:
    cpus = max((node.cpus for node in nodes), default=0.0)
    gpus = max((node.gpus for node in nodes), default=0.0)
    if cpus < compute.cpus_per_worker:
        raise UserError(
            f"this plan needs {compute.cpus_per_worker} CPUs for one worker; the largest node has {cpus:g}. Lower "
            "compute.cpus_per_worker, or add a node."
        )
    if gpus < compute.gpus_per_worker:
        raise UserError(
            f"this plan needs {compute.gpus_per_worker:g} GPUs for one worker; the largest node has {gpus:g}. Lower "
            "compute.gpus_per_worker, or add a node."
        )
    raise UserError(
        f"this plan needs {_worker(compute)} for one worker; no node has both. Lower compute.cpus_per_worker, or add a "
        "node."
    )


def _worker(compute: ComputeConfig) -> str:
    gpus = f" and {compute.gpus_per_worker:g} GPUs" if compute.gpus_per_worker else ""
    return f"{compute.cpus_per_worker} CPUs{gpus}"
