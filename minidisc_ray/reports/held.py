"""Device-hours that a run held by its own ledger, which ``minidisc ls`` and ``minidisc status`` show."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from minidisc_ray.accounting.cost import shares
from minidisc_ray.accounting.ledger import read_attempts
from minidisc_ray.files.reading import open_regular
from minidisc_ray.run_files.result_costs import CostRecord

_SECONDS_PER_HOUR = 3600.0
_TEACHER = "teacher"


@dataclass(frozen=True)
class HeldHours:
    """Useful, lost and idle device-hours together, over all attempts; they never fall when a run resumes.

    Attributes:
        held_hours: of every stage that the run executed itself, its teacher's fine-tuning included.
        teacher_hours: the part of them that the teacher's fine-tuning took, useful and lost, as a result counts it.
        hours_unit: ``core-hours``, ``GPU-hours``, or ``device-hours`` where an attempt differs from the others.
    """

    held_hours: float
    teacher_hours: float
    hours_unit: str


def held_by_trial(run_folder: Path) -> dict[str, HeldHours]:
    """What each trial of a run held so far; a run that another process executes right now counts up to its last beat.

    Raises:
        OSError: if the ledger cannot be read, or is not a file.
    """
    ledger = run_folder / "ledger.jsonl"
    if ledger.exists():
        # A named pipe in its place would block: this refuses whatever is not a regular file.
        open_regular(ledger).close()
    found: dict[str, list[HeldHours]] = {}
    for share in shares(read_attempts(ledger)):
        attempt, hours = share.attempt, share.held / _SECONDS_PER_HOUR
        worked = (share.useful + share.lost) / _SECONDS_PER_HOUR
        teacher_hours = worked if attempt.kind == "stage" and attempt.name == _TEACHER else 0.0
        found.setdefault(attempt.trial, []).append(HeldHours(hours, teacher_hours, _unit(attempt.device_type)))
    return {trial: _sum(of_trial) for trial, of_trial in found.items()}


def held_by_run(trials: Mapping[str, HeldHours]) -> HeldHours | None:
    """The sum over a run's trials; None if there are none."""
    return _sum(trials.values()) if trials else None


def held_by_result(cost: CostRecord) -> HeldHours:
    """What a finished run held, from its result.

    Results of releases that recorded no attempts count what the run is charged, reused stages included.
    """
    held = [
        HeldHours(
            (worked := one.useful_device_hours + one.lost_device_hours) + one.idle_device_hours,
            worked if one.stage == _TEACHER else 0.0,
            _unit(one.device_type),
        )
        for one in cost.attempts
    ]
    if held:
        return _sum(held)
    teacher = 0.0 if _reuses_teacher(cost) else cost.teacher_device_hours
    charged = cost.useful_device_hours + cost.lost_device_hours + cost.idle_device_hours
    return HeldHours(charged + teacher, teacher, cost.device_unit)


def teacher_hours(cost: CostRecord) -> float:
    """Device-hours of a finished run's teacher, the same as ``minidisc ls`` shows; of a reused one what it took before.

    The teacher has a ledger beside the run's own, whose clock is read some milliseconds later.
    """
    return cost.teacher_device_hours if _reuses_teacher(cost) else held_by_result(cost).teacher_hours


def _reuses_teacher(cost: CostRecord) -> bool:
    return any(stage.stage == _TEACHER and stage.reused for stage in cost.stages)


def _sum(parts: Iterable[HeldHours]) -> HeldHours:
    parts = list(parts)
    units = {part.hours_unit for part in parts}
    return HeldHours(
        held_hours=sum(part.held_hours for part in parts),
        teacher_hours=sum(part.teacher_hours for part in parts),
        hours_unit=units.pop() if len(units) == 1 else "device-hours",
    )


def _unit(device_type: str) -> str:
    return "core-hours" if device_type == "cpu-core" else "GPU-hours"
