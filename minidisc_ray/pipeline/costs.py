"""Costs of a run's trials and stages for its result, from their records and ledgers."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from minidisc_ray.accounting.attempts import Attempt
from minidisc_ray.accounting.cost import Held, held_by_stage, shares, startup_device_hours, sum_known
from minidisc_ray.accounting.ledger import read_attempts
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.run_files.failures import read_failure
from minidisc_ray.run_files.records import StageRecord, read_record
from minidisc_ray.run_files.result import TrialRecord
from minidisc_ray.run_files.result_costs import AttemptCost, CostRecord, StageCost
from minidisc_ray.schedules.plan import STUDENT

_SECONDS_AN_HOUR = 3600.0
Records = Mapping[str, Sequence[StageRecord]]


def first_start(prepared: PreparedRun, started_at: float) -> str:
    """When the run's first attempt started, as ISO text in UTC.

    Args:
        prepared: the run.
        started_at: of this process, in seconds since the epoch; earlier attempts are in the ledger.
    """
    first = min([started_at, *(attempt.started_at for attempt in prepared.ledger.attempts())])
    return datetime.fromtimestamp(first, UTC).isoformat(timespec="seconds")


def trial_records(prepared: PreparedRun, records: Records, verdicts: Mapping[str, str]) -> tuple[TrialRecord, ...]:
    """A sweep's trials in the plan's order; the cost of a trial's probe counts as the trial's."""
    task, plan = prepared.task, prepared.plan
    attempts = prepared.ledger.attempts()
    probe_of = {probe.assistant_percent: probe.name for probe in plan.probes}
    found = []
    for trial in plan.trials:
        names = [trial.name, *([probe_of[trial.assistant_percent]] if plan.probes else ())]
        held = [stage for name in names for stage in held_by_stage(attempts, name).values()]
        every_record = [record for name in names for record in records[name]]
        is_ended = verdicts.get(trial.name) == "ends"
        by_stage = {record.stage: record for record in records[trial.name]}
        assistant, student = by_stage.get("assistant"), by_stage.get("student")
        is_finished = trial.steps[-1].name in by_stage
        reason = next(filter(None, (read_failure(prepared.run_folder, name) for name in names)), "it did not finish")
        if is_ended:
            probe = next(record for record in every_record if record.stage == STUDENT)
            score = 100 * task.selection_score(probe.selection_metrics[probe.percent])
            num_kept = sum(verdict == "goes on" for verdict in verdicts.values())
            reason = f"its probe's student had {score:.1f}; the best {num_kept} went on, of equals the smaller scale"
        found.append(
            TrialRecord(
                name=trial.name,
                assistant_percent=trial.assistant_percent or 0,
                status="finished" if is_finished else "ended early" if is_ended else "failed",
                reason=None if is_finished else reason,
                assistant_selection=task.selection_score(assistant.selection_metrics[assistant.percent])
                if assistant
                else None,
                student_selection=task.selection_score(student.selection_metrics[student.percent]) if student else None,
                student_validation=student.validation_metrics[task.primary_metric] if student else None,
                device_hours=sum(stage.device_hours for stage in held),
                training_flops=sum(record.training_flops for record in every_record),
                evaluation_flops=sum(record.evaluation_flops for record in every_record),
            )
        )
    return tuple(found)


def cost_record(prepared: PreparedRun, records: Records) -> CostRecord:
    """Device-hours, FLOPs and price of every stage; shared stages count even if another run executed them."""
    ledger = prepared.ledger
    attempts = ledger.attempts()
    held_here = held_by_stage(attempts)
    stages: list[StageCost] = []
    folders = {"teacher": prepared.teacher_folder, "importance": prepared.importance_folder}
    for name, folder in ((step.name, folders[step.name]) for step in prepared.plan.shared):
        held = held_by_stage(read_attempts(folder / "ledger.jsonl"))[name]
        reused = name not in held_here
        if not reused:
            # The artifact's ledger has no idle time: devices are held per process, in the run's ledger.
            held = replace(held, idle_device_hours=held_here[name].idle_device_hours)
        record = read_record(prepared.storage, folder)
        stages.append(_stage_cost("shared", name, held, record, reused, in_ratio=name != "teacher"))
    for trial in prepared.plan.all_trials():
        by_stage = {record.stage: record for record in records[trial.name]}
        for name, held in held_by_stage(attempts, trial.name).items():
            if name not in ("teacher", "importance"):
                stages.append(_stage_cost(trial.name, name, held, by_stage.get(name), reused=False, in_ratio=True))
    charged = [stage for stage in stages if stage.in_ratio]
    teacher = stages[0]
    idle = startup_device_hours(attempts)
    worked = sum(stage.device_hours for stage in charged)
    compute = prepared.config.compute
    price = compute.price_per_device_hour
    return CostRecord(
        stages=tuple(stages),
        device_hours=worked,
        useful_device_hours=sum(stage.useful_device_hours for stage in charged),
        lost_device_hours=sum(stage.lost_device_hours for stage in charged),
        training_flops=sum(stage.training_flops for stage in charged),
        evaluation_flops=sum(stage.evaluation_flops or 0.0 for stage in charged),
        teacher_device_hours=teacher.device_hours,
        teacher_training_flops=teacher.training_flops,
        teacher_evaluation_flops=teacher.evaluation_flops,
        startup_device_hours=idle,
        device_unit="core-hours" if teacher.device_type == "cpu-core" else "GPU-hours",
        attempts=_attempt_costs(attempts),
        energy_joules=functools.reduce(sum_known, (stage.energy_joules for stage in charged), None),
        price_per_device_hour=price,
        price=None if price is None else price * (worked + idle),
        currency=None if price is None else compute.currency,
    )


def _attempt_costs(attempts: Sequence[Attempt]) -> tuple[AttemptCost, ...]:
    """Useful, lost and idle device-hours of each attempt in a ledger."""
    return tuple(
        AttemptCost(
            stage=share.attempt.name,
            trial=share.attempt.trial,
            number=share.attempt.number,
            status=share.attempt.status,
            node=share.attempt.node,
            device_type=share.attempt.device_type,
            device_model=share.attempt.device_model,
            devices=share.attempt.devices,
            seconds=share.attempt.seconds,
            useful_device_hours=share.useful / _SECONDS_AN_HOUR,
            lost_device_hours=share.lost / _SECONDS_AN_HOUR,
            idle_device_hours=share.idle / _SECONDS_AN_HOUR,
            energy_joules=share.attempt.energy_joules,
        )
        for share in shares(attempts)
    )


def _stage_cost(
    trial: str, name: str, held: Held, record: StageRecord | None, reused: bool, in_ratio: bool
) -> StageCost:
    return StageCost(
        stage=name,
        trial=trial,
        seconds=held.seconds,
        devices=held.devices,
        device_type=held.device_type,
        device_hours=held.device_hours,
        useful_device_hours=held.useful_device_hours,
        lost_device_hours=held.lost_device_hours,
        idle_device_hours=held.idle_device_hours,
        attempts=held.attempts,
        energy_joules=held.energy_joules,
        training_flops=record.training_flops if record else 0.0,
        evaluation_flops=record.evaluation_flops if record else 0.0,
        num_epochs=record.num_epochs if record else None,
        reused=reused,
        in_ratio=in_ratio,
    )
