"""Writes a finished run's ``result.json``, ``student/`` and ``family/`` from its stages' records."""

import math
import platform
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.identity import comparable_setting, digest
from minidisc_ray.configs.redact import redacted
from minidisc_ray.configs.schedule import ScheduleConfig
from minidisc_ray.core.flops import encoder_parameters, forward_macs, kept_share, total_parameters
from minidisc_ray.core.race import RaceEvent
from minidisc_ray.core.structure import Structure
from minidisc_ray.evaluation import majority_scores, merge_scores
from minidisc_ray.log import logger
from minidisc_ray.models.weight_files import INDEX, WEIGHTS
from minidisc_ray.pipeline.candidates import candidate_records, choices_by_lambda
from minidisc_ray.pipeline.costs import cost_record, first_start, trial_records
from minidisc_ray.pipeline.decision import decided, decision_of
from minidisc_ray.pipeline.early_end import early_end_record, verdicts
from minidisc_ray.pipeline.family import keep_family
from minidisc_ray.pipeline.method import method_of, selection_rule, teacher_source
from minidisc_ray.pipeline.structures import final_structure, structures_of
from minidisc_ray.pipeline.trial import stage_folder
from minidisc_ray.preparation.checkpoint_student import CheckpointStudent
from minidisc_ray.preparation.closed_form import Estimator
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.run_files.failures import read_failure, remove_failure, trial_folder
from minidisc_ray.run_files.fetching import fetch_records, fetch_run
from minidisc_ray.run_files.history import append_epoch, read_history
from minidisc_ray.run_files.predictions import (
    SELECTION,
    VALIDATION,
    predictions_path,
    read_predictions,
    write_predictions,
)
from minidisc_ray.run_files.records import StageRecord, copy_model, read_record
from minidisc_ray.run_files.result import ModelRecord, RunResult, SplitRecord, load_result, write_result
from minidisc_ray.schedules.plan import MAIN_TRIAL, SHARED_TRIAL, TEACHER, Trial
from minidisc_ray.tracking.trackers import track_result
from minidisc_ray.training.loop import TrainingError


def finish_run(prepared: PreparedRun, started_at: float) -> RunResult:
    """Write ``result.json``, ``student/`` and ``family/`` once a run's trials are over.

    Raises:
        TrainingError: if no trial finished, or the teacher's record is gone.
        UserError: if the student is damaged and the model that it was copied from was freed.
    """
    folder, storage = prepared.run_folder, prepared.storage
    fetch_run(storage, folder)
    fetch_records(storage, prepared.teacher_folder, prepared.importance_folder)
    asked, prepared = prepared.config.schedule, decided(prepared)
    result, winner = _result(prepared, asked, started_at)
    result = RunResult.model_validate(redacted(result.model_dump()))
    source = stage_folder(trial_folder(folder, winner.name), winner.steps[-1]) / "model"
    storage.fetch_sealed(source)
    if storage.exists(source):
        copy_model(storage, source, folder / "student")
    elif (flaw := _student_flaw(prepared)) is not None:
        raise UserError(
            f"{folder / 'student'}: the student {flaw}, and the model in {source.parent} was freed; remove that folder "
            "and run again, which trains the student again"
        )
    keep_family(prepared, [record for trial in prepared.plan.all_trials() for record in _records(prepared, trial)])
    labels = {f"{VALIDATION}/{name}": rows.labels.numpy() for name, rows in prepared.validation.items()}
    write_predictions(storage, predictions_path(folder), {SELECTION: prepared.selection.labels.numpy(), **labels})
    _keep_teacher(prepared)
    remove_failure(storage, folder, MAIN_TRIAL)
    write_result(storage, folder, result)
    track_result(prepared, result)
    return result


def _keep_teacher(prepared: PreparedRun) -> None:
    """Keep the teacher's predictions and epochs with the run, whichever run trained it, for reports."""
    folder, storage = prepared.run_folder, prepared.storage
    with suppress(UserError):  # of damaged predictions: a report goes without them
        predictions = read_predictions(predictions_path(prepared.teacher_folder, MAIN_TRIAL, TEACHER))
        if predictions is not None:
            write_predictions(storage, predictions_path(folder, MAIN_TRIAL, TEACHER), predictions)
    record = read_record(storage, prepared.teacher_folder)
    if record is None or any(note.stage == TEACHER for note in read_history(folder)):
        return
    steps = math.ceil(len(prepared.train) / prepared.config.finetune.batch_size)
    for epoch in record.history:
        append_epoch(storage, folder, SHARED_TRIAL, TEACHER, steps * epoch.epoch, epoch)


