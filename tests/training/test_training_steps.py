"""One step of a stage: its gradient, its learning rate, decay and clipping."""

import math

import pytest
import torch
from storage_kit import LOCAL
from tiny_models import FAMILY_NAMES, max_difference, student_of
from training_kit import (
    ROWS,
    learner_of,
    load_checkpoint,
    train_rows,
    training,
    weights_of,
)

from minidisc_ray.core.structure import Structure
from minidisc_ray.core.trace import Totals
from minidisc_ray.data import collate, epoch_batches, shard
from minidisc_ray.models.elastic import FlatGradients
from minidisc_ray.training.loop import TrainingError, build_optimizer, learning_rate_at, train
from minidisc_ray.training.state import EpochRecord, TrainingState, save_checkpoint

EPOCH = EpochRecord(
    epoch=1,
    losses={"hidden": 1.0},
    metrics={10: {"accuracy": 50.0}},
    selection_score=50.0,
    selection_loss=1.0,
    is_final_phase=True,
)


def gradient_of(learner, parts, rows):
    batch_rows = torch.cat(parts)
    totals = Totals(rows=len(batch_rows), tokens=int(rows.lengths[batch_rows].sum()))
    learner.elastic.gradients.zero_()
    for part in parts:
        learner.backward(collate(rows, part, learner.pad_token_id), totals, step=0)
    return learner.elastic.gradients.buffer.clone()


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_the_gradient_of_eight_parts_of_one_equals_that_of_one_part_of_eight(family):
    learner, rows = learner_of(training(), family), train_rows()
    batch = epoch_batches(rows.lengths, 8, seed=0, epoch=0)[0]
    whole = gradient_of(learner, shard(batch, 0, 1, 1), rows)
    parts = gradient_of(learner, shard(batch, 0, 1, 8), rows)
    workers = gradient_of(learner, shard(batch, 0, 2, 1) + shard(batch, 1, 2, 2), rows)
    assert float(whole.abs().max()) > 0.1
    assert max_difference(whole, parts) < 1e-5
    assert max_difference(whole, workers) < 1e-5


@pytest.mark.parametrize("how", ["weights", "rate"])
def test_a_gradient_that_is_not_finite_stops_the_stage_and_names_the_step(tmp_path, how):
    config = training(num_epochs=3)
    learner = learner_of(config)
    steps_an_epoch = math.ceil(ROWS / 8)

    class Breaker:
        def on_step(self, step, num_steps, epoch, losses):
            if step == steps_an_epoch + 2:
                parameter = next(p for p in learner.elastic.shared.parameters() if p.ndim > 1 and p.numel() > 1000)
                with torch.no_grad():
                    parameter.mul_(float("nan") if how == "weights" else 1e30)

        def on_epoch(self, record, checkpoint):
            pass

    with pytest.raises(TrainingError, match=f"not finite at step {steps_an_epoch + 3}.*learning rate") as caught:
        train(learner, train_rows(), config, 0, LOCAL, tmp_path, Breaker())
    assert "\n" not in str(caught.value)
    fresh = learner_of(config)
    for name in ("newest", "best"):
        optimizer = build_optimizer(fresh.elastic.shared.parameters(), config) if name == "newest" else None
        state = load_checkpoint(tmp_path / name, fresh.trained(), optimizer)
        assert state is not None
        assert state.epochs_done == 1
        assert all(torch.isfinite(parameter).all() for parameter in fresh.elastic.shared.parameters())


def test_learning_rates_by_hand():
    config = training(learning_rate=0.1, warmup_fraction=0.4)
    rates = [learning_rate_at(step, 10, config) for step in range(10)]
    expected = [0.025, 0.05, 0.075, 0.1, 0.1, 0.1 * 5 / 6, 0.1 * 4 / 6, 0.1 * 3 / 6, 0.1 * 2 / 6, 0.1 / 6]
    assert rates == pytest.approx(expected)
    assert learning_rate_at(10, 10, config) == 0.0
    assert [learning_rate_at(s, 4, training(learning_rate=0.1, warmup_fraction=0)) for s in range(4)] == pytest.approx(
        [0.1, 0.075, 0.05, 0.025]
    )
    assert [learning_rate_at(s, 4, training(learning_rate=0.1, warmup_fraction=1)) for s in range(4)] == pytest.approx(
        [0.025, 0.05, 0.075, 0.1]
    )


