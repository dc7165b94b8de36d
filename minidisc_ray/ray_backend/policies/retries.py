"""Decides which failures are retried, and when."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import ray.exceptions
import torch
import torch.distributed as dist
from ray.train.v2._internal.exceptions import RayTrainError

from minidisc_ray.configs.training import ComputeConfig
from minidisc_ray.training.notice import Preempted

# Errors of the process, the machine or the network; those of the code would come again.
_RETRYABLE_ERRORS = (
    OSError,
    MemoryError,
    torch.OutOfMemoryError,
    dist.DistError,
    ray.exceptions.RayError,
    RayTrainError,
    Preempted,
)
# Torch has no classes for these. A primitive is oneDNN's, which says no more where it gets no memory.
_RETRYABLE_MESSAGE = re.compile(
    r"allocate memory|could not (create|execute) a primitive|start new thread|gloo|nccl"
    r"|connection (closed|reset|refused)|broken pipe|socket|timed out",
    re.I,
)

# Preemptions are no fault of the trial, but a trial that loses its node again and again must end some time.
_PREEMPTIONS_FOR_EACH_FAILURE = 10
_LONGEST_WAIT_SECONDS = 300.0


def is_worth_a_retry(error: BaseException) -> bool:
    """Whether an exception in training may not come again: lost peers, no memory, a storage that was away.

    Any other exception comes from the code, the models or the data, and would come again.
    """
    return any(
        isinstance(each, _RETRYABLE_ERRORS)
        or (isinstance(each, RuntimeError) and _RETRYABLE_MESSAGE.search(str(each)) is not None)
        for each in _cause_chain(error)
    )


def _cause_chain(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


def error_sentence(error: BaseException) -> str:
    """An exception in one line: its class and its message."""
    text = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@dataclass(frozen=True)
class RetryPolicy:
    """A limited number of retries, each after twice the wait of the last.

    Attributes:
        max_failures: how many crashes are retried.
        first_wait_seconds: wait before the first retry.
    """

    max_failures: int
    first_wait_seconds: float

    @classmethod
    def of(cls, compute: ComputeConfig) -> "RetryPolicy":
        """The policy of a recipe."""
        return cls(compute.max_failures, compute.retry_wait_seconds)

    @property
    def max_preemptions(self) -> int:
        """How many preemptions are retried."""
        return self.max_failures * _PREEMPTIONS_FOR_EACH_FAILURE

    @property
    def max_attempts(self) -> int:
        """The largest number of attempts at one trial."""
        return 1 + self.max_failures + self.max_preemptions

    def wait_seconds(self, failures: int) -> float:
        """Seconds to wait after so many crashes."""
        return min(self.first_wait_seconds * 2.0 ** max(0, failures - 1), _LONGEST_WAIT_SECONDS)


@dataclass
class RetryState:
    """Crashes and preemptions of each trial, and when its next attempt may start.

    Attributes:
        policy: for all trials.
        clock: monotonic, in seconds.
        crashes: by trial, attempts whose process died or raised.
        preemptions: by trial, attempts that were preempted after writing a checkpoint.
        until: by trial, when its next attempt may start, by the clock.
    """

    policy: RetryPolicy
    clock: Callable[[], float]
    crashes: Counter[str] = field(default_factory=Counter)
    preemptions: Counter[str] = field(default_factory=Counter)
    until: dict[str, float] = field(default_factory=dict)

    def number(self, title: str) -> int:
        """The number of a trial's current attempt, from 1."""
        return 1 + self.crashes[title] + self.preemptions[title]

    def is_due(self, title: str) -> bool:
        """Whether a trial's wait before its next attempt is over."""
        return self.until.get(title, 0.0) <= self.clock()

    def record_end(self, title: str, was_preempted: bool) -> float | None:
        """Count the end of a trial's attempt; returns the seconds to wait before the next, None if there is none."""
        ended = self.preemptions if was_preempted else self.crashes
        ended[title] += 1
        if ended[title] > (self.policy.max_preemptions if was_preempted else self.policy.max_failures):
            return None
        seconds = 0.0 if was_preempted else self.policy.wait_seconds(self.crashes[title])
        self.until[title] = self.clock() + seconds
        return seconds
