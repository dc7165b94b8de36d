"""Extracts a candidate from the run's sandwich as the assistant of one trial."""

from minidisc_ray.pipeline.context import Context, StageAttempt
from minidisc_ray.pipeline.stages._build import extract_candidate
from minidisc_ray.pipeline.stages._scores import score_and_record
from minidisc_ray.run_files.records import StageRecord
from minidisc_ray.schedules.plan import CandidateStep


def extract_assistant(context: Context, step: CandidateStep, attempt: StageAttempt) -> StageRecord:
    """Extract a candidate from the run's sandwich, score it and return its record."""
    sandwich = context.prepared.run_folder / "stages" / "sandwich"
    candidate = extract_candidate(context, sandwich, step.scale_percent, attempt.folder)
    return score_and_record(context, step.name, step.scale_percent, candidate)
