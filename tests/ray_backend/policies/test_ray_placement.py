"""Where trials lie, decided without a cluster; beside it eight real nodes, which are filled as the rule says."""

import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidisc_ray.configs import UserError
from minidisc_ray.configs.training import ComputeConfig
from minidisc_ray.ray_backend.policies.placement import place_trials
from minidisc_ray.ray_backend.policies.resources import Node, trials_at_once, workers_on

NODES = st.builds(
    Node,
    cpus=st.sampled_from([0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 96.0]),
    gpus=st.sampled_from([0.0, 0.0, 1.0, 2.0, 4.0, 8.0]),
)
CLUSTERS = st.sampled_from([1, 3, 64, 1000]).flatmap(lambda size: st.lists(NODES, min_size=size, max_size=size))
COMPUTE = st.builds(
    ComputeConfig,
    num_workers=st.integers(1, 5),
    cpus_per_worker=st.sampled_from([1, 2, 3, 4]),
    gpus_per_worker=st.sampled_from([0.0, 0.1, 0.25, 0.3, 1 / 3, 0.5, 0.6, 1.0]),
)


@settings(max_examples=30, deadline=None)
@given(nodes=CLUSTERS, compute=COMPUTE, share=st.floats(0.0, 1.0))
def test_placement_of_any_cluster(nodes, compute, share):
    try:
        at_once = trials_at_once(nodes, compute)
    except UserError:
        with pytest.raises(UserError):
            place_trials(nodes, compute)
        return
    begun = time.perf_counter()
    trials = place_trials(nodes, compute)
    assert time.perf_counter() - begun < 1.0
    # As many as the cluster holds, none of them cut short, and the same again.
    assert len(trials) == at_once
    assert all(len(workers) == compute.num_workers for workers in trials)
    assert place_trials(nodes, compute) == trials
    # Those that start first lie where they lie, however many follow.
    count = int(share * at_once)
    assert place_trials(nodes, compute, count) == trials[:count]
    _check_capacity(nodes, compute, trials)
    _check_evenness(nodes, compute, trials[:count])


def _check_capacity(nodes, compute, trials):
    on_node = Counter(place.node for workers in trials for place in workers)
    for index, workers in on_node.items():
        assert workers * compute.cpus_per_worker <= nodes[index].cpus
    on_gpu = Counter((place.node, place.gpu) for workers in trials for place in workers)
    for (index, gpu), workers in on_gpu.items():
        assert (gpu is None) == (compute.gpus_per_worker == 0)
        if gpu is not None:
            # A worker has one GPU by its index, so none spans two; those that share one fit it.
            assert 0 <= gpu < nodes[index].gpus
            assert workers * compute.gpus_per_worker <= 1 + 1e-6


def _check_evenness(nodes, compute, trials):
    rooms = [workers_on(node, compute) for node in nodes]
    on_node = Counter(place.node for workers in trials for place in workers)
    left = [room - on_node[index] for index, room in enumerate(rooms)]
    if compute.num_workers == 1:
        # What is left differs by at most one from any node that was given a trial: equal nodes have equal counts.
        assert all(left[index] + 1 >= max(left) for index in on_node)
    # Nobody waits while a whole trial would fit.
    assert len(trials) < trials_at_once(nodes, compute) or sum(left) < compute.num_workers


@pytest.mark.parametrize(("count", "fewest", "most"), [(8, 1, 1), (12, 1, 2), (16, 2, 2), (3, 0, 1)])
def test_equal_nodes_differ_by_at_most_one(count, fewest, most):
    nodes = [Node(2, 2)] * 8
    trials = place_trials(nodes, ComputeConfig(gpus_per_worker=1.0), count)
    on_node = Counter(workers[0].node for workers in trials)
    counts = [on_node[index] for index in range(8)]
    assert (min(counts), max(counts)) == (fewest, most)


def test_workers_of_a_trial_stay_together_as_far_as_they_can():
    trials = place_trials([Node(4), Node(3), Node(2)], ComputeConfig(num_workers=3))
    assert [[place.node for place in workers] for workers in trials] == [[0, 0, 0], [1, 1, 1], [2, 2, 0]]


def test_nodes_that_are_not_there_yet_hold_nothing():
    compute = ComputeConfig(autoscaling=True, max_concurrent_trials=10)
    assert len(place_trials([Node(2)], compute)) == 2
    assert place_trials([], compute) == []
