"""Ends a sweep's unpromising trials early: each trial has a short probe, and only the trials of the best probes run.

Source: the promotion rule of ASHA (Li et al., "A System for Massively Parallel Hyperparameter Tuning") with one rung.
Deviations: a promoted trial starts from the beginning, since a student must learn from a finished assistant, so its
result is the same as without probes; and trials are promoted only once all probes are over, so the number of slots and
the timing have no effect on which.
"""

from collections.abc import Mapping
from typing import Literal

from minidisc_ray.schedules.plan import Trial, through_assistant

Verdict = Literal["goes on", "waits", "ends", "has no probe"]
_ONE_IN = 4  # trials, and epochs of a probe


def probe_of(trial: Trial) -> Trial:
    """The probe of a trial T -> A -> S: both distillations in a quarter of their epochs."""
    assistant, student = trial.assistant_percent, trial.steps[-1].scale  # type: ignore[union-attr]
    assert assistant is not None
    assert isinstance(student, int)
    return through_assistant(f"probe-{assistant:02d}", assistant, student, epoch_share=1 / _ONE_IN)


def promoted_scales(scores: Mapping[int, float]) -> tuple[int, ...]:
    """The scales whose trials run in full, once all probes are over: the best quarter, at least one.

    Args:
        scores: the selection scores of the probes' students, by assistant scale; ties go to the smaller, cheaper scale.
    """
    return tuple(sorted(scores, key=lambda scale: (-scores[scale], scale))[: num_promoted(len(scores))])


def num_promoted(num_trials: int) -> int:
    """How many of ``num_trials`` trials run in full."""
    return max(1, num_trials // _ONE_IN)
