"""Which nodes a sweep's trials lie on: the rule by which Ray fills a cluster, as a function of plain numbers.

Ray grants each trial a placement group, and puts it where most of what it asks for stays free: nodes of one size are
filled evenly, and a larger one is filled first until no more is left on it than on the others. Workers of one trial
stay together (``PACK``) as far as a node has room for them.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from minidisc_ray.configs.training import ComputeConfig
from minidisc_ray.ray_backend.policies.resources import Node, trials_at_once, workers_on


@dataclass(frozen=True)
class Place:
    """Where one worker runs.

    Attributes:
        node: its index.
        gpu: the index of its GPU on that node; None for a worker without one. A share of a GPU never spans two.
    """

    node: int
    gpu: int | None


def place_trials(nodes: Sequence[Node], compute: ComputeConfig, count: int | None = None) -> list[tuple[Place, ...]]:
    """Where equal trials lie that start together on an empty cluster.

    Args:
        nodes: what each of them has.
        compute: what a trial takes, and the run's own caps.
        count: of trials; by default, and at most, as many as these nodes hold at once.

    Returns:
        Each trial's workers, in the order of starting.

    Raises:
        UserError: if the cluster holds no trial.
    """
    rooms = [workers_on(node, compute) for node in nodes]
    at_once = min(trials_at_once(nodes, compute), sum(rooms) // compute.num_workers)
    on_each_gpu = int(1 / compute.gpus_per_worker + 1e-6) if compute.gpus_per_worker > 0 else 0
    used = [0] * len(nodes)
    # Most room first; of equals the first.
    heap = [(-room, index) for index, room in enumerate(rooms) if room > 0]
    heapq.heapify(heap)
    trials = []
    for _ in range(at_once if count is None else min(count, at_once)):
        workers: list[Place] = []
        while len(workers) < compute.num_workers:
            room, index = heapq.heappop(heap)
            taken = min(-room, compute.num_workers - len(workers))
            for number in range(used[index], used[index] + taken):
                workers.append(Place(index, number // on_each_gpu if on_each_gpu else None))
            used[index] += taken
            if room + taken < 0:
                heapq.heappush(heap, (room + taken, index))
        trials.append(tuple(workers))
    return trials
