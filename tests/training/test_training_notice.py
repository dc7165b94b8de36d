"""Stopping with notice, and going on within an epoch."""

import os
import signal

import pytest
from training_kit import Stop, promised, raise_at, run, same_weights, training, weights_of

from minidisc_ray.training import notice
from minidisc_ray.training.notice import Preempted, stopping_on_sigterm
from minidisc_ray.training.state import TrainingState

# Twenty-six rows in batches of eight: four steps an epoch.
STEPS = 12


def config(**changes):
    return training(num_epochs=3, dropout=0.1, **changes)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    state, learner, recorder = run(config(), tmp_path_factory.mktemp("whole"))
    assert len(recorder.steps) == STEPS
    return state, weights_of(learner.elastic.shared)


@pytest.mark.parametrize(("every", "stopped_at"), [(3, 5), (3, 8), (1, 2), (5, 12)])
def test_a_run_goes_on_within_an_epoch_bit_for_bit(tmp_path, whole, every, stopped_at):
    with pytest.raises(Stop):
        run(config(checkpoint_steps=every), tmp_path, observe={"after_step": raise_at(stopped_at)})
    state, learner, recorder = run(config(checkpoint_steps=every), tmp_path)
    # The step at which it was stopped had no checkpoint of its own yet.
    kept = max((stopped_at - 1) // every * every, (stopped_at - 1) // 4 * 4)
    assert len(recorder.steps) == STEPS - kept
    assert promised(state) == promised(whole[0])
    assert same_weights(weights_of(learner.elastic.shared), whole[1])


def test_how_often_checkpoints_are_written_changes_no_number(tmp_path, whole):
    state, learner, _ = run(config(checkpoint_steps=1), tmp_path)
    assert promised(state) == promised(whole[0])
    assert same_weights(weights_of(learner.elastic.shared), whole[1])


@pytest.mark.parametrize("asked_at", [1, 4, 6])
def test_sigterm_stops_at_the_next_step_and_loses_nothing(tmp_path, whole, asked_at):
    def ask(step):
        if step == asked_at:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    with stopping_on_sigterm(), pytest.raises(Preempted) as caught:
        run(config(), tmp_path / "student", observe={"after_step": ask})
    assert (caught.value.stage, caught.value.step) == ("student", asked_at)
    assert f"step {asked_at} of stage student" in str(caught.value)
    assert signal.getsignal(signal.SIGTERM) == before
    assert not notice._StopRequest.is_made
    state, learner, recorder = run(config(), tmp_path / "student")
    assert len(recorder.steps) == STEPS - asked_at
    assert promised(state) == promised(whole[0])
    assert same_weights(weights_of(learner.elastic.shared), whole[1])


def test_a_second_sigterm_does_what_it_did_before():
    seen = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with stopping_on_sigterm():
            os.kill(os.getpid(), signal.SIGTERM)
            assert notice._StopRequest.is_made
            assert seen == []
            os.kill(os.getpid(), signal.SIGTERM)
            assert seen == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_state_of_before_there_were_steps_within_epochs_is_read():
    old = {"epochs_done": 1, "steps_done": 4, "best_epoch": 1, "history": [], "training_flops": 1.0}
    assert TrainingState.model_validate(old).step_in_epoch == 0
