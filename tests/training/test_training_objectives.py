"""Every objective in the training loop: resumed, on two workers, and its parts apart from the student."""

import functools
from pathlib import Path

import pytest
import torch
from objective_kit import BATCH_WIDE, OBJECTIVES
from safetensors.torch import load_file
from slow_kit import mostly_slow
from storage_kit import LOCAL
from tiny_models import max_difference, random_rows
from training_kit import (
    Recorder,
    Stop,
    learner_of,
    on_two_workers,
    raise_at,
    run,
    same_weights,
    train_rows,
    training,
    weights_of,
)

from minidisc_ray.configs.objective import HSConfig, KDConfig, LTADConfig, SequenceConfig
from minidisc_ray.training.loop import train
from minidisc_ray.training.workers import Workers

SMALL = training(num_epochs=1)
# Objectives of one kind differ in what they sum up, which the tests of the objectives look at; the loop knows them by
# their parts and their phases. MI-alpha is the one of DistillER's measures that has parts of its own.
ONE_OF_A_KIND = {
    *({config.kind: name for name, config in reversed(OBJECTIVES.items()) if config.kind != "distiller"}.values()),
    "distiller-mi-mlp",
}
# What a resumed stage has to bring back: no parts, parts, phases, both, and parts that see a whole batch.
RESUMED = {"kd", "hs-single", "tinybert", "sequence", "distiller-mi-mlp"}


def trained_of(learner):
    return {name: parameter.detach().clone() for name, parameter in learner.trained().items()}


@pytest.mark.parametrize("name", mostly_slow(OBJECTIVES, RESUMED))
def test_resumed_equals_uninterrupted_bit_for_bit(tmp_path, name):
    config, objective = training(num_epochs=2, dropout=0.1), OBJECTIVES[name]
    whole, learner, _ = run(config, tmp_path / "whole", objective_config=objective)
    often = config.model_copy(update={"checkpoint_steps": 2})
    with pytest.raises(Stop):
        run(often, tmp_path / "cut", objective_config=objective, observe={"after_step": raise_at(7)})
    resumed, other, recorder = run(often, tmp_path / "cut", objective_config=objective)
    assert [record.epoch for record in recorder.records] == [2]
    assert len(recorder.steps) == 2, "on within the second epoch, after its second step"
    assert resumed.history == whole.history
    expected = trained_of(learner)
    found = trained_of(other)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


# Twenty-five rows in batches of eight: the last batch is one row, which one of two workers gets.
LONELY = ("kd", "tinybert", "sequence")


def lonely_losses(name, folder, workers=None):
    rows = random_rows(25, seed=4)
    learner = learner_of(SMALL, objective_config=OBJECTIVES[name], workers=workers, rows=rows)
    return train(learner, rows, SMALL, 0, LOCAL, folder, Recorder(learner)).history[0].losses


def work_through_objectives(workers: Workers, folder: str, names: list[str]) -> None:
    """One of two real processes: every objective in one group, and what came out of each."""
    found = {}
    for name in names:
        state, learner, _ = run(SMALL, Path(folder) / name, objective_config=OBJECTIVES[name], workers=workers)
        found[name] = (state.history[0].losses, trained_of(learner))
    lonely = {name: lonely_losses(name, Path(folder) / f"lonely-{name}", workers) for name in LONELY if name in names}
    torch.save((found, lonely), Path(folder) / f"out{workers.rank}.bin")


@pytest.fixture(scope="module")
def of_two_workers(tmp_path_factory):
    """What came out of both, for the objective of a name: those of the default run at once, and so the others."""

    @functools.cache
    def outputs(is_default):
        folder = tmp_path_factory.mktemp("workers")
        on_two_workers(
            work_through_objectives, str(folder), [n for n in OBJECTIVES if (n in ONE_OF_A_KIND) == is_default]
        )
        return [torch.load(folder / f"out{rank}.bin", weights_only=True) for rank in range(2)]

    return lambda name: outputs(name in ONE_OF_A_KIND)


def test_a_worker_without_a_row_in_the_last_step_keeps_in_step(tmp_path, of_two_workers):
    (_, first), (_, second) = of_two_workers(LONELY[0])
    assert first.keys() == set(LONELY)
    assert first == second
    for name, losses in first.items():
        assert losses == pytest.approx(lonely_losses(name, tmp_path / name), rel=1e-4, abs=1e-6)
    assert set(first["tinybert"]) == {"embeddings", "attention", "hidden", "logits"}
    assert set(first["sequence"]) == {"ltad.queries", "ltad.keys", "ltad.values", "kd.logits", "kd.labels"}