def test_the_rate_of_the_schedule_is_the_rate_of_the_step(tmp_path):
    """AdamW's first step moves every weight that has a gradient by the rate of that step, decay aside."""
    config = training(num_epochs=1, learning_rate=0.01, warmup_fraction=1.0, weight_decay=0.0)
    learner = learner_of(config)
    before = weights_of(learner.elastic.shared)
    moved = []

    class First:
        def on_step(self, step, num_steps, epoch, losses):
            if step == 1:
                after = weights_of(learner.elastic.shared)
                moved.append(max(max_difference(*pair) for pair in zip(before, after, strict=True)))

        def on_epoch(self, record, checkpoint):
            pass

    train(learner, train_rows(), config, 0, LOCAL, tmp_path, First())
    assert moved == pytest.approx([0.01 / 4], rel=1e-2)  # four steps, all of them warmup


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_a_layer_without_heads_or_neurons_has_what_a_gpus_fused_step_needs(tmp_path, family):
    """There, a parameter, its gradient and its moments need the same strides, and those of empty tensors differ."""
    config, structure = training(), Structure(10, heads=(0, 2, 1), neurons=(3, 0, 5))
    begun, resumed = (student_of(family, structure) for _ in range(2))
    gradients, optimizer = FlatGradients(begun), build_optimizer(begun.parameters(), config)
    gradients.buffer.fill_(1.0)
    optimizer.step()
    state = TrainingState(epochs_done=1, steps_done=1, best_epoch=1, history=(EPOCH,))
    save_checkpoint(LOCAL, tmp_path / "c", dict(begun.named_parameters()), optimizer, state)
    again = build_optimizer(resumed.parameters(), config)
    assert load_checkpoint(tmp_path / "c", dict(resumed.named_parameters()), again) == state
    FlatGradients(resumed)
    assert any(parameter.numel() == 0 for parameter in resumed.parameters())
    for model, moments in ((begun, optimizer.state), (resumed, again.state)):
        for name, parameter in model.named_parameters():
            if parameter.grad is not None:
                entry = moments[parameter]
                strides = {one.stride() for one in (parameter, parameter.grad, entry["exp_avg"], entry["exp_avg_sq"])}
                assert len(strides) == 1, name
            else:
                assert parameter.numel() == 0, name
                assert parameter not in moments, name


def test_moments_of_empty_parameters_in_an_older_checkpoint_are_left_out(tmp_path):
    config, structure = training(), Structure(10, heads=(0, 2, 1), neurons=(3, 0, 5))
    model = student_of("bert", structure)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer = build_optimizer(model.parameters(), config)
    optimizer.step()
    state = TrainingState(epochs_done=1, steps_done=1, best_epoch=1, history=(EPOCH,))
    save_checkpoint(LOCAL, tmp_path / "c", dict(model.named_parameters()), optimizer, state)
    other = student_of("bert", structure)
    again = build_optimizer(other.parameters(), config)
    assert load_checkpoint(tmp_path / "c", dict(other.named_parameters()), again) == state
    assert set(again.state) == {parameter for parameter in other.parameters() if parameter.numel()}


def test_biases_and_norms_are_not_decayed():
    learner = learner_of(training())
    groups = build_optimizer(learner.elastic.shared.parameters(), training(weight_decay=0.3)).param_groups
    assert [group["weight_decay"] for group in groups] == [0.3, 0.0]
    assert all(parameter.ndim > 1 for parameter in groups[0]["params"])
    assert all(parameter.ndim == 1 for parameter in groups[1]["params"])
    assert sum(len(group["params"]) for group in groups) == len(list(learner.elastic.shared.parameters()))


def test_the_gradient_is_clipped_to_the_largest_norm(tmp_path):
    norms = {}
    for limit in (1e-3, 1e9):
        learner = learner_of(config := training(num_epochs=1, max_gradient_norm=limit))

        class Norm:
            def on_step(self, step, num_steps, epoch, losses, limit=limit, learner=learner):
                norms.setdefault(limit, float(learner.elastic.gradients.buffer.norm()))

            def on_epoch(self, record, checkpoint):
                pass

        train(learner, train_rows(), config, 0, LOCAL, tmp_path / str(limit), Norm())
    assert norms[1e-3] == pytest.approx(1e-3, rel=1e-3)
    assert norms[1e9] > 0.1
