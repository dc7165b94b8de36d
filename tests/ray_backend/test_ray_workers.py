import os
import signal
import threading

import pytest
from ray.tune.experiment import Trial as TuneTrial
from ray_kit import (
    RAY,
    TRIAL_TITLES,
    WATCHED_SANDWICH,
    ActorNames,
    attempts_of,
    is_in_sandwich,
    numbers,
    prepared_run,
    processes_below,
    run_on_ray,
    student_weights,
)
from safetensors.torch import load_file
from slow_kit import mostly_slow
from wait_kit import wait_until

from minidisc_ray.models.checkpoint import load_model
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.ray_backend.experiment import _TuneErrors
from minidisc_ray.training.score import score_model
from minidisc_ray.training.workers import Workers

pytestmark = [*RAY, pytest.mark.usefixtures("local_ray")]

# Two workers sum in another order than one. AdamW divides a gradient by its size, so that where there is hardly any
# rounding becomes a part of a step (here of 2e-3): in the head of a student that starts with its assistant's logits.
TEACHER_TOLERANCE, ENCODER_TOLERANCE, HEAD_TOLERANCE, LOGIT_TOLERANCE = 1e-5, 5e-5, 5e-4, 1e-3


def weights_apart(first, second):
    """The largest difference in each tensor of two saved models."""
    one, two = (load_file(folder / "model.safetensors") for folder in (first, second))
    assert one.keys() == two.keys()
    return {name: float((one[name] - two[name]).abs().max()) for name in one if one[name].numel()}


@pytest.mark.parametrize("kind", mostly_slow(("conventional", "minidisc"), ("conventional",)))
def test_two_workers_equal_one_worker(tmp_path, kind):
    # Predictions alone: of hidden states a rounding to float16 would make more of the last digits that differ.
    off = ("finetune.dropout=0.0", "distil.dropout=0.0", "objective.kind=kd")
    one = prepared_run(tmp_path / "one", kind, *off)
    two = prepared_run(tmp_path / "two", kind, *off, "compute.num_workers=2")
    names = ActorNames(two)
    reference, result = run_in_process(one), run_on_ray(two, names)
    name = f"{two.name}/main"
    assert names.found == [name, f"{name} controller", f"{name} worker", f"{name} worker"]
    assert result.threads == 2
    assert {attempt.devices for attempt in attempts_of(two, "stage")} == {2.0}
    assert [a.scale_percent for a in result.assistants] == [a.scale_percent for a in reference.assistants]
    assert (result.student.heads, result.student.neurons) == (reference.student.heads, reference.student.neurons)
    for found, wanted in ((result.teacher, reference.teacher), (result.student, reference.student)):
        assert found.validation_metrics == pytest.approx(wanted.validation_metrics, abs=1e-6)
        assert found.selection_metrics == pytest.approx(wanted.selection_metrics, abs=1e-6)
    # Each worker pads its own half of a batch to its own longest row, which is less.
    assert 0.95 < result.cost.training_flops / reference.cost.training_flops <= 1

    teacher = weights_apart(*(run.teacher_folder / "model" for run in (one, two)))
    assert max(teacher.values()) < TEACHER_TOLERANCE, teacher
    student = weights_apart(*(run.run_folder / "student" for run in (one, two)))
    head = {name: value for name, value in student.items() if name.startswith(("classifier", "bert.pooler"))}
    assert head
    assert max(value for name, value in student.items() if name not in head) < ENCODER_TOLERANCE, student
    assert max(head.values()) < HEAD_TOLERANCE, head
    logits = [
        score_model(load_model(run.run_folder / "student"), one.validation["validation"], 0, Workers(), "float32")
        for run in (one, two)
    ]
    assert abs(logits[0] - logits[1]).max() < LOGIT_TOLERANCE


@pytest.mark.parametrize("num_workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_killed_worker_is_replaced_and_the_numbers_stay(tmp_path, monkeypatch, in_one_process, num_workers):
    workers = f"compute.num_workers={num_workers}"
    on_ray = prepared_run(
        tmp_path / "ray",
        "minidisc",
        WATCHED_SANDWICH,
        "compute.max_failures=1",
        "compute.retry_wait_seconds=1",
        workers,
    )
    title = "ray::RayTrainWorker" if num_workers > 1 else TRIAL_TITLES
    killed, loaded, reasons = [], [], []
    load, reason_of = TuneTrial.get_pickled_error, _TuneErrors.sentence

    def load_and_note(trial):
        loaded.append(load(trial))
        return loaded[-1]

    def sentence(errors, trial_id):
        reasons.append(reason_of(errors, trial_id))
        return reasons[-1]

    monkeypatch.setattr(TuneTrial, "get_pickled_error", load_and_note)
    monkeypatch.setattr(_TuneErrors, "sentence", sentence)

    def kill() -> None:
        wait_until(lambda: is_in_sandwich(on_ray.run_folder), 240, "the sandwich's first checkpoint")
        killed.extend(pid for pid, name in processes_below(os.getpid()).items() if name.startswith(title))
        for pid in killed[:1]:
            os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    result = run_on_ray(on_ray)
    killer.join()
    assert len(killed) == num_workers
    (reason,) = reasons
    assert "its process died" not in reason, "Ray knows more"
    assert list((on_ray.run_folder / "ray").rglob("error.pkl"))
    assert set(loaded) == {None}, "pickles in the storage are left alone"
    if num_workers == 1:
        here, reference = in_one_process
        assert numbers(result) == numbers(reference)
        assert student_weights(on_ray) == student_weights(here)
    sandwich = [attempt for attempt in attempts_of(on_ray, "stage") if attempt.name == "sandwich"]
    assert [attempt.status for attempt in sandwich] == ["failed", "finished"], "the driver says its end"
    assert sandwich[0].seconds > 0, "and is counted up to its last beat"
    charged = next(stage for stage in result.cost.stages if stage.stage == "sandwich")
    assert charged.seconds == pytest.approx(sum(attempt.seconds for attempt in sandwich))
    # Nothing that was finished is done again.
    assert [a.name for a in attempts_of(on_ray, "stage") if a.name != "sandwich"] == [
        "teacher",
        "importance",
        "choose",
        "student",
    ]
    holds = attempts_of(on_ray, "hold")
    assert len(holds) == 2, "the group of workers was given back, and another one was asked for"
    assert holds[-1].status == "finished"
