import itertools
import math

import pytest
import torch
from slow_kit import mostly_slow
from storage_kit import LOCAL
from tiny_models import FAMILY_NAMES, max_difference, pad_id, random_rows, tiny_model
from training_kit import (
    ROWS,
    SCALES,
    Stop,
    importance_of,
    learner_of,
    load_checkpoint,
    logits_of,
    on_two_workers,
    promised,
    raise_at,
    run,
    same_weights,
    train_rows,
    training,
    weights_of,
    work,
)

from minidisc_ray.core.grid import TEACHER_PERCENT
from minidisc_ray.core.task import Task
from minidisc_ray.core.trace import Totals
from minidisc_ray.data import collate, epoch_batches, shard
from minidisc_ray.models.forward import run_model
from minidisc_ray.training.finetune import fine_tuning_learner
from minidisc_ray.training.loop import TrainingError, build_optimizer, learning_rate_at, train
from minidisc_ray.training.state import EpochRecord, TrainingState, best_epoch
from minidisc_ray.training.workers import Workers


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


def test_a_stage_of_eight_parts_of_one_equals_one_of_one_part_of_eight(tmp_path):
    whole, one, _ = run(training(), tmp_path / "1x8")
    parts, other, _ = run(training(accumulation_steps=8), tmp_path / "8x1")
    for first, second in zip(whole.history, parts.history, strict=True):
        assert first.losses == pytest.approx(second.losses, rel=1e-4)
        assert first.metrics == second.metrics
    found, expected = logits_of(other), logits_of(one)
    start = logits_of(learner_of(training()))
    for scale in SCALES:  # weights without a gradient of their own (key biases) may differ, the function may not
        assert max_difference(found[scale], expected[scale]) < 1e-3
        assert max_difference(start[scale], expected[scale]) > 1e-2


def test_two_workers_equal_one_worker(tmp_path):
    """Real processes, gloo, dropout off. Sums of floats run in another order: 1e-4 relative, 1e-3 in logits.

    Stopped with notice within an epoch, they go on to the same numbers as two that were not, bit for bit.
    """
    config = training()
    on_two_workers(work, str(tmp_path), config)
    one, learner, _ = run(config, tmp_path / "single")
    expected = logits_of(learner)
    outputs = [torch.load(tmp_path / f"out{rank}.bin") for rank in range(2)]
    for raw, logits, importance in outputs:
        state = TrainingState.model_validate(raw)
        assert (state.epochs_done, state.steps_done, state.best_epoch) == (2, one.steps_done, one.best_epoch)
        for first, second in zip(one.history, state.history, strict=True):
            assert first.losses == pytest.approx(second.losses, rel=1e-4)
            assert first.metrics == second.metrics
        for scale in SCALES:
            assert max_difference(logits[scale], expected[scale]) < 1e-3
        # Workers pad other rows together, so that their closed form differs a little.
        assert state.training_flops == pytest.approx(one.training_flops, rel=0.2)
        for found, alone in zip(importance, importance_of(Workers()), strict=True):
            torch.testing.assert_close(found, alone, rtol=1e-5, atol=1e-9)
    for scale in SCALES:
        assert torch.equal(outputs[0][1][scale], outputs[1][1][scale])


@pytest.mark.parametrize("stop", [{"after_epoch": raise_at(1)}, {"after_step": raise_at(6)}], ids=["epoch", "step"])
def test_resumed_equals_uninterrupted_bit_for_bit(tmp_path, stop):
    config = training(num_epochs=3, dropout=0.1)
    whole, learner, _ = run(config, tmp_path / "whole")
    with pytest.raises(Stop):
        run(config, tmp_path / "stopped", observe=stop)
    resumed, other, recorder = run(config, tmp_path / "stopped")
    assert resumed.history == whole.history
    assert resumed.training_flops == whole.training_flops
    assert [record.epoch for record in recorder.records] == [2, 3]
    assert (resumed.best_epoch, resumed.steps_done) == (whole.best_epoch, whole.steps_done)
    assert same_weights(weights_of(other.elastic.shared), weights_of(learner.elastic.shared))


