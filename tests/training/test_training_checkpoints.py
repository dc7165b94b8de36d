"""Checkpoints of a training stage: whole, or not taken at all."""

import copy
import itertools
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from storage_kit import LOCAL
from training_kit import Stop, learner_of, load_checkpoint, raise_at, run, same_weights, training, weights_of

from minidisc_ray.files.sealing import seal
from minidisc_ray.training.loop import build_optimizer
from minidisc_ray.training.state import EpochRecord, TrainingState, save_checkpoint


@pytest.fixture(scope="module")
def whole_and_stopped(tmp_path_factory):
    """A stage that ran through, and the folder of one that was stopped after its first epoch, to copy."""
    folder, config = tmp_path_factory.mktemp("stages"), training(dropout=0.1)
    whole, learner, _ = run(config, folder / "whole")
    with pytest.raises(Stop):
        run(config, folder / "stopped", observe={"after_epoch": raise_at(1)})
    return whole, weights_of(learner.elastic.shared), folder / "stopped"


@pytest.mark.parametrize("damage", ["state", "model", "optimizer", "missing", "best"])
def test_a_damaged_checkpoint_starts_over_where_there_is_no_other(tmp_path, whole_and_stopped, damage, caplog):
    """Weights of the best epoch that are damaged are those of the newest checkpoint, where its epoch is the best."""
    config = training(dropout=0.1)
    whole, weights, stopped = whole_and_stopped
    shutil.copytree(stopped, tmp_path / "stopped")
    newest = tmp_path / "stopped" / "newest"
    match damage:
        case "state":
            (newest / "state.json").write_text('{"epochs_done": 1, "hist')
        case "missing":
            (newest / "model.safetensors").unlink()
        case "best":
            (newest.with_name("best") / "model.safetensors").unlink()
        case _:
            path = newest / f"{damage}.safetensors"
            path.write_bytes(path.read_bytes()[:-100])
    again, other, recorder = run(config, tmp_path / "stopped")
    assert [record.epoch for record in recorder.records] == ([2] if damage == "best" else [1, 2])
    assert len(caplog.messages) == 1
    assert ("written again from newest" if damage == "best" else "resuming from the start") in caplog.text
    assert again.history == whole.history
    assert same_weights(weights_of(other.elastic.shared), weights)


GOODNESS = {1: 0.1, 2: 0.9, 3: 0.5, 4: 0.4, 5: 0.3}


def from_epoch(first):
    epochs = itertools.count(first)
    return lambda _: GOODNESS[next(epochs)]


@pytest.mark.parametrize(("stopped", "first"), [(3, 3), (4, 1)])
def test_best_weights_that_are_lost_cost_what_was_done_since_a_state_that_has_them(tmp_path, stopped, first, caplog):
    """Epoch 2 is the best one: after epoch 3 the checkpoint before has its weights, after epoch 4 none does."""
    config = training(num_epochs=5, dropout=0.1)
    whole, learner, _ = run(config, tmp_path / "whole", selection_score=from_epoch(1))
    folder = tmp_path / "stopped"
    with pytest.raises(Stop):
        run(config, folder, selection_score=from_epoch(1), observe={"after_epoch": raise_at(stopped)})
    (folder / "best" / "model.safetensors").write_bytes(b"damaged")
    again, other, recorder = run(config, folder, selection_score=from_epoch(first))
    assert [record.epoch for record in recorder.records] == list(range(first, 6))
    assert "the weights of its best epoch are lost (best: model.safetensors has 7 bytes" in caplog.messages[0]
    assert again.history == whole.history
    assert same_weights(weights_of(other.elastic.shared), weights_of(learner.elastic.shared))