def test_losses_of_phases_are_means_over_their_own_steps(tmp_path):
    """Four steps, two of each phase: the epoch's record is the mean of what each step reported."""
    config = training(num_epochs=1)
    state, _, recorder = run(config, tmp_path, objective_config=OBJECTIVES["tinybert"])
    assert len(recorder.steps) == 4
    for name, value in state.history[0].losses.items():
        reported = [losses[name] for losses in recorder.steps if name in losses]
        assert len(reported) == 2
        assert value == pytest.approx(sum(reported) / 2, rel=1e-6)


@pytest.mark.parametrize("name", mostly_slow(OBJECTIVES, ONE_OF_A_KIND))
def test_two_workers_equal_one(tmp_path, of_two_workers, name):
    """Sums of floats run in another order, and Adam divides tiny gradients by tiny ones: 1e-4 relative in losses, a
    hundredth of a step's size in weights. MI-alpha's negatives are the rows that a worker has: two see others."""
    state, learner, _ = run(SMALL, tmp_path, objective_config=OBJECTIVES[name])
    alone = trained_of(learner)
    both = [outputs[name] for outputs, _ in of_two_workers(name)]
    for losses, weights in both:
        assert losses.keys() == state.history[0].losses.keys()
        assert weights.keys() == alone.keys()
        if name in BATCH_WIDE:
            continue
        assert losses == pytest.approx(state.history[0].losses, rel=1e-4, abs=1e-6)
        apart = torch.cat([(weights[key] - alone[key]).abs().flatten() for key in alone])
        assert float((apart < 1e-2 * SMALL.learning_rate).float().mean()) > 0.98
    (_, first), (_, second) = both
    assert all(torch.equal(first[key], second[key]) for key in first), "both workers hold the same weights"


def test_parts_are_trained_and_checkpointed_with_the_student_and_are_not_in_it(tmp_path):
    _, learner, _ = run(SMALL, tmp_path, objective_config=LTADConfig(num_relation_heads=16))
    names = {name for name in learner.trained() if name.startswith("objective.")}
    assert len(names) == 6
    saved = load_file(tmp_path / "newest" / "model.safetensors")
    assert names < saved.keys()
    assert all(torch.equal(saved[name], learner.trained()[name]) for name in names)
    untrained = learner_of(SMALL, objective_config=LTADConfig(num_relation_heads=16)).trained()
    assert all(max_difference(saved[name], untrained[name]) > 1e-4 for name in names)
    assert not names & learner.elastic.shared.state_dict().keys()


def test_parts_are_clipped_by_themselves(tmp_path):
    config = training(num_epochs=1, max_gradient_norm=1e-3)
    learner = learner_of(config, objective_config=HSConfig(mapping="last"))
    norms = []

    def remember(step):
        norms.append([float(gradients.buffer.norm()) for gradients in learner.gradients])

    train(learner, train_rows(), config, 0, LOCAL, tmp_path, Recorder(learner, after_step=remember))
    assert norms
    assert all(both == pytest.approx([1e-3, 1e-3], rel=1e-3) for both in norms)


def ever_worse():
    metrics = iter(range(100, 0, -1))
    return lambda _: float(next(metrics))


def test_early_stopping_and_the_kept_state_are_of_the_last_phase(tmp_path):
    """A first phase that never looks at predictions would else use up the patience of the second, or be kept: here five
    epochs of it, the first of the second phase, and two without a better one."""
    config = training(num_epochs=8, early_stop_epochs=2)
    phases = ({"share": 5, "objective": LTADConfig(num_relation_heads=16)}, {"share": 3, "objective": KDConfig()})
    objective = SequenceConfig(phases=phases)
    state, learner, recorder = run(config, tmp_path / "two", objective_config=objective, selection_score=ever_worse())
    # The kept state is of the last phase, whatever an earlier one reached: its first epoch is the best of those here.
    assert (state.best_epoch, state.epochs_done) == (6, 8)
    assert same_weights(weights_of(learner.elastic.shared), recorder.weights[5])
    state, _, _ = run(config, tmp_path / "one", objective_config=KDConfig(), selection_score=ever_worse())
    assert (state.best_epoch, state.epochs_done) == (1, 3)