def test_resuming_keeps_a_best_state_from_before(tmp_path):
    by_epoch = iter([0.9, 0.2, 0.1])
    config = training(num_epochs=3, dropout=0.1)
    with pytest.raises(Stop):
        run(config, tmp_path, selection_score=lambda _: next(by_epoch), observe={"after_epoch": raise_at(2)})
    best = learner_of(config)
    assert load_checkpoint(tmp_path / "best", best.trained(), None) is not None
    state, learner, _ = run(config, tmp_path, selection_score=lambda _: next(by_epoch))
    assert (state.best_epoch, state.epochs_done) == (1, 3)
    assert same_weights(weights_of(learner.elastic.shared), weights_of(best.elastic.shared))


def test_a_finished_stage_trains_nothing_again(tmp_path):
    config = training()
    state, learner, _ = run(config, tmp_path)
    again, other, recorder = run(config, tmp_path)
    assert recorder.steps == []
    assert again == state
    assert same_weights(weights_of(other.elastic.shared), weights_of(learner.elastic.shared))


def test_the_same_seed_gives_the_same_numbers_and_another_others(tmp_path):
    config = training(dropout=0.1)
    first, one, _ = run(config, tmp_path / "a", seed=3)
    second, two, _ = run(config, tmp_path / "b", seed=3)
    third, three, _ = run(config, tmp_path / "c", seed=4)
    assert promised(first) == promised(second)
    assert same_weights(weights_of(one.elastic.shared), weights_of(two.elastic.shared))
    assert first.history[0].losses != third.history[0].losses
    assert not same_weights(weights_of(one.elastic.shared), weights_of(three.elastic.shared))


def test_early_stopping_honours_patience_and_keeps_the_best_state(tmp_path):
    selection_score = iter([0.1, 0.5, 0.3, 0.4, 0.9, 0.9])
    config = training(num_epochs=6, early_stop_epochs=2)
    state, learner, recorder = run(config, tmp_path, selection_score=lambda _: next(selection_score))
    assert [record.selection_score for record in state.history] == [0.1, 0.5, 0.3, 0.4]
    assert state.best_epoch == 2
    assert same_weights(weights_of(learner.elastic.shared), recorder.weights[1])
    assert not same_weights(recorder.weights[1], recorder.weights[3])


def test_of_equal_epochs_the_one_with_the_lower_loss_is_kept(tmp_path):
    """Metrics of a few hundred rows are often equal; which epoch came first says nothing."""
    state, learner, recorder = run(training(num_epochs=4), tmp_path, selection_score=lambda _: 0.5)
    losses = [record.selection_loss for record in state.history]
    assert len(set(losses)) == 4
    assert state.best_epoch == 1 + losses.index(min(losses))
    assert state.best_epoch > 1, "the first epoch is not the best one here, so that keeping it would be seen"
    assert same_weights(weights_of(learner.elastic.shared), recorder.weights[state.best_epoch - 1])


@pytest.mark.parametrize(
    ("scores", "losses", "final", "kept"),
    [
        ([0.1, 0.5, 0.5], [3.0, 2.0, 1.0], [True, True, True], 3),
        ([0.1, 0.5, 0.5], [3.0, 1.0, 2.0], [True, True, True], 2),
        ([0.5, 0.5, 0.5], [1.0, 1.0, 1.0], [True, True, True], 1),
        ([0.9, 0.5, 0.4], [1.0, 2.0, 0.5], [False, True, True], 2),
        ([0.4, 0.9], [1.0, 2.0], [False, False], 2),
    ],
)
def test_the_epoch_to_keep(scores, losses, final, kept):
    history = [
        EpochRecord(
            epoch=number, losses={}, metrics={}, selection_score=score, selection_loss=loss, is_final_phase=is_final
        )
        for number, (score, loss, is_final) in enumerate(zip(scores, losses, final, strict=True), start=1)
    ]
    assert best_epoch(history) == kept


