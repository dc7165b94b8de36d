import json
import sys

import pytest
import torch
import yaml
from pipeline_kit import SCHEDULES, numbers, prepared_run, random_teacher, run, stages_of
from safetensors.torch import load_file

from minidisc_ray.accounting.ledger import Ledger
from minidisc_ray.configs import UserError, resolve
from minidisc_ray.core.flops import forward_macs
from minidisc_ray.core.tradeoff import best_scale, lambda_tradeoff
from minidisc_ray.evaluation import score
from minidisc_ray.models.checkpoint import load_model
from minidisc_ray.models.pruned import structure_of
from minidisc_ray.models.surgery import cut
from minidisc_ray.pipeline.estimate import Estimator
from minidisc_ray.pipeline.failures import trial_folder
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.pipeline.observer import StageObserver
from minidisc_ray.pipeline.progress import read_progress
from minidisc_ray.pipeline.records import read_record
from minidisc_ray.pipeline.result import load_result
from minidisc_ray.pipeline.run_directory import clean, open_run
from minidisc_ray.pipeline.shared import importance_folder, structures_of, teacher_folder
from minidisc_ray.training.score import score_model
from minidisc_ray.training.workers import Workers

KINDS = tuple(SCHEDULES)


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    """One storage with a finished run of every schedule; tests that change it copy it or use their own."""
    root = tmp_path_factory.mktemp("storage")
    for kind in KINDS:
        run(root, kind)
    return root


def metrics_of(prepared, model, rows):
    logits = score_model(model, rows, prepared.pad_token_id, Workers(), "float32")
    return score(prepared.task, logits, rows.labels.numpy())


def attempts_in(folder):
    return Ledger(folder / "ledger.jsonl").attempts()


class Interrupted(Exception):  # noqa: N818 - stands for whatever ends a process
    pass


