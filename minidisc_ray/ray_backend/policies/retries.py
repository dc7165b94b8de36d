"""When what failed is tried again: a decision, apart from who carries it out."""

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

# What happens to a process, not in its code: it may well not happen again.
_HAPPENS_TO_IT = (
    OSError,
    MemoryError,
    torch.OutOfMemoryError,
    dist.DistError,
    ray.exceptions.RayError,
    RayTrainError,
    Preempted,
)
# Torch has no classes for these.
_WORDS = re.compile(
    r"allocate memory|start new thread|gloo|nccl|connection (closed|reset|refused)|broken pipe|socket|timed out", re.I
)

# A spot node that is taken away is no fault of the trial, yet a trial that only ever loses its node must end some time.
_PREEMPTIONS_FOR_EACH_FAILURE = 10
_LONGEST_WAIT_SECONDS = 300.0


def is_worth_a_retry(error: BaseException) -> bool:
    """Whether an exception of training code may be gone the next time: lost peers, no memory, a storage that was away.

    Any other one comes from the code, its models or its data, and would be raised again.
    """
    return any(
        isinstance(each, _HAPPENS_TO_IT) or (isinstance(each, RuntimeError) and _WORDS.search(str(each)) is not None)
        for each in _with_causes(error)
    )


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


def error_sentence(error: BaseException) -> str:
    """An exception in one line: its kind and what it says."""
    text = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@dataclass(frozen=True)
class RetryPolicy:
    """Bounded retries with waits that double.

    Attributes:
        max_failures: crashes that are tried again.
        first_wait_seconds: before the first retry.
    """

    max_failures: int
    first_wait_seconds: float

    @classmethod
    def of(cls, compute: ComputeConfig) -> "RetryPolicy":
        """The policy that a recipe asks for."""
        return cls(compute.max_failures, compute.retry_wait_seconds)

    @property
    def max_preemptions(self) -> int:
        """Times that a worker may be asked to leave before that counts as failing."""
        return self.max_failures * _PREEMPTIONS_FOR_EACH_FAILURE

    @property
    def max_attempts(self) -> int:
        """More than this many attempts at one trial there cannot be."""
        return 1 + self.max_failures + self.max_preemptions

    def wait_seconds(self, failures: int) -> float:
        """How long to wait after some crashes in a row."""
        return min(self.first_wait_seconds * 2.0 ** max(0, failures - 1), _LONGEST_WAIT_SECONDS)


@dataclass
class Waits:
    """What has become of the attempts at trials so far, and until when each waits for its next one.

    Attributes:
        policy: for all of them.
        clock: seconds that only grow.
        crashes: by trial, attempts whose process died or raised.
        preemptions: by trial, attempts that were asked to leave, and left a checkpoint.
        until: by trial, when its next attempt may start.
    """

    policy: RetryPolicy
    clock: Callable[[], float]
    crashes: Counter[str] = field(default_factory=Counter)
    preemptions: Counter[str] = field(default_factory=Counter)
    until: dict[str, float] = field(default_factory=dict)

    def number(self, title: str) -> int:
        """The ordinal of a trial's attempt that is under way, from 1."""
        return 1 + self.crashes[title] + self.preemptions[title]

    def is_due(self, title: str) -> bool:
        """Whether a trial may start as far as its wait goes."""
        return self.until.get(title, 0.0) <= self.clock()

    def wait_after(self, title: str, was_preempted: bool) -> float | None:
        """Note how a trial's attempt ended; the seconds to wait before the next one, None if there is none."""
        ended = self.preemptions if was_preempted else self.crashes
        ended[title] += 1
        if ended[title] > (self.policy.max_preemptions if was_preempted else self.policy.max_failures):
            return None
        seconds = 0.0 if was_preempted else self.policy.wait_seconds(self.crashes[title])
        self.until[title] = self.clock() + seconds
        return seconds