def is_trial_finished(prepared: PreparedRun, trial: Trial) -> bool:
    """Whether every step of a trial left its record, undamaged."""
    folder = trial_folder(prepared.run_folder, trial.name)
    fetch_records(prepared.storage, folder / "stages")
    trial = decided(prepared).plan.trial(trial.name) or trial
    # Without its last record a trial is unfinished, whatever the others say: that one is read first.
    return all(read_record(prepared.storage, stage_folder(folder, step)) is not None for step in reversed(trial.steps))


def is_finished(prepared: PreparedRun) -> bool:
    """Whether the run has its result and no trial failed.

    False also if the result is damaged, or the student is damaged or gone: the run makes them again.
    """
    try:
        result = load_result(prepared.run_folder)
    except UserError:
        return False
    if (flaw := _student_flaw(prepared)) is not None:
        logger.warning("%s: the student %s and is made again", prepared.run_folder, flaw)
        return False
    return _nothing_failed(result)


def has_result(prepared: PreparedRun) -> bool:
    """Whether the run is finished, or has its whole result and its student was taken away: a table needs no student."""
    try:
        result = load_result(prepared.run_folder)
    except UserError:
        return False
    if (result.method_digest, result.seed) != (_method_digest(prepared), prepared.config.seed):
        return False
    if prepared.storage.is_stored(prepared.run_folder / "student" / "config.json"):
        return is_finished(prepared)
    return _nothing_failed(result)


def _method_digest(prepared: PreparedRun) -> str:
    return digest({key: value for key, value in prepared.identity.items() if key != "seed"})


def _nothing_failed(result: RunResult) -> bool:
    return all(trial.status != "failed" for trial in result.trials)


def _student_flaw(prepared: PreparedRun) -> str | None:
    student, storage = prepared.run_folder / "student", prepared.storage
    if not storage.is_stored(student / "config.json"):
        return "is gone"
    flaw = storage.check_seal(student)
    # Without a seal nothing is known to be missing.
    if flaw is None and not storage.is_bucket and not any((student / name).is_file() for name in (WEIGHTS, INDEX)):
        flaw = "it has no weights"
    return None if flaw is None else f"is damaged ({flaw})"


