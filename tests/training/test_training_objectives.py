"""Every objective in the training loop: resumed, on two workers, and its parts apart from the student."""

from pathlib import Path

import pytest
import torch
from objective_kit import BATCH_WIDE, OBJECTIVES
from safetensors.torch import load_file
from tiny_models import max_difference, random_rows
from training_kit import Recorder, Stop, learner_of, raise_at, run, same_weights, train_rows, training, weights_of

from minidisc_ray.configs.objective import HSConfig, KDConfig, LTADConfig, SequenceConfig
from minidisc_ray.training.loop import train
from minidisc_ray.training.workers import Workers

SMALL = training(num_epochs=1)


def trained_of(learner):
    return {name: parameter.detach().clone() for name, parameter in learner.trained().items()}


@pytest.mark.parametrize("name", OBJECTIVES)
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


def work_through_objectives(rank: int, size: int, address: str, folder: str) -> None:
    """One of two real processes: every objective in one group, and what came out of each."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=size)
    try:
        found = {}
        for name, objective in OBJECTIVES.items():
            workers = Workers(rank=rank, size=size)
            state, learner, _ = run(SMALL, Path(folder) / name, objective_config=objective, workers=workers)
            found[name] = (state.history[0].losses, trained_of(learner))
        torch.save(found, Path(folder) / f"out{rank}.bin")
    finally:
        torch.distributed.destroy_process_group()


# Twenty-five rows in batches of eight: the last batch is one row, which one of two workers gets.
LONELY = training(num_epochs=1)


def work_with_a_lonely_row(rank: int, size: int, address: str, folder: str) -> None:
    """One of two real processes, one of which has no row in the last step."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=address, rank=rank, world_size=size)
    try:
        rows = random_rows(25, seed=4)
        found = {}
        for name in ("kd", "tinybert", "sequence"):
            learner = learner_of(
                LONELY, objective_config=OBJECTIVES[name], workers=Workers(rank=rank, size=size), rows=rows
            )
            state = train(learner, rows, LONELY, 0, Path(folder) / name, Recorder(learner))
            found[name] = state.history[0].losses
        torch.save(found, Path(folder) / f"lonely{rank}.bin")
    finally:
        torch.distributed.destroy_process_group()


def test_a_worker_without_a_row_in_the_last_step_keeps_in_step(tmp_path, monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    address = f"file://{tmp_path / 'rendezvous'}"
    torch.multiprocessing.spawn(work_with_a_lonely_row, args=(2, address, str(tmp_path)), nprocs=2)
    first, second = (torch.load(tmp_path / f"lonely{rank}.bin", weights_only=True) for rank in range(2))
    assert first == second
    rows = random_rows(25, seed=4)
    for name, losses in first.items():
        learner = learner_of(LONELY, objective_config=OBJECTIVES[name], rows=rows)
        alone = train(learner, rows, LONELY, 0, tmp_path / f"alone-{name}", Recorder(learner))
        assert losses == pytest.approx(alone.history[0].losses, rel=1e-4, abs=1e-6)
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


@pytest.fixture(scope="module")
def of_two_workers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("workers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLOO_SOCKET_IFNAME", "lo")
        address = f"file://{folder / 'rendezvous'}"
        torch.multiprocessing.spawn(work_through_objectives, args=(2, address, str(folder)), nprocs=2)
    return [torch.load(folder / f"out{rank}.bin", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_two_workers_equal_one(tmp_path, of_two_workers, name):
    """Sums of floats run in another order, and Adam divides tiny gradients by tiny ones: 1e-4 relative in losses, a
    hundredth of a step's size in weights. MI-alpha's negatives are the rows that a worker has: two see others."""
    state, learner, _ = run(SMALL, tmp_path, objective_config=OBJECTIVES[name])
    alone = trained_of(learner)
    for losses, weights in (outputs[name] for outputs in of_two_workers):
        assert losses.keys() == state.history[0].losses.keys()
        assert weights.keys() == alone.keys()
        if name in BATCH_WIDE:
            continue
        assert losses == pytest.approx(state.history[0].losses, rel=1e-4, abs=1e-6)
        apart = torch.cat([(weights[key] - alone[key]).abs().flatten() for key in alone])
        assert float((apart < 1e-2 * SMALL.learning_rate).float().mean()) > 0.98
    first, second = (outputs[name][1] for outputs in of_two_workers)
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

    train(learner, train_rows(), config, 0, tmp_path, Recorder(learner, after_step=remember))
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
