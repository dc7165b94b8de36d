import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minidisc_ray.configs import UserError
from minidisc_ray.configs.training import ComputeConfig
from minidisc_ray.ray_backend.policies.resources import Node, trials_at_once, workers_on


@pytest.mark.parametrize(
    ("nodes", "compute", "expected"),
    [
        ([Node(1)], {}, 1),
        ([Node(8)], {}, 8),
        ([Node(8)], {"cpus_per_worker": 3}, 2),
        # CPUs of two nodes never make one worker, but workers of one trial may lie on two nodes.
        ([Node(3), Node(3)], {"cpus_per_worker": 2}, 2),
        ([Node(2), Node(2)], {"num_workers": 4}, 1),
        ([Node(2), Node(2)], {"num_workers": 3}, 1),
        ([Node(4), Node(2)], {"num_workers": 3}, 2),
        ([Node(0), Node(4)], {}, 4),  # a head without CPUs, as KubeRay has it
        ([Node(16)] * 64, {"cpus_per_worker": 4, "num_workers": 8}, 32),
        ([Node(16)] * 32 + [Node(64)] * 32, {"cpus_per_worker": 16}, 160),
        ([Node(96, 8)] * 1000, {"gpus_per_worker": 1.0, "cpus_per_worker": 4}, 8000),
        ([Node(96, 8)] * 500 + [Node(4)] * 500, {"gpus_per_worker": 1.0}, 4000),
        ([Node(16)] * 1000, {"max_concurrent_trials": 17}, 17),
        ([Node(2)], {"max_concurrent_trials": 17}, 2),
    ],
)
def test_as_many_trials_as_the_cluster_holds(nodes, compute, expected):
    assert trials_at_once(nodes, ComputeConfig(**compute)) == expected


@pytest.mark.parametrize(
    ("share", "gpus", "workers"),
    [(0.25, 1, 4), (0.25, 2, 8), (0.3, 1, 3), (0.3, 2, 6), (0.5, 3, 6), (0.6, 2, 2), (0.1, 1, 10), (1.0, 8, 8)],
)
def test_a_share_of_a_gpu_never_spans_two(share, gpus, workers):
    assert workers_on(Node(64, gpus), ComputeConfig(gpus_per_worker=share)) == workers


@pytest.mark.parametrize("share", [1 / 3, 1 / 7, 0.05, 0.2])
def test_shares_that_binary_fractions_cannot_hold_still_fill_a_gpu(share):
    assert workers_on(Node(64, 1), ComputeConfig(gpus_per_worker=share)) == round(1 / share)


def test_the_scarcer_of_cpus_and_gpus_decides():
    compute = ComputeConfig(gpus_per_worker=0.25, cpus_per_worker=4)
    assert workers_on(Node(8, 1), compute) == 2
    assert workers_on(Node(64, 1), compute) == 4
    assert workers_on(Node(64, 0), compute) == 0


NODES = st.builds(
    Node,
    cpus=st.sampled_from([0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 64.0, 96.0]),
    gpus=st.sampled_from([0.0, 0.0, 1.0, 2.0, 4.0, 8.0]),
)
COMPUTE = st.builds(
    ComputeConfig,
    num_workers=st.integers(1, 5),
    cpus_per_worker=st.sampled_from([1, 2, 3, 4]),
    gpus_per_worker=st.sampled_from([0.0, 0.1, 0.25, 0.3, 1 / 3, 0.5, 0.6, 1.0]),
)


