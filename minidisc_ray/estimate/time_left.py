"""Seconds until trials are finished: the FLOPs that are left, at the speed of the steps so far."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from minidisc_ray.run_files.progress import Progress

# Nothing is predicted from less work than this.
_MIN_SECONDS = 10.0
# A stage's own speed counts half after so many seconds: small models need more seconds for each FLOP than large ones.
_STAGE_SECONDS = 10.0

# A run's name, and a trial's name in it.
TrialKey = tuple[str, str]


@dataclass(frozen=True)
class StageWork:
    """FLOPs of a stage, and the share of them that is done once its last step is; scoring comes after it."""

    flops: float
    in_steps: float = 1.0


@dataclass
class _Followed:
    """How far a trial is in its running stage, and the FLOPs that it did in the stages before.

    The share of the stage was ``first_share`` when it was first seen, ``timed_share`` at ``timed_from``, and ``share``
    at ``moved_at``. Timing begins with the stage's first step: loading models comes before it.
    """

    stage: str
    first_share: float
    share: float
    timed_share: float
    timed_from: float
    moved_at: float
    began_at: float
    done_flops: float = 0.0
    ended_at: float | None = None


class TimeLeft:
    """Follows the progress of trials, and predicts the time that they still need.

    Args:
        clock: seconds; only differences count.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._work: dict[TrialKey, Mapping[str, StageWork]] = {}
        self._followed: dict[TrialKey, _Followed] = {}

    def add(self, key: TrialKey, stages: Mapping[str, StageWork]) -> None:
        """Add a trial with its unfinished stages, in the order of execution."""
        self._work[key] = stages

    def follow(self, key: TrialKey, progress: Progress) -> None:
        """Note how far a trial is; stages that are not among its unfinished ones are left out."""
        stages = self._work.get(key, {})
        if progress.stage not in stages:
            return
        in_stage = progress.step / progress.num_steps if progress.num_steps else 0.0
        share = min(1.0, in_stage) * stages[progress.stage].in_steps
        now, old = self._clock(), self._followed.get(key)
        if old is None:
            self._followed[key] = _Followed(progress.stage, share, share, share, now, now, began_at=now)
        elif progress.stage == old.stage:
            # A trial that resumes from a checkpoint repeats steps.
            if share > old.share:
                if old.share == old.first_share:
                    old.timed_share, old.timed_from = share, now
                old.share, old.moved_at = share, now
        else:
            old.done_flops += stages[old.stage].flops * (1.0 - old.first_share)
            old.stage, old.first_share, old.share, old.timed_share = progress.stage, share, share, share
            old.timed_from = old.moved_at = now
        if progress.status == "finished":
            self.end(key)

    def end(self, key: TrialKey) -> None:
        """Note that a trial is finished."""
        followed = self._followed.get(key)
        if followed is not None and followed.ended_at is None:
            followed.done_flops += self._work[key][followed.stage].flops * (1.0 - followed.first_share)
            followed.first_share = followed.share = 1.0
            followed.ended_at = self._clock()

    def seconds(self, trials: Mapping[TrialKey, float], at_once: int, start_seconds: float = 0.0) -> float | None:
        """Seconds until trials are finished; None before enough work is done to know the speed.

        Args:
            trials: those that are not finished, each with the probability that it will run.
            at_once: how many run at the same time.
            start_seconds: that a trial needs before its first stage.
        """
        now = self._clock()
        spent = sum((found.ended_at or now) - found.began_at for found in self._followed.values())
        done = sum(self._done(key) for key in self._followed)
        if spent < _MIN_SECONDS or done <= 0 or not trials or any(key not in self._work for key in trials):
            return None
        needed = {key: self._needed(key, done / spent, now) for key in trials}
        needed |= {key: needed[key] + start_seconds for key in trials.keys() - self._followed.keys()}
        longest = max((seconds for key, seconds in needed.items() if trials[key] == 1.0), default=0.0)
        together = sum(trials[key] * seconds for key, seconds in needed.items())
        return max(longest, together / max(1, min(at_once, len(trials))))

    def _done(self, key: TrialKey) -> float:
        found = self._followed[key]
        return found.done_flops + self._work[key][found.stage].flops * (found.share - found.first_share)

    def _needed(self, key: TrialKey, speed: float, now: float) -> float:
        """Seconds that a trial needs: later stages at the speed of all trials, its running stage partly at its own."""
        stages, found = self._work[key], self._followed.get(key)
        if found is None:
            return sum(stage.flops for stage in stages.values()) / speed
        names = list(stages)
        later = sum(stages[name].flops for name in names[names.index(found.stage) + 1 :]) / speed
        left, moved, elapsed = 1.0 - found.share, found.share - found.timed_share, found.moved_at - found.timed_from
        current = left * stages[found.stage].flops / speed
        if moved > 0:
            weight = elapsed / (elapsed + _STAGE_SECONDS)
            current += weight * (left * elapsed / moved - current)
        # While a model is scored no step is taken, but time passes.
        return later + max(0.0, current - (now - found.moved_at))