def interrupt(monkeypatch, stage, epoch):
    """The process ends after an epoch of a stage: its checkpoint is written, nothing after it is."""
    original = StageObserver.on_epoch

    def on_epoch(self, record, checkpoint):
        original(self, record, checkpoint)
        if (self.stage, record.epoch) == (stage, epoch):
            self.close()
            raise Interrupted

    monkeypatch.setattr(StageObserver, "on_epoch", on_epoch)


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_leaves_a_whole_run_directory(storage, kind):
    prepared = prepared_run(storage, kind)
    folder = prepared.run_folder
    result = load_result(folder)
    assert (result.method, result.name, result.seed) == (kind, folder.name, 0)
    assert {path.name for path in folder.iterdir()} >= {"config.yaml", "result.json", "ledger.jsonl", "student"}
    assert resolve(yaml.safe_load((folder / "config.yaml").read_text())) == prepared.config
    assert result.student.scale_percent == 10
    assert 0 <= result.student.validation_metrics["accuracy"] <= 1
    assert result.student.total_parameters > result.student.encoder_parameters > 0
    assert result.student.macs_at_128 == forward_macs(prepared.shape, structures_of(prepared, (10,))[10], 1, 128)
    assert {name: split.rows for name, split in result.splits.items()} == {
        "train": 115,
        "selection": 13,
        "validation": 64,
    }
    assert {progress.status for progress in read_progress(folder)} == {"finished"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_schedule_reports_its_own_way(storage, kind):
    result = load_result(prepared_run(storage, kind).run_folder)
    scales = {"conventional": [], "assistant": [40], "minidisc": [60, 30], "maxidisc": [60, 30]}[kind]
    assert [candidate.scale_percent for candidate in result.candidates] == scales
    assert len(result.assistants) == (0 if kind == "conventional" else 1)
    assert len(result.trials) == (2 if kind == "maxidisc" else 0)
    assert len(result.choice_by_lambda) == (7 if kind == "minidisc" else 0)
    metrics = {candidate.scale_percent: candidate.metric for candidate in result.candidates}
    tradeoffs = lambda_tradeoff(metrics, 0.2)
    assert {c.scale_percent: c.lambda_tradeoff for c in result.candidates} == pytest.approx(tradeoffs)
    if kind == "minidisc":
        # Two of three scales are trained: the largest candidate and the student's own; 30 is evaluated alone.
        assert [candidate.trained for candidate in result.candidates] == [True, False]
        assert result.assistants[0].scale_percent == best_scale(tradeoffs)
        assert result.choice_by_lambda["0.2"] == best_scale(tradeoffs)
    if kind == "maxidisc":
        best = max(result.trials, key=lambda trial: (trial.student_selection, -trial.assistant_percent))
        assert result.assistants[0].scale_percent == best.assistant_percent
        assert result.student.selection_metrics["accuracy"] == best.student_selection
        assert result.student.validation_metrics["accuracy"] == best.student_validation


@pytest.mark.parametrize("kind", KINDS)
def test_the_student_scores_what_the_result_says(storage, kind):
    prepared = prepared_run(storage, kind)
    result = load_result(prepared.run_folder)
    student = load_model(prepared.run_folder / "student")
    assert metrics_of(prepared, student, prepared.validation["validation"]) == result.student.validation_metrics
    assert metrics_of(prepared, student, prepared.selection) == result.student.selection_metrics
    assert structure_of(student.config).heads == result.student.heads
    assert structure_of(student.config).neurons == result.student.neurons
    assert sum(parameter.numel() for parameter in student.parameters()) == result.student.total_parameters
    assert student.config.id2label == {0: "negative", 1: "positive"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_tells_its_objective_and_what_a_step_takes(storage, kind):
    prepared = prepared_run(storage, kind)
    result = load_result(prepared.run_folder)
    assert result.objective == prepared.config.objective.label == "LTSD"
    made = next(stage for stage in reversed(result.cost.stages) if stage.stage == "student")
    assert 0 < result.student_step_seconds < made.seconds
    if sys.platform == "linux":
        assert result.student_step_memory_bytes >= 0
    stages = {"conventional": ["student"], "minidisc": ["sandwich", "student"]}.get(kind, ["assistant", "student"])
    for trial in prepared.plan.trials:
        for stage in stages:
            record = read_record(trial_folder(prepared.run_folder, trial.name) / "stages" / stage)
            assert record.step_seconds > 0, (trial.name, stage)


def assistant_of(result):
    return result.assistants[0].scale_percent if result.assistants else None


@pytest.mark.parametrize("kind", KINDS)
def test_a_teacher_that_came_fine_tuned_is_used_as_it_is(tmp_path, kind):
    overrides = random_teacher(tmp_path / "teacher")
    prepared = prepared_run(tmp_path / "runs", kind, overrides)
    result = run_in_process(prepared)
    assert result.teacher_source == "teacher, used as it is"
    assert result.teacher_may_have_seen_selection
    assert result.cost.teacher_training_flops == 0
    validation = prepared.validation["validation"]
    given, kept = load_model(tmp_path / "teacher"), load_model(teacher_folder(prepared) / "model")
    assert all(torch.equal(*pair) for pair in zip(given.parameters(), kept.parameters(), strict=True))
    assert metrics_of(prepared, given, validation) == result.teacher.validation_metrics
    logits = score_model(given, validation, prepared.pad_token_id, Workers(), "float32")
    assert 0.1 < logits.argmax(-1).mean() < 0.9, "a teacher that always says the same shows nothing"
    student = load_model(prepared.run_folder / "student")
    assert metrics_of(prepared, student, validation) == result.student.validation_metrics
    assert metrics_of(prepared, student, prepared.selection) == result.student.selection_metrics
    winner = next(
        (t for t in prepared.plan.trials if t.assistant_percent == assistant_of(result)), prepared.plan.trials[0]
    )
    made = trial_folder(prepared.run_folder, winner.name) / "stages" / "student" / "model" / "model.safetensors"
    assert (prepared.run_folder / "student" / "model.safetensors").read_bytes() == made.read_bytes()
    for assistant in result.assistants:
        assert assistant.validation_metrics.keys() == {"accuracy"}


@pytest.mark.parametrize("kind", KINDS)
def test_running_again_trains_nothing_and_gives_the_same_numbers(storage, kind):
    prepared = prepared_run(storage, kind)
    before, attempts = load_result(prepared.run_folder), stages_of(prepared)
    weights = (prepared.run_folder / "student" / "model.safetensors").read_bytes()
    again = run_in_process(prepared)
    assert stages_of(prepared) == attempts
    assert numbers(again) == numbers(before)
    assert again.cost == before.cost
    assert (prepared.run_folder / "student" / "model.safetensors").read_bytes() == weights


def test_the_same_seed_gives_the_same_numbers_elsewhere(storage, tmp_path):
    result = run(tmp_path, "minidisc")
    there = prepared_run(storage, "minidisc").run_folder
    assert numbers(result) == numbers(load_result(there))
    here = prepared_run(tmp_path, "minidisc").run_folder
    assert (here / "student" / "model.safetensors").read_bytes() == (
        there / "student" / "model.safetensors"
    ).read_bytes()


def test_the_teacher_and_importance_are_shared_and_charged_all_the_same(storage):
    made, *others = [prepared_run(storage, kind) for kind in KINDS]
    costs = {kind: load_result(prepared_run(storage, kind).run_folder).cost for kind in KINDS}
    for kind, cost in costs.items():
        shared = {stage.stage: stage for stage in cost.stages if stage.trial == "shared"}
        assert set(shared) == {"teacher", "importance"}
        assert {stage.reused for stage in shared.values()} == {kind != "conventional"}  # which ran first
        assert not shared["teacher"].in_ratio
        assert shared["importance"].in_ratio
        assert shared["importance"].training_flops == costs["conventional"].stages[1].training_flops > 0
        assert cost.training_flops == sum(stage.training_flops for stage in cost.stages if stage.in_ratio)
        assert cost.device_hours == pytest.approx(sum(s.device_hours for s in cost.stages if s.in_ratio))
        assert cost.teacher_device_hours == shared["teacher"].device_hours > 0
        assert cost.teacher_training_flops == shared["teacher"].training_flops > 0
    assert {attempt.name for attempt in stages_of(made)} == {"teacher", "importance", "student"}
    for prepared in others:
        assert not {"teacher", "importance"} & {attempt.name for attempt in stages_of(prepared)}
    assert len({prepared.teacher_key for prepared in (made, *others)}) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_the_sum_of_the_ledger_is_seconds_held_times_devices(storage, kind):
    prepared = prepared_run(storage, kind)
    cost = load_result(prepared.run_folder).cost
    stages = stages_of(prepared)
    shared = [a for name in (teacher_folder(prepared), importance_folder(prepared)) for a in attempts_in(name)]
    own = [attempt for attempt in stages if attempt.name not in ("teacher", "importance")]
    charged = sum(stage.device_hours for stage in cost.stages)
    assert charged == pytest.approx(sum(a.seconds * a.devices for a in (*shared, *own)) / 3600)
    assert all(stage.device_hours == pytest.approx(stage.seconds * stage.devices / 3600) for stage in cost.stages)
    held = [a for a in Ledger(prepared.run_folder / "ledger.jsonl").attempts() if a.kind == "hold"]
    assert len(held) == (2 if kind == "maxidisc" else 1)
    assert cost.startup_device_hours == pytest.approx(
        sum(a.device_hours for a in held) - sum(a.device_hours for a in stages), abs=1e-6
    )
    assert cost.device_unit == "core-hours"


@pytest.mark.parametrize("kind", KINDS)
def test_measured_training_flops_are_those_of_the_closed_form(storage, kind):
    prepared = prepared_run(storage, kind)
    result = load_result(prepared.run_folder)
    assert result.cost.training_flops == pytest.approx(result.closed_form_training_flops, rel=0.02)
    for stage in Estimator(prepared).stages():
        found = [s for s in result.cost.stages if s.stage == stage.stage and s.trial in (stage.trial, "shared")]
        # The choice is known only afterwards: before it, the student's teacher is the middle of the grid.
        chosen = kind == "minidisc" and stage.stage == "student"
        assert found[0].training_flops == pytest.approx(stage.training_flops, rel=0.25 if chosen else 0.02), stage


def test_per_step_sampling_runs_and_costs_what_the_closed_form_says(storage):
    result = run(storage, "minidisc", ("schedule.sampling=per_step", "sandwich={num_epochs: 3, batch_size: 16}"))
    assert [candidate.trained for candidate in result.candidates] == [True, True]
    found = next(stage for stage in result.cost.stages if stage.stage == "sandwich")
    assert found.num_epochs == 3
    assert result.cost.training_flops == pytest.approx(result.closed_form_training_flops, rel=0.05)


@pytest.mark.parametrize(
    ("kind", "stage"),
    [("conventional", "student"), ("minidisc", "sandwich"), ("minidisc", "student"), ("maxidisc", "student")],
)
def test_an_interrupted_run_goes_on_to_the_same_result(tmp_path, monkeypatch, kind, stage):
    overrides = ("distil.num_epochs=2",)
    whole = run(tmp_path / "whole", kind, overrides)
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
    kept = [
        root / stopped.name / "student" / "model.safetensors" for root in (tmp_path / "whole", tmp_path / "stopped")
    ]
    first, second = (load_file(path) for path in kept)
    assert all(torch.equal(first[name], second[name]) for name in first)
    # What was finished is not made again; what was interrupted is charged for both attempts.
    for name in {attempt.name for attempt in before} - {stage}:
        assert [a.status for a in stages_of(stopped) if a.name == name and a.trial == before[0].trial] == ["finished"]
    held = [a for a in stages_of(stopped) if a.name == stage and a.trial == before[-1].trial]
    assert [attempt.status for attempt in held] == ["failed", "finished"]
    cost = next(s for s in resumed.cost.stages if (s.stage, s.trial) == (stage, before[-1].trial))
    assert cost.seconds == pytest.approx(sum(attempt.seconds for attempt in held))


def test_an_interrupted_teacher_goes_on_in_its_own_run(tmp_path, monkeypatch):
    whole = run(tmp_path / "whole", "conventional")
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
    attempts = attempts_in(teacher_folder(stopped))
    assert [attempt.status for attempt in attempts] == ["failed", "finished"]
    assert teacher.seconds == pytest.approx(sum(attempt.seconds for attempt in attempts))
    assert [a.status for a in stages_of(stopped) if a.name == "teacher"] == ["failed", "finished"]


@pytest.mark.parametrize("rule", ["{kind: lambda, lam: 0.2}", "{kind: negative_derivative}"])
def test_the_sandwich_keeps_the_epoch_with_the_largest_best_tradeoff(tmp_path, monkeypatch, rule):
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
    teacher = result.teacher.selection_metrics["accuracy"]

    def best_tradeoff(record):
        large, small = record.metrics[60]["accuracy"], record.metrics[30]["accuracy"]
        if "lambda" in rule:
            return max(large + 0.2 * 0.4, small + 0.2 * 0.7)
        return max(-(teacher - large) / 0.4, -(large - small) / 0.3)

    values = [best_tradeoff(record) for record in records]
    assert [record.goodness for record in records] == pytest.approx(values)
    record = read_record(prepared.run_folder / "stages" / "sandwich")
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


def test_a_run_directory_made_by_another_config_is_refused(tmp_path):
    open_run(prepared_run(tmp_path, "conventional", ("name=mine",)))
    open_run(prepared_run(tmp_path, "conventional", ("name=mine",)))
    open_run(prepared_run(tmp_path, "conventional", ("name=mine", "compute.cpus_per_worker=2")))
    with pytest.raises(UserError, match=r"^name: .*mine was made by another config \(different: seed\)"):
        prepared_run(tmp_path, "conventional", ("name=mine", "seed=1"))
    with pytest.raises(UserError, match=r"different: schedule"):
        prepared_run(tmp_path, "minidisc", ("name=mine",))


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    (tmp_path / "mine").mkdir()
    prepared_run(tmp_path, "conventional", ("name=mine",))
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match=r"^name: .*is not a run's folder"):
        prepared_run(tmp_path, "conventional", ("name=mine",))
    (tmp_path / "mine" / "identity.json").write_text("{")
    with pytest.raises(UserError, match=r"^name: .*cannot be read"):
        prepared_run(tmp_path, "conventional", ("name=mine",))


def test_a_storage_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match=r"^storage: .*cannot be written.*not a writable folder"):
            prepared_run(place, "conventional")
    with pytest.raises(UserError, match=r"^storage: ftp://host/x: ftp:// is not supported"):
        prepared_run(tmp_path, "conventional", ("storage=ftp://host/x",))
    with pytest.raises(UserError, match=r"^name: .*(leaves|use letters)"):
        prepared_run(tmp_path, "conventional", ("name=../x",))
    assert [path.name for path in tmp_path.iterdir()] == ["file"], "a check makes nothing"


