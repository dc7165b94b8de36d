"""Gradients are clipped the same way whether norms are looked at at once or later."""

import functools
import math

import pytest
import torch
from storage_kit import LOCAL
from training_kit import ROWS, learner_of, train_rows, training

from minidisc_ray.models.elastic import FlatGradients
from minidisc_ray.training import loop
from minidisc_ray.training.clipping import Clipping
from minidisc_ray.training.loop import TrainingError, train


def gradients_of(values):
    gradients = FlatGradients(torch.nn.Linear(len(values), 1, bias=False))
    gradients.buffer.copy_(torch.tensor(values))
    return gradients


@pytest.mark.parametrize("is_deferred", [True, False])
@pytest.mark.parametrize(
    ("values", "expected"), [([3.0, 4.0], [0.6, 0.8]), ([0.3, 0.4], [0.3, 0.4]), ([0.0, 0.0], [0.0, 0.0])]
)
def test_norms_above_the_largest_become_it(is_deferred, values, expected):
    gradients = gradients_of(values)
    clipping = Clipping([gradients], 1.0, is_deferred)
    clipping.clip_(0)
    torch.testing.assert_close(gradients.buffer, torch.tensor(expected))
    assert clipping.broken_step() is None


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_the_first_broken_step_is_named_however_late_it_is_asked_for(value):
    student, parts = gradients_of([1.0, 1.0]), gradients_of([1.0])
    clipping = Clipping([student, parts], 1.0, is_deferred=True)
    for step in range(5):
        if step == 3:
            parts.buffer.fill_(value)
        clipping.clip_(step)
    assert not clipping.is_due
    assert clipping.broken_step() == 3
    assert clipping.broken_step() is None, "those were asked for"


def test_norms_do_not_pile_up():
    clipping = Clipping([gradients_of([1.0])], 1.0, is_deferred=True)
    for step in range(64):
        assert not clipping.is_due
        clipping.clip_(step)
    assert clipping.is_due


def test_a_late_look_stops_the_stage_at_the_same_step_before_anything_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "Clipping", lambda gradients, norm, is_deferred: Clipping(gradients, norm, True))
    config = training(num_epochs=3)
    learner = learner_of(config)
    broken = math.ceil(ROWS / 8) + 2

    class Breaker:
        def on_step(self, step, num_steps, epoch, losses):
            if step == broken:
                with torch.no_grad():
                    next(learner.elastic.shared.parameters()).fill_(math.nan)

        def on_epoch(self, record, checkpoint):
            assert record.epoch == 1

    with pytest.raises(TrainingError, match=f"not finite at step {broken + 1}"):
        train(learner, train_rows(), config, 0, LOCAL, tmp_path, Breaker())


def test_training_goes_the_same_way_but_for_rounding(tmp_path, monkeypatch):
    def last_weights(name):
        learner = learner_of(training())
        train(learner, train_rows(), training(max_gradient_norm=0.1), 0, LOCAL, tmp_path / name, Silent())
        return torch.cat([one.detach().flatten() for one in learner.elastic.shared.parameters()])

    at_once = last_weights("at-once")
    later = functools.partial(Clipping, is_deferred=True)
    monkeypatch.setattr(loop, "Clipping", lambda gradients, norm, is_deferred: later(gradients, norm))
    torch.testing.assert_close(last_weights("later"), at_once, rtol=1e-3, atol=1e-4)


class Silent:
    def on_step(self, *_):
        pass

    def on_epoch(self, *_):
        pass