def test_checkpoints_hold_safetensors_and_json_only_and_few_of_them(tmp_path):
    selection_score = iter([0.1, 0.2, 0.3])
    run(training(num_epochs=3), tmp_path / "rising", selection_score=lambda _: next(selection_score))
    assert sorted(path.name for path in (tmp_path / "rising").iterdir()) == ["before", "best", "best-before", "newest"]
    selection_score = iter([0.3, 0.2, 0.1])
    run(training(num_epochs=3), tmp_path / "falling", selection_score=lambda _: next(selection_score))
    tmp_path = tmp_path / "falling"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["before", "best", "newest"]
    files = sorted(path.name for path in (tmp_path / "newest").iterdir())
    assert files == ["model.safetensors", "optimizer.safetensors", "seal.json", "state.json"]
    assert json.loads((tmp_path / "newest" / "state.json").read_text())["epochs_done"] == 3


RECORD = EpochRecord(epoch=1, losses={"hidden": 1.0}, metrics={100: {"accuracy": 0.5}}, selection_score=0.5)
AFTER_ONE = TrainingState(epochs_done=1, steps_done=1, best_epoch=1, history=(RECORD,))


@pytest.mark.parametrize(
    "damage",
    [
        lambda moments: {},
        lambda moments: {"nothing.step": torch.zeros(1)},
        lambda moments: {key: value for key, value in moments.items() if not key.endswith("exp_avg_sq")},
        lambda moments: {key: value for key, value in moments.items() if not key.startswith("0.")},
        lambda moments: {key: value.flatten()[:1] for key, value in moments.items()},
    ],
)
def test_moments_of_other_parameters_are_no_checkpoint(tmp_path, damage):
    learner = learner_of(config := training())
    optimizer = build_optimizer(learner.trained().values(), config)
    optimizer.step()
    save_checkpoint(LOCAL, tmp_path / "c", learner.trained(), optimizer, AFTER_ONE)
    path = tmp_path / "c" / "optimizer.safetensors"
    save_file(damage(load_file(path)), path)
    assert load_checkpoint(tmp_path / "c", learner.trained(), optimizer) is None, "the seal tells"
    seal(tmp_path / "c")
    other = learner_of(config)
    with torch.no_grad():
        next(iter(other.trained().values())).fill_(7.0)
    fresh = build_optimizer(other.trained().values(), config)
    assert load_checkpoint(tmp_path / "c", other.trained(), fresh) is None
    assert float(next(iter(other.trained().values())).flatten()[0].detach()) == 7.0, "nothing is loaded by halves"


@pytest.mark.parametrize(
    "change",
    [
        {"history": ()},
        {"best_epoch": 99},
        {"best_epoch": 0},
        {"epochs_done": 3},
        {"steps_done": 0},
        {"step_in_epoch": 1},
        {"partial_losses": ({"hidden": (1.0, 1)},)},
    ],
)
def test_a_state_that_contradicts_itself_is_no_checkpoint(tmp_path, change):
    learner = learner_of(training())
    save_checkpoint(LOCAL, tmp_path / "c", learner.trained(), None, AFTER_ONE.model_copy(update=change))
    assert load_checkpoint(tmp_path / "c", learner.trained(), None) is None


def test_optimiser_moments_come_back(tmp_path):
    learner = learner_of(config := training())
    shared = learner.elastic.shared
    optimizer = build_optimizer(shared.parameters(), config)
    learner.elastic.gradients.buffer.normal_(generator=torch.Generator().manual_seed(0))
    optimizer.step()
    save_checkpoint(LOCAL, tmp_path / "c", learner.trained(), optimizer, AFTER_ONE)
    saved = copy.deepcopy(optimizer.state_dict()["state"])
    other = learner_of(config)
    fresh = build_optimizer(other.elastic.shared.parameters(), config)
    assert load_checkpoint(tmp_path / "c", other.trained(), fresh) == AFTER_ONE
    found = fresh.state_dict()["state"]
    assert found.keys() == saved.keys()
    for index, moments in saved.items():
        for name, tensor in moments.items():
            assert torch.equal(found[index][name], tensor), (index, name)
