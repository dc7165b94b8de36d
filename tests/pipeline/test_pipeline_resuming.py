"""Runs that were interrupted go on to the same numbers, and the sandwich keeps its best epoch."""

import functools

import pytest
import torch
from pipeline_kit import (
    Interrupted,
    attempts_in,
    interrupt,
    metrics_of,
    numbers,
    prepared_run,
    random_teacher,
    run,
    stages_of,
)
from safetensors.torch import load_file
from storage_kit import LOCAL

from minidisc_ray.models.checkpoint import load_model
from minidisc_ray.models.surgery import cut
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.pipeline.observer import StageObserver
from minidisc_ray.pipeline.structures import structures_of
from minidisc_ray.run_files.progress import read_progress
from minidisc_ray.run_files.records import read_record


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """A storage, and the result of a run of a kind in it that nothing interrupted."""
    storage = tmp_path_factory.mktemp("whole")
    return storage, functools.cache(lambda kind, overrides: run(storage, kind, overrides))


@pytest.mark.parametrize(
    ("kind", "stage"),
    [
        ("conventional", "student"),
        ("minidisc", "sandwich"),
        pytest.param("minidisc", "student", marks=pytest.mark.slow),
        ("maxidisc", "student"),
    ],
)
def test_an_interrupted_run_goes_on_to_the_same_result(tmp_path, whole_run, monkeypatch, kind, stage):
    overrides = ("distil.num_epochs=2",)
    whole = whole_run[1](kind, overrides)
    stopped = prepared_run(tmp_path / "stopped", kind, overrides)
    with monkeypatch.context() as patch:
        interrupt(patch, stage, epoch=1)
        with pytest.raises(Interrupted):
            run_in_process(stopped)
    assert not (stopped.run_folder / "result.json").exists()
    assert [progress.status for progress in read_progress(stopped.run_folder)] == ["failed"]
    before = stages_of(stopped)
    assert [attempt.status for attempt in before if attempt.name == stage] == ["failed"]

    resumed = run_in_process(stopped)
    assert numbers(resumed) == numbers(whole)
    kept = [root / stopped.name / "student" / "model.safetensors" for root in (whole_run[0], tmp_path / "stopped")]
    first, second = (load_file(path) for path in kept)
    assert all(torch.equal(first[name], second[name]) for name in first)
    # What was finished is not made again; what was interrupted is charged for both attempts.
    for name in {attempt.name for attempt in before} - {stage}:
        assert [a.status for a in stages_of(stopped) if a.name == name and a.trial == before[0].trial] == ["finished"]
    held = [a for a in stages_of(stopped) if a.name == stage and a.trial == before[-1].trial]
    assert [attempt.status for attempt in held] == ["failed", "finished"]
    cost = next(s for s in resumed.cost.stages if (s.stage, s.trial) == (stage, before[-1].trial))
    assert cost.seconds == pytest.approx(sum(attempt.seconds for attempt in held))


def test_an_interrupted_teacher_goes_on_in_its_own_run(tmp_path, whole_run, monkeypatch):
    whole = whole_run[1]("conventional", ())
    stopped = prepared_run(tmp_path / "stopped", "conventional")
    with monkeypatch.context() as patch:
        interrupt(patch, "teacher", epoch=1)
        with pytest.raises(Interrupted):
            run_in_process(stopped)
    assert not [path for path in stopped.shared_folder.iterdir() if path.name.startswith("teacher")]
    resumed = run_in_process(stopped)
    assert numbers(resumed) == numbers(whole)
    teacher = resumed.cost.stages[0]
    assert teacher.training_flops == pytest.approx(whole.cost.stages[0].training_flops)
    attempts = attempts_in(stopped.teacher_folder)
    assert [attempt.status for attempt in attempts] == ["failed", "finished"]
    assert teacher.seconds == pytest.approx(sum(attempt.seconds for attempt in attempts))
    assert [a.status for a in stages_of(stopped) if a.name == "teacher"] == ["failed", "finished"]


@pytest.mark.parametrize("rule", ["{kind: lambda, lam: 0.2}", "{kind: negative_derivative}"])
def test_the_sandwich_keeps_the_epoch_that_its_rule_judges_best(tmp_path, monkeypatch, rule):
    """By the best λ-tradeoff, or by the mean metric: the negative derivative is largest where an epoch is noisiest."""
    records = []
    original = StageObserver.on_epoch

    def on_epoch(self, record, checkpoint):
        if self.stage == "sandwich":
            records.append(record)
        original(self, record, checkpoint)

    monkeypatch.setattr(StageObserver, "on_epoch", on_epoch)
    sandwich = "sandwich={num_epochs: 5, batch_size: 16, learning_rate: 2e-3, early_stop_epochs: null}"
    overrides = (*random_teacher(tmp_path / "teacher"), sandwich, f"schedule.selection={rule}")
    prepared = prepared_run(tmp_path / "runs", "minidisc", (*overrides, "data.selection_fraction=0.3", "seed=1"))
    result = run_in_process(prepared)

    def best_tradeoff(record):
        large, small = record.metrics[60]["accuracy"], record.metrics[30]["accuracy"]
        if "lambda" in rule:
            return max(large + 0.2 * 0.4, small + 0.2 * 0.7)
        return (large + small) / 2

    values = [best_tradeoff(record) for record in records]
    assert [record.selection_score for record in records] == pytest.approx(values)
    record = read_record(LOCAL, prepared.run_folder / "stages" / "sandwich")
    kept = records[values.index(max(values))]
    assert record.best_epoch == kept.epoch
    assert record.selection_metrics == kept.metrics
    assert len(set(values)) > 1
    assert kept.epoch < 5, "the last epoch is not the best one here, so that keeping it would be seen"
    assert {c.scale_percent: c.metric for c in result.candidates} == {
        scale: kept.metrics[scale]["accuracy"] for scale in (60, 30)
    }
    # The weights are of that epoch too, for every candidate, and not each one's best.
    shared = load_model(prepared.run_folder / "stages" / "sandwich" / "model")
    for scale, structure in structures_of(prepared, (60, 30, 10)).items():
        assert metrics_of(prepared, cut(shared, structure), prepared.selection) == kept.metrics[scale]