@settings(max_examples=100, deadline=None)
@given(
    nodes=st.sampled_from([1, 3, 64]).flatmap(lambda size: st.lists(NODES, min_size=size, max_size=size)),
    compute=COMPUTE,
)
def test_any_cluster_holds_as_many_trials_as_are_started_and_not_one_more(nodes, compute):
    rooms = [workers_on(node, compute) for node in nodes]
    for node, room in zip(nodes, rooms, strict=True):
        assert room * compute.cpus_per_worker <= node.cpus
        one_more_fits = node.cpus >= (room + 1) * compute.cpus_per_worker
        if compute.gpus_per_worker > 0:
            # A worker has its share on one GPU.
            on_each = next(count for count in range(20, 0, -1) if count * compute.gpus_per_worker <= 1 + 1e-6)
            assert math.ceil(room / on_each) <= node.gpus
            one_more_fits = one_more_fits and math.ceil((room + 1) / on_each) <= node.gpus
        assert not one_more_fits
    try:
        at_once = trials_at_once(nodes, compute)
    except UserError:
        at_once = 0
    # A trial that waits for its workers beside others that do the same would wait for ever.
    assert at_once * compute.num_workers <= sum(rooms) < (at_once + 1) * compute.num_workers


@pytest.mark.parametrize(
    ("nodes", "compute", "sentence"),
    [
        (
            [Node(2), Node(4)],
            {"cpus_per_worker": 512},
            r"needs 512 CPUs for one worker; the largest node has 4\. Lower",
        ),
        ([Node(64)], {"gpus_per_worker": 1.0}, r"needs 1 GPUs for one worker; the largest node has 0\. Lower"),
        ([Node(64, 1)] * 3, {"gpus_per_worker": 1.0, "num_workers": 4}, r"needs 4 workers at once.*holds 3\. Lower"),
        ([Node(2)], {"num_workers": 3}, r"needs 3 workers at once, each with 1 CPUs; the cluster holds 2\. Lower"),
        ([], {}, r"needs 1 CPUs for one worker; the largest node has 0"),
    ],
)
def test_a_plan_that_no_cluster_holds_is_refused_with_what_is_missing(nodes, compute, sentence):
    with pytest.raises(UserError, match=sentence):
        trials_at_once(nodes, ComputeConfig(**compute))


def test_gpus_on_a_node_without_cpus_are_reported_truly():
    """One node has the CPUs and another the GPUs: neither holds a worker, and the sentence must not blame one alone."""
    with pytest.raises(UserError) as refused:
        trials_at_once([Node(8, 0), Node(1, 4)], ComputeConfig(gpus_per_worker=1.0, cpus_per_worker=4))
    message = str(refused.value)
    assert "needs 1 GPUs for one worker; the largest node has 4" not in message
    assert "no node has both" in message


@pytest.mark.parametrize(
    ("compute", "at_once"),
    [
        ({"max_cpus": 5}, 5),
        ({"max_cpus": 5, "cpus_per_worker": 2}, 2),
        ({"max_cpus": 4.5, "num_workers": 2, "cpus_per_worker": 2}, 1),
        ({"max_cpus": 1000}, 16),
        ({"max_gpus": 3, "gpus_per_worker": 1.0}, 3),
        ({"max_gpus": 1, "gpus_per_worker": 0.1}, 10),
        ({"max_gpus": 0}, 16),  # trials without GPUs
        ({"max_gpus": 3, "gpus_per_worker": 0.5, "max_cpus": 4}, 4),
        ({"max_cpus": 8, "max_concurrent_trials": 3}, 3),
        ({"max_cpus": 3, "max_concurrent_trials": 8}, 3),
    ],
)
def test_a_run_holds_no_more_than_its_own_caps(compute, at_once):
    config = ComputeConfig(**compute)
    assert trials_at_once([Node(8, 4), Node(8, 4)], config) == at_once
    for cap, each in ((config.max_cpus, config.cpus_per_worker), (config.max_gpus, config.gpus_per_worker)):
        assert cap is None or at_once * config.num_workers * each <= cap + 1e-6


def test_nodes_that_will_come_when_asked_for_are_not_required_to_be_there():
    compute = {"autoscaling": True, "max_concurrent_trials": 64, "gpus_per_worker": 1.0, "num_workers": 8}
    assert trials_at_once([Node(2)], ComputeConfig(**compute)) == 64
    assert trials_at_once([], ComputeConfig(**compute)) == 64
    assert trials_at_once([], ComputeConfig(**compute, max_gpus=24)) == 3