def test_a_student_without_any_head_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"^student\.scale_percent: at 5 percent no attention head is left"):
        prepared_run(tmp_path, "conventional", ("student.scale_percent=5",))
    prepared_run(tmp_path, "conventional", ("student.scale_percent=7",))


def test_max_length_beyond_the_positions_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"^data\.max_length: 129 .*128 positions"):
        prepared_run(tmp_path, "conventional", ("data.max_length=129",))


def test_results_of_other_versions_and_folders_without_one_are_refused(tmp_path, storage):
    with pytest.raises(UserError, match=r"no result\.json"):
        load_result(tmp_path)
    raw = json.loads((prepared_run(storage, "conventional").run_folder / "result.json").read_text())
    (tmp_path / "result.json").write_text(json.dumps({**raw, "schema_version": 99}))
    with pytest.raises(UserError, match="schema version 99"):
        load_result(tmp_path)
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        load_result(tmp_path)


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def size_of(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_clean_keeps_results_and_unfinished_runs_and_frees_the_rest(tmp_path, monkeypatch):
    for kind in ("minidisc", "maxidisc"):
        run(tmp_path, kind)
    finished = [prepared_run(tmp_path, kind).run_folder for kind in ("minidisc", "maxidisc")]
    for folder in finished:
        (folder / "report.html").write_text("<html>")
    stopped = prepared_run(tmp_path, "conventional", ("distil.num_epochs=2",))
    with monkeypatch.context() as patch:
        interrupt(patch, "student", epoch=1)
        with pytest.raises(Interrupted):
            run_in_process(stopped)
    orphan = tmp_path / "_shared" / "teacher-0000"
    orphan.mkdir()
    (orphan / "model.safetensors").write_bytes(b"x" * 1000)
    foreign = tmp_path / "notes"
    foreign.mkdir()
    (foreign / "stages").write_text("not ours")

    keep = ("result.json", "ledger.jsonl", "report.html", "config.yaml", "identity.json")
    kept = {folder / name: (folder / name).read_bytes() for folder in finished for name in keep}
    students = [files_of(folder / "student") for folder in finished]
    unfinished, before = files_of(stopped.run_folder), size_of(tmp_path)

    assert clean(tmp_path, dry_run=True).bytes > 0
    assert size_of(tmp_path) == before, "a dry run frees nothing"
    freed = clean(tmp_path)
    assert size_of(tmp_path) == before - freed.bytes
    assert not (finished[0] / "stages").exists()
    assert not list(finished[1].glob("trials/*/stages/*/model"))
    assert not orphan.exists()
    assert (foreign / "stages").read_text() == "not ours"
    assert {path: path.read_bytes() for path in kept} == kept
    assert [files_of(folder / "student") for folder in finished] == students
    assert files_of(stopped.run_folder) == unfinished
    assert clean(tmp_path).bytes == 0

    # The teacher is still there for the run that is not finished, which goes on.
    result = run_in_process(stopped)
    assert result.cost.stages[0].reused
    load_model(finished[0] / "student")


def test_clean_refuses_a_storage_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="no such storage"):
        clean(tmp_path / "missing")


def test_trials_of_a_sweep_lie_apart(storage):
    prepared = prepared_run(storage, "maxidisc")
    folders = [trial_folder(prepared.run_folder, trial.name) for trial in prepared.plan.trials]
    assert [folder.relative_to(prepared.run_folder).as_posix() for folder in folders] == [
        "trials/scale-60",
        "trials/scale-30",
    ]
    for folder, scale in zip(folders, (60, 30), strict=True):
        assert read_record(folder / "stages" / "assistant").scale_percent == scale
        assert structure_of(load_model(folder / "stages" / "student" / "model").config).scale_percent == 10


def test_clean_removes_nothing_from_a_folder_that_is_not_ours(tmp_path):
    project = tmp_path / "project"
    (project / "stages").mkdir(parents=True)
    for name, text in {"identity.json": '{"me": "somebody"}', "result.json": "{}", "stages/work.txt": "mine"}.items():
        (project / name).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="no runs there"):
        clean(tmp_path)
    assert (project / "stages" / "work.txt").read_text() == "mine"
