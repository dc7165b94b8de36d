"""What one training step takes: seconds, and the memory that it adds at its peak."""

import contextlib
import ctypes
import statistics
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor

# The first steps allocate what later ones find: optimiser moments, workspaces, pages of libraries.
WARM_UP_STEPS = 3

_CLEAR_REFS = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")
_RESET_PEAK = "5"  # proc_pid_clear_refs(5)


class StepMeter:
    """Measures the steps of one stage in this process, from a clock and counters alone: no number of a run changes.

    Seconds run from one step to the next, so whatever a step waits for is in them. Nothing is synchronised for it: on a
    GPU the loop waits for the device once a step as it is, when it checks the gradient's norm.

    Memory is the peak within steps above what lies between them (weights, gradients, moments, cached teacher outputs):
    activations, temporaries, and the teacher's own where its outputs are not cached. On a GPU it counts live tensors,
    not what the caching allocator keeps free; on Linux it counts the process's resident pages, so memory that steps
    freed and the C library kept for the next ones is in it, and what others had freed before is not.
    """

    def __init__(self, device: torch.device) -> None:
        self._memory = _DeviceMemory(device) if device.type == "cuda" else _ResidentMemory()
        self._num_steps = 0
        self._seconds: list[float] = []
        self._peaks: list[int | None] = []

    def watch(self, batches: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield one epoch's batches, and measure what the caller does with each of them."""
        last: float | None = None
        for batch in batches:
            if last is None and self._num_steps >= WARM_UP_STEPS:
                self._memory.start()
                last = time.perf_counter()
            yield batch
            self._num_steps += 1
            if last is not None:
                now = time.perf_counter()
                self._seconds.append(now - last)
                last = now
        if last is not None:
            self._peaks.append(self._memory.peak_bytes())

    @property
    def seconds(self) -> float | None:
        """The median step's seconds; None where there was no step but those of the warm-up."""
        return statistics.median(self._seconds) if self._seconds else None

    @property
    def memory_bytes(self) -> int | None:
        """The largest step's memory, since rows differ in length; None where it cannot be measured."""
        peaks = [peak for peak in self._peaks if peak is not None]
        return max(peaks) if peaks and len(peaks) == len(self._peaks) else None


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
    """Resident pages of this process, which Linux alone lets one measure the peak of anew."""

    def __init__(self) -> None:
        self._before: int | None = None

    def start(self) -> None:
        self._before = None
        if not _CLEAR_REFS.exists():
            return
        with contextlib.suppress(OSError):
            # What evaluation freed and the C library kept would hide a step that uses it again.
            _return_freed_memory()
            _CLEAR_REFS.write_text(_RESET_PEAK, encoding="ascii")
            self._before = _peak_resident_bytes()

    def peak_bytes(self) -> int | None:
        return None if self._before is None else max(0, _peak_resident_bytes() - self._before)


def _return_freed_memory() -> None:
    """Give what malloc keeps free back to the system; C libraries other than glibc have no call for it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _peak_resident_bytes() -> int:
    for line in _STATUS.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024  # written in kB, which are KiB
    raise OSError(f"{_STATUS} has no VmHWM")