def test_without_early_stopping_all_epochs_run_and_the_best_is_kept(tmp_path):
    selection_score = iter([-0.1, -0.5, -0.3])  # negative metrics are metrics
    state, learner, recorder = run(training(num_epochs=3), tmp_path, selection_score=lambda _: next(selection_score))
    assert (state.epochs_done, state.best_epoch) == (3, 1)
    assert same_weights(weights_of(learner.elastic.shared), recorder.weights[0])


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


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_cached_teacher_outputs_equal_computed_ones(family):
    cached, computed = learner_of(training(), family), learner_of(training(), family, cache_bytes=0)
    assert (cached.teacher.is_cached, computed.teacher.is_cached) == (True, False)
    rows = train_rows()
    for indices in epoch_batches(rows.lengths, 8, seed=1, epoch=0):
        batch = collate(rows, indices, cached.pad_token_id)
        one, other = cached.teacher.trace(batch), computed.teacher.trace(batch)
        real = batch.mask.bool()
        assert max_difference(one.logits, other.logits) < 1e-5
        # A value on the border between two of float16 may be rounded either way.
        assert max_difference(one.hidden[2][real], other.hidden[2][real]) < 2e-3
        assert (one.hidden[2][real] == other.hidden[2][real]).float().mean() > 0.99
        whole = run_model(cached.teacher.teacher, batch, cached.teacher.wanted)
        assert max_difference(one.logits, whole.logits) < 1e-5
        assert torch.allclose(one.hidden[2][real], whole.hidden[2][real], rtol=2**-11, atol=1e-6)
        assert one.hidden[2].dtype == torch.float32
        assert not one.hidden[2].requires_grad
    assert cached.teacher.flops > 0


def test_training_on_cached_outputs_equals_training_on_computed_ones(tmp_path):
    cached, _, _ = run(training(), tmp_path / "cached")
    computed, _, _ = run(training(), tmp_path / "computed", cache_bytes=0)
    for first, second in zip(cached.history, computed.history, strict=True):
        assert first.losses == pytest.approx(second.losses, rel=1e-4)
    assert computed.training_flops > cached.training_flops, "two epochs of teacher passes cost more than one"


def test_the_loss_falls(tmp_path):
    state, _, recorder = run(training(num_epochs=8, learning_rate=3e-3), tmp_path)
    totals = [sum(record.losses.values()) for record in state.history]
    assert totals[-1] < 0.6 * totals[0]
    assert all(later < earlier for earlier, later in itertools.pairwise(totals))
    assert set(state.history[0].losses) == {"logits", "hidden"}
    assert len(recorder.steps) == 8 * math.ceil(ROWS / 8)


def test_the_recorded_loss_is_the_mean_over_steps(tmp_path):
    state, _, recorder = run(training(num_epochs=1), tmp_path)
    for name, value in state.history[0].losses.items():
        assert value == pytest.approx(sum(step[name] for step in recorder.steps) / len(recorder.steps), rel=1e-5)


# By default one of each kind of head: BERT's, and DistilBERT's of two layers.
@pytest.mark.parametrize("family", mostly_slow(FAMILY_NAMES, ("bert", "distilbert")))
def test_finetuning_learns_labels(tmp_path, family):
    task = Task("tiny", ("text",), "label", ("no", "yes", "maybe"), ("accuracy",))
    model, rows = tiny_model(family, task, layers=2), random_rows(96, task, seed=3)
    losses = []

    class Losses:
        def on_step(self, step, num_steps, epoch, values):
            losses.append(float(values["labels"]))

        def on_epoch(self, record, checkpoint):
            assert set(record.metrics) == {TEACHER_PERCENT}

    config = training(num_epochs=12, batch_size=16, learning_rate=3e-3)
    learner = fine_tuning_learner(model, rows, task, config, "float32", pad_id(model), Workers())
    state = train(learner, rows, config, 0, LOCAL, tmp_path, Losses())
    assert sum(losses[-6:]) < 0.5 * sum(losses[:6])
    assert state.best.selection_score == max(record.selection_score for record in state.history)
    assert state.best.selection_score > 0.6