def _result(prepared: PreparedRun, asked: ScheduleConfig, started_at: float) -> tuple[RunResult, Trial]:
    """The result of a run that has decided, with the recipe's own schedule, and the trial of its student."""
    config, task, checkpoint_student = prepared.config, prepared.task, prepared.checkpoint_student
    teacher_record = read_record(prepared.storage, prepared.teacher_folder)
    if teacher_record is None:
        raise TrainingError(f"the teacher's record in {prepared.teacher_folder} is missing; run again")
    plan = prepared.plan
    records = {trial.name: _records(prepared, trial) for trial in plan.all_trials()}
    finished = [trial for trial in plan.ends if is_trial_finished(prepared, trial)]
    if not finished:
        reasons = (read_failure(prepared.run_folder, trial.name) for trial in (*plan.probes, *plan.ends))
        raise TrainingError(f"no trial finished: {next(filter(None, reasons), 'see the logs of its workers')}")

    def student_metric(trial: Trial) -> tuple[float, int]:
        last = records[trial.name][-1]
        # Among equal students the one with the smaller assistant wins: it was cheaper.
        return task.selection_score(last.selection_metrics[last.percent]), -(trial.assistant_percent or 0)

    winner = max(finished, key=student_metric)
    student_record = records[winner.name][-1]
    student_percent = prepared.plan.student_percent
    recorded = {record.scale_percent for found in records.values() for record in found if record.scale_percent}
    scales = {*config.candidate_scales(), *recorded} - {student_percent}
    structures = structures_of(prepared, tuple(sorted(scales, reverse=True)))
    cost = cost_record(prepared, records)
    candidates = candidate_records(prepared, records, structures, teacher_record)
    by_lambda = choices_by_lambda(prepared, records)
    checks = next((record.race for found in records.values() for record in found if record.race), ())
    events = [RaceEvent(check.step, check.alive, check.num_rows) for check in checks]
    importance = read_record(prepared.storage, prepared.importance_folder)
    num_rows = importance.num_rows if importance is not None else None
    trial_verdicts = verdicts(prepared)
    promoted = {name for name, verdict in trial_verdicts.items() if verdict == "goes on"}
    estimator = Estimator(prepared, race=events, importance_rows=num_rows, promoted=promoted or None)
    estimates = [stage for stage in estimator.stages() if stage.in_ratio]
    assistants = [r for r in records[winner.name] if r.scale_percent not in (None, student_percent)]
    now = datetime.now(UTC)
    result = RunResult(
        name=prepared.name,
        method=method_of(asked),
        label=asked.label,
        objective=config.objective.label,
        task=task.name,
        primary_metric=task.primary_metric,
        selection_metric=task.selection_label,
        seed=config.seed,
        protocol=config.protocol,
        selection_split=prepared.splits.selection_description,
        data_digest=prepared.splits.digest,
        setting_digest=digest(comparable_setting(prepared.identity)),
        step_digest=digest({k: v for k, v in prepared.identity.items() if k not in ("seed", "objective")}),
        method_digest=_method_digest(prepared),
        majority_metrics=merge_scores(
            task,
            {
                name: majority_scores(task, prepared.splits.train.labels, rows.labels)
                for name, rows in prepared.splits.validation.items()
            },
        ),
        majority_of="scored rows",
        teacher=_model(prepared, prepared.shape.full(), teacher_record),
        teacher_source=teacher_source(prepared),
        teacher_may_have_seen_selection=prepared.teacher_is_fine_tuned and config.protocol == "held_out",
        teacher_warning=teacher_record.warning,
        assistants=tuple(_model(prepared, structures[r.percent], r) for r in assistants),
        candidates=tuple(candidates),
        choice_by_lambda={f"{lam:.1f}": scale for lam, (_, scale) in by_lambda.items()},
        epoch_by_lambda={f"{lam:.1f}": epoch for lam, (epoch, _) in by_lambda.items()},
        selection_rule=selection_rule(config.schedule),
        race=checks,
        decision=decision_of(prepared),
        label_names=task.label_names,
        student=_model(
            prepared,
            final_structure(prepared, winner, records[winner.name]),
            student_record,
            checkpoint_student,
        ),
        student_trial=winner.name,
        student_source=checkpoint_student.source if checkpoint_student is not None else None,
        student_step_seconds=student_record.step_seconds,
        student_step_memory_bytes=student_record.step_memory_bytes,
        trials=trial_records(prepared, records, trial_verdicts) if prepared.plan.is_sweep else (),
        early_end=early_end_record(prepared, trial_verdicts),
        cost=cost,
        splits=_splits(prepared),
        closed_form_training_flops=sum(stage.training_flops for stage in estimates),
        closed_form_evaluation_flops=sum(stage.evaluation_flops for stage in estimates),
        versions=_versions(),
        threads=config.compute.cpus_per_worker * config.compute.num_workers,
        devices=f"{cost.stages[-1].devices:g} x {cost.stages[-1].device_type}",
        started_at=first_start(prepared, started_at),
        finished_at=now.isoformat(timespec="seconds"),
    )
    return result, winner


def _records(prepared: PreparedRun, trial: Trial) -> list[StageRecord]:
    folder = trial_folder(prepared.run_folder, trial.name)
    found = (read_record(prepared.storage, stage_folder(folder, step)) for step in trial.steps)
    return [record for record in found if record is not None]


def _model(
    prepared: PreparedRun,
    structure: Structure,
    record: StageRecord,
    checkpoint_student: CheckpointStudent | None = None,
) -> ModelRecord:
    is_cut = checkpoint_student is None
    shape = prepared.shape if checkpoint_student is None else checkpoint_student.shape
    return ModelRecord(
        scale_percent=structure.scale_percent,
        encoder_parameters=encoder_parameters(shape, structure),
        total_parameters=total_parameters(shape, structure),
        macs_at_128=forward_macs(shape, structure, rows=1, length=128),
        # A share of the teacher's units, so empty for a model that is not cut from the teacher.
        kept_share=kept_share(shape, structure) if is_cut else {},
        heads=structure.heads,
        neurons=structure.neurons,
        source_layers=prepared.kept_layers if is_cut and len(structure.heads) < shape.num_layers else (),
        selection_metrics=record.selection_metrics.get(structure.scale_percent, {}),
        validation_metrics=record.validation_metrics,
    )


def _versions() -> dict[str, str]:
    """Versions of Python and of the packages that affect the numbers, except any not installed, as Ray may be."""
    found = {}
    for name in ("minidisc-ray", "ray", "torch", "transformers", "datasets"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found | {"python": platform.python_version()}


def _splits(prepared: PreparedRun) -> dict[str, SplitRecord]:
    encoded = {"train": prepared.train, "selection": prepared.selection, **prepared.validation}
    return {name: SplitRecord(rows=len(rows), truncated_rows=rows.truncated_rows) for name, rows in encoded.items()}
