"""A request to stop this process: training ends after its current step and leaves a checkpoint.

Each process has its own flag. A signal handler only sets it.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from minidisc_ray.training.workers import Workers


class Preempted(RuntimeError):  # noqa: N818 - a stop on request, not an error
    """Work stopped because the process was asked to; the same run resumes at this step.

    Attributes:
        stage: the stage that was stopped.
        step: optimiser steps in the stage's checkpoint; 0 if the stage had not begun.
    """

    def __init__(self, stage: str, step: int) -> None:
        super().__init__(stage, step)
        self.stage, self.step = stage, step

    def __str__(self) -> str:
        return (
            f"stopped as asked at step {self.step} of stage {self.stage}; nothing is lost, and the same run goes on "
            "from there"
        )


class _StopRequest:
    is_made = False


def request_stop() -> None:
    """Ask this process to stop at its next step; safe in a signal handler."""
    _StopRequest.is_made = True


def clear_stop_request() -> None:
    """Withdraw the request, in a process that goes on with other work."""
    _StopRequest.is_made = False


def must_stop(workers: Workers) -> bool:
    """Whether any worker was asked to stop; all of them, who call this together, get the same answer."""
    return workers.sum_number(float(_StopRequest.is_made)) > 0


@contextmanager
def stopping_on_sigterm() -> Iterator[None]:
    """Take SIGTERM as a request to stop within the context; a second one has its former effect.

    Does nothing outside the main thread, where no handler can be set.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: Any = signal.getsignal(signal.SIGTERM)

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if _StopRequest.is_made:
            signal.signal(number, before or signal.SIG_DFL)
            os.kill(os.getpid(), number)
        request_stop()

    signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
        clear_stop_request()
