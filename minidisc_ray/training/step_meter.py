"""What one training step takes: seconds, and the memory that it adds at its peak."""

import contextlib
import ctypes
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# The first steps allocate what later ones reuse: optimiser moments, workspaces, pages of libraries.
WARM_UP_STEPS = 3

_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
_RESET_PEAK = "5"  # proc_pid_clear_refs(5)


class StepMeter:
    """Measures the steps of one stage in this process, from clocks and counters alone, so that no result changes.

    Seconds run from one step to the next, so they include whatever a step waits for. On a GPU they run from where the
    device finishes one step to where it finishes the next; the host waits for neither, and is ahead of it.

    Memory is the peak within steps above what lies between them (weights, gradients, moments, cached teacher outputs):
    activations, temporaries, and the teacher's own where its outputs are not cached. On a GPU it counts live tensors,
    not what the caching allocator keeps free; on Linux it counts the process's resident pages, which include
    memory that steps freed and the C library keeps, but not what was freed before.
    """

    def __init__(self, device: torch.device) -> None:
        is_gpu = device.type == "cuda"
        self._memory = _DeviceMemory(device) if is_gpu else _ResidentMemory()
        self._clock = _DeviceClock() if is_gpu else _HostClock()
        self._marks: list[Any] = []
        self._num_steps = 0
        self._seconds: list[float] = []
        self._peaks: list[int | None] = []

    def watch(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield one epoch's batches, and measure what the caller does with each of them."""
        self._read_clock()
        self._marks = []
        for batch in batches:
            if not self._marks and self._num_steps >= WARM_UP_STEPS:
                self._memory.start()
                self._marks = [self._clock.mark()]
            yield batch
            self._num_steps += 1
            if self._marks:
                self._marks.append(self._clock.mark())
        if self._marks:
            self._read_clock()
            self._peaks.append(self._memory.peak_bytes())

    @property
    def seconds(self) -> float | None:
        """The median step's seconds; None if there were only warm-up steps."""
        self._read_clock()
        return statistics.median(self._seconds) if self._seconds else None

    @property
    def memory_bytes(self) -> int | None:
        """The largest step's memory, since rows differ in length; None where it cannot be measured."""
        peaks = [peak for peak in self._peaks if peak is not None]
        return max(peaks) if peaks and len(peaks) == len(self._peaks) else None

    def _read_clock(self) -> None:
        self._seconds.extend(self._clock.seconds_between(self._marks))
        self._marks = self._marks[-1:]


class _HostClock:
    """Marks are readings of the host's clock."""

    def mark(self) -> float:
        return time.perf_counter()

    def seconds_between(self, marks: Sequence[float]) -> list[float]:
        return [after - before for before, after in pairwise(marks)]


class _DeviceClock:
    """Marks are CUDA events, which record when the GPU reaches them."""

    def mark(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def seconds_between(self, marks: Sequence[torch.cuda.Event]) -> list[float]:
        """Waits for the device to reach the last mark."""
        if marks:
            marks[-1].synchronize()
        return [before.elapsed_time(after) / 1000 for before, after in pairwise(marks)]


class _DeviceMemory:
    """Live tensors on a GPU: their peak above what is in use at :meth:`start`."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before = 0

    def start(self) -> None:
        torch.cuda.reset_peak_memory_stats(self._device)
        self._before = torch.cuda.memory_allocated(self._device)

    def peak_bytes(self) -> int | None:
        return max(0, torch.cuda.max_memory_allocated(self._device) - self._before)


class _ResidentMemory:
    """Resident pages of this process; only Linux can reset and measure their peak."""

    def __init__(self) -> None:
        self._before: int | None = None

    def start(self) -> None:
        self._before = None
        if not _CLEAR_REFS.exists():
            return
        with contextlib.suppress(OSError):
            # Memory that evaluation freed and the C library kept would hide what a step takes.
            _return_freed_memory()
            _CLEAR_REFS.write_text(_RESET_PEAK, encoding="ascii")
            self._before = _peak_resident_bytes()

    def peak_bytes(self) -> int | None:
        return None if self._before is None else max(0, _peak_resident_bytes() - self._before)


def _return_freed_memory() -> None:
    """Return malloc's free memory to the system; only glibc has a call for it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _peak_resident_bytes() -> int:
    for line in _STATUS.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024  # written in kB, which are KiB
    raise OSError(f"{_STATUS} has no VmHWM")
