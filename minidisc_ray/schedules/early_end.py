"""Early ending of a sweep's hopeless trials: each is probed in short form, and the best of the probes go on.

Source: the promotion rule of ASHA (Li et al., "A System for Massively Parallel Hyperparameter Tuning") with one rung.
Deviations: a trial that goes on starts afresh, since a student must learn from a finished assistant, so that its result
is the one that it has without probes; and trials go on once all probes are over, so that neither slots nor timing
decide which.
"""

from collections.abc import Mapping
from typing import Literal

from minidisc_ray.schedules.plan import Trial, through_assistant

Verdict = Literal["goes on", "waits", "ends", "has no probe"]
_ONE_IN = 4


def probe_of(trial: Trial) -> Trial:
    """The short form of a trial T -> A -> S: both distillations in a quarter of their epochs."""
    assistant, student = trial.assistant_percent, trial.steps[-1].scale  # type: ignore[union-attr]
    assert assistant is not None
    assert isinstance(student, int)
    return through_assistant(f"probe-{assistant:02d}", assistant, student, epoch_share=1 / _ONE_IN)


def scales_that_go_on(scores: Mapping[int, float]) -> tuple[int, ...]:
    """Scales whose trials run in full, once no probe is to come: a quarter of them, at least one.

    Args:
        scores: of the students of probes, by their assistants' scale; of equals the smaller one goes on, being cheaper.
    """
    return tuple(sorted(scores, key=lambda scale: (-scores[scale], scale))[: num_that_go_on(len(scores))])


def num_that_go_on(num_trials: int) -> int:
    """How many of so many trials run in full."""
    return max(1, num_trials // _ONE_IN)
