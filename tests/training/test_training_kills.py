"""Checkpoints under kills: at every operation on the disk, and at real moments of a real process."""

import itertools
import multiprocessing
import os
import random
import shutil
import signal

import pytest
import torch
from storage_kit import LOCAL
from torch import nn
from training_kit import promised, run, same_weights, training, weights_of

from minidisc_ray.training.checkpoints import NEWEST, Checkpoints
from minidisc_ray.training.loop import build_optimizer
from minidisc_ray.training.state import EpochRecord, TrainingState
from minidisc_ray.training.workers import Workers

# Checkpoints as a stage writes them: epochs that are over, steps since then, and whether the last epoch is the best.
PLAN = [(0, 1, False), (1, 0, True), (1, 1, False), (2, 0, True), (3, 0, False), (4, 0, True)]
OPERATIONS = ("rename", "replace", "unlink", "rmdir", "mkdir")


class Killed(BaseException):
    pass


class Disk:
    """Lets a number of operations pass; after that the process is as dead as a killed one: none does anything."""

    def __init__(self, patch, passing):
        self.left = passing
        for name in OPERATIONS:
            patch.setattr(os, name, self._counting(getattr(os, name)))

    def _counting(self, original):
        def operate(*arguments, **options):
            if self.left == 0:
                raise Killed
            self.left -= 1
            return original(*arguments, **options)

        return operate


class Stage:
    """Weights that say which checkpoint they are of."""

    def __init__(self, folder):
        self.checkpoints = Checkpoints(LOCAL, folder, Workers())
        self.trained = {"matrix": nn.Parameter(torch.zeros(3, 2)), "vector": nn.Parameter(torch.zeros(3))}
        self.optimizer = build_optimizer(self.trained.values(), training())
        for parameter in self.trained.values():
            parameter.grad = torch.ones_like(parameter)
        self.state, self.best = self.checkpoints.resume(self.trained, self.optimizer)

    def set(self, value):
        self.optimizer.step()
        with torch.no_grad():
            for parameter in self.trained.values():
                parameter.fill_(value)

    def save(self, number):
        """Write the ``number``-th checkpoint of the plan, counted from 1."""
        is_best = PLAN[number - 1][2]
        self.set(float(number))
        self.checkpoints.save(self.trained, self.optimizer, state_of(number), is_best)


def state_of(number):
    epochs, within, _ = PLAN[number - 1]
    records = [EpochRecord(epoch=epoch, losses={}, metrics={}, selection_score=0.0) for epoch in range(1, epochs + 1)]
    return TrainingState(
        epochs_done=epochs,
        steps_done=number,
        step_in_epoch=within,
        partial_losses=({},) if within else (),
        best_epoch=max((epoch for epoch, _, is_best in PLAN[:number] if is_best), default=0),
        history=tuple(records),
    )


def best_value(state):
    """What the weights of a state's best epoch were: the number of the checkpoint that was written after it."""
    return next((float(n) for n, plan in enumerate(PLAN, 1) if plan[0] == state.best_epoch and plan[2]), 0.0)


def assert_consistent(stage):
    assert stage.state == (state_of(stage.state.steps_done) if stage.state.steps_done else TrainingState())
    assert all(float(weight.flatten()[0].detach()) == stage.state.steps_done for weight in stage.trained.values())
    assert all(float(weight.flatten()[0]) == best_value(stage.state) for weight in stage.best)
    steps = {int(entry["step"]) for entry in stage.optimizer.state_dict()["state"].values()}
    assert len(steps) == (stage.state.steps_done > 0)


def test_a_kill_between_any_two_operations_leaves_a_state_with_its_best_weights(tmp_path, monkeypatch):
    """At most the checkpoint that was being written is lost; and from there the rest of the plan goes on."""
    found = set()
    for passing in itertools.count():
        folder = tmp_path / str(passing)
        stage, saved = Stage(folder), 0
        with monkeypatch.context() as patch:
            Disk(patch, passing)
            try:
                for number in range(1, len(PLAN) + 1):
                    stage.save(number)
                    saved = number
            except Killed:
                pass
        if saved == len(PLAN):
            break
        again = Stage(folder)
        assert_consistent(again)
        assert again.state.steps_done in (saved, saved + 1), (passing, saved)
        found.add(again.state.steps_done - saved)
        assert not list(folder.glob(".*")), "nothing is left of what was being written"
        if passing % 5 == 0:
            for number in range(again.state.steps_done + 1, len(PLAN) + 1):
                again.save(number)
            last = Stage(folder)
            assert_consistent(last)
            assert last.state.steps_done == len(PLAN)
        shutil.rmtree(folder, ignore_errors=True)
    assert passing > 60
    assert found == {0, 1}


@pytest.mark.parametrize("saved", range(1, len(PLAN) + 1))
def test_a_damaged_newest_checkpoint_costs_one_interval(tmp_path, caplog, saved):
    stage = Stage(tmp_path)
    for number in range(1, saved + 1):
        stage.save(number)
    weights = tmp_path / NEWEST / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    again = Stage(tmp_path)
    assert_consistent(again)
    assert again.state.steps_done == saved - 1
    (message,) = caplog.messages
    assert f"{tmp_path / NEWEST}: this checkpoint is damaged (the content of model.safetensors is not" in message
    assert message.endswith("resuming from the one before it" if saved > 1 else "resuming from the start")
    # What comes next replaces the damaged one, not the whole one.
    if saved > 1:
        again.save(saved)
        assert Stage(tmp_path).state.steps_done == saved


CONFIG = training(num_epochs=3, dropout=0.1, checkpoint_steps=1)


def ups_and_downs(scores):
    """Of the weights alone, so that a resumed run sees the same; the first epoch is rarely the last best one."""
    return scores[25]["accuracy"] - scores[100]["accuracy"]


def train_here(folder, wanted, is_there):
    torch.set_num_threads(1)
    steps = itertools.count(1)

    def count(step):
        if next(steps) == wanted:
            is_there.set()

    run(CONFIG, folder, observe={"after_step": count}, selection_score=ups_and_downs)


def test_a_run_that_is_killed_at_any_moment_goes_on_to_the_same_numbers(tmp_path):
    whole, learner, _ = run(training(num_epochs=3, dropout=0.1), tmp_path / "whole", selection_score=ups_and_downs)
    moments = random.Random(7)
    fork = multiprocessing.get_context("fork")
    for _ in range(4):
        is_there = fork.Event()
        process = fork.Process(target=train_here, args=(tmp_path / "killed", moments.randint(2, 3), is_there))
        process.start()
        assert is_there.wait(60)
        # Anywhere in the step that follows, or in its checkpoint.
        process.join(moments.uniform(0.0, 0.03))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
    state, other, recorder = run(CONFIG, tmp_path / "killed", selection_score=ups_and_downs)
    assert len(recorder.steps) < 12
    assert promised(state) == promised(whole)
    assert same_weights(weights_of(other.elastic.shared), weights_of(learner.elastic.shared))
