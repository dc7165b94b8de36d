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
from minidisc_ray.data import collate, epoch_batches
from minidisc_ray.models.forward import run_model
from minidisc_ray.training.finetune import fine_tuning_learner
from minidisc_ray.training.loop import train
from minidisc_ray.training.state import EpochRecord, TrainingState, best_epoch
from minidisc_ray.training.workers import Workers


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
