"""A candidate taken out of the run's own sandwich, as the assistant of one trial."""

from minidisc_ray.pipeline.context import Context, StageAttempt
from minidisc_ray.pipeline.stages._build import take_candidate
from minidisc_ray.pipeline.stages._scores import record_of
from minidisc_ray.run_files.records import StageRecord
from minidisc_ray.schedules.plan import CandidateStep


def take_assistant(context: Context, step: CandidateStep, attempt: StageAttempt) -> StageRecord:
    """Take a candidate out of the run's own sandwich."""
    sandwich = context.prepared.run_folder / "stages" / "sandwich"
    candidate = take_candidate(context, sandwich, step.scale_percent, attempt.folder)
    return record_of(context, step.name, step.scale_percent, candidate)
