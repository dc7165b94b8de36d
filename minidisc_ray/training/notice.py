"""A notice that this process is about to be ended: training stops at its next step and leaves a checkpoint.

The flag is the process's own. A signal's handler sets it; nothing else happens in the handler.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from minidisc_ray.training.workers import Workers


class Preempted(RuntimeError):  # noqa: N818 - what happened to it, and no error
    """Work stopped because the process was asked to; the same run goes on at this step.

    Attributes:
        stage: where it stopped.
        step: optimiser steps that are done and in the stage's checkpoint; 0 where the stage had not begun.
    """

    def __init__(self, stage: str, step: int) -> None:
        super().__init__(stage, step)
        self.stage, self.step = stage, step

    def __str__(self) -> str:
        return (
            f"stopped as asked at step {self.step} of stage {self.stage}; nothing is lost, and the same run goes on "
            "from there"
        )


class _Notice:
    is_given = False


def request_stop() -> None:
    """Ask this process to stop at its next step; safe within a signal's handler."""
    _Notice.is_given = True


def clear_stop_request() -> None:
    """Take the question back: for a process that does something else next."""
    _Notice.is_given = False


def must_stop(workers: Workers) -> bool:
    """Whether any worker was asked to stop; all of them, who call this together, get the same answer."""
    return workers.sum_number(float(_Notice.is_given)) > 0


@contextmanager
def stopping_on_sigterm() -> Iterator[None]:
    """Take SIGTERM as a notice within the context; a second one does what it did before.

    Outside of the main thread, where no handler can be set, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: Any = signal.getsignal(signal.SIGTERM)

    def handle(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if _Notice.is_given:
            signal.signal(number, before or signal.SIG_DFL)
            os.kill(os.getpid(), number)
        request_stop()

    signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
        clear_stop_request()
