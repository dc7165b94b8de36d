"""The bound on Gaussians, whose mutual information is known."""

import functools
import math

import pytest
import torch
from slow_kit import mostly_slow
from torch import optim

from minidisc_ray.core.mutual_info import interpolated_bound
from minidisc_ray.objectives._critics import Critic

DIMENSIONS = 4


def gaussians(count, correlation, generator):
    """Pairs whose coordinates correlate one by one: ``I = -d/2 log(1 - r^2)`` nats."""
    x = torch.randn(count, DIMENSIONS, generator=generator)
    noise = torch.randn(count, DIMENSIONS, generator=generator)
    return x, correlation * x + math.sqrt(1 - correlation**2) * noise


def information(correlation):
    return -DIMENSIONS / 2 * math.log(1 - correlation**2)


def best_scores(x, y, correlation):
    """``log p(y|x) / p(y)``, the critic that makes the bound tight, for every x_j and y_i."""
    variance = 1 - correlation**2
    squares = (y.unsqueeze(0) - correlation * x.unsqueeze(1)).square().sum(-1)
    return -squares / (2 * variance) - DIMENSIONS / 2 * math.log(variance) + y.square().sum(-1) / 2


@functools.cache
def batches_of_best_scores(correlation):
    generator = torch.Generator().manual_seed(0)
    return [best_scores(*gaussians(64, correlation, generator), correlation) for _ in range(200)]


@pytest.mark.parametrize("correlation", mostly_slow((0.3, 0.6, 0.8), (0.3, 0.8)))
@pytest.mark.parametrize("alpha", mostly_slow((0.0, 0.1, 0.5, 0.9, 1.0), (0.0, 0.5, 1.0)))
def test_with_the_best_critic_it_is_close_below_the_truth(correlation, alpha):
    # log q(y) = log E e^f = 0 for this critic.
    bounds = [interpolated_bound(scores, torch.zeros(64), alpha) for scores in batches_of_best_scores(correlation)]
    estimates = torch.stack(bounds)
    error = 3 * estimates.std().item() / math.sqrt(len(bounds))
    truth = information(correlation)
    assert estimates.mean().item() < truth + error + 0.01
    assert estimates.mean().item() > 0.85 * truth - error


def test_at_alpha_one_it_never_passes_what_a_batch_can_tell():
    generator = torch.Generator().manual_seed(1)
    x, y = gaussians(16, 0.999, generator)
    bound = interpolated_bound(best_scores(x, y, 0.999), torch.zeros(16), 1.0).item()
    assert math.log(15) - 0.2 < bound <= math.log(15) + 1e-5 < information(0.999)


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_it_equals_a_loop_from_the_equation(alpha):
    generator = torch.Generator().manual_seed(2)
    count = 5
    scores = torch.randn(count, count, generator=generator)
    log_baseline = torch.randn(count, generator=generator)

    def denominator(i, left_out):
        kept = [math.exp(scores[j, i].item()) for j in range(count) if j != left_out]
        return alpha * sum(kept) / len(kept) + (1 - alpha) * math.exp(log_baseline[i].item())

    apart = [(i, j) for i in range(count) for j in range(count) if j != i]
    first = [math.log(math.exp(scores[i, i].item()) / denominator(i, left_out)) for i, left_out in apart]
    second = [math.exp(scores[j, i].item()) / denominator(i, i) for i, j in apart]
    expected = sum(first) / len(first) - sum(second) / len(second) + 1
    assert interpolated_bound(scores, log_baseline, alpha).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_rows_have_no_bound_but_a_gradient(count):
    scores = torch.randn(count, count, requires_grad=True)
    bound = interpolated_bound(scores, torch.zeros(count), 0.5)
    bound.backward()
    assert bound.item() == 0.0
    assert not scores.grad.any()


@pytest.mark.parametrize("kind", ["mlp", "transformer"])
def test_a_trained_critic_finds_most_of_the_information(kind):
    """Rows of one token, which is the sample: half of 1.79 nats are found within a hundred steps, and never more."""
    generator = torch.Generator().manual_seed(3)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        critic = Critic(kind, frozenset({1}), frozenset({1}), DIMENSIONS, DIMENSIONS)
    optimizer = optim.Adam(critic.parameters(), lr=1e-3)
    mask = torch.ones(32, 1)

    def bound():
        x, y = gaussians(32, 0.77, generator)
        ours = critic.encode_student(1, x.unsqueeze(1), mask)
        theirs, log_baseline = critic.encode_teacher(1, y.unsqueeze(1), mask)
        return interpolated_bound(critic.scores(ours, theirs), log_baseline, 0.9)

    for _ in range(80):
        optimizer.zero_grad()
        (-bound()).backward()
        optimizer.step()
    with torch.no_grad():
        estimate = torch.stack([bound() for _ in range(50)]).mean().item()
    assert 0.5 * information(0.77) < estimate < information(0.77) + 0.1
