"""Peak memory of sandwich steps over that of the largest candidate alone:  python benchmarks/sandwich_memory.py .

Each is measured in a process of its own: peak resident memory over eight steps, less that before the trained weights
are created. So it counts weights, gradients, AdamW's moments and activations, but neither the teacher nor libraries.
The C library is set to return freed memory at once; by default it keeps some (--kept counts that too). Linux only.
Needs MINIDISC_DATA and MINIDISC_MODELS.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import sandwich_step

from minidisc_ray.data import epoch_batches

_STEPS = 8
_STATUS = Path("/proc/self/status")


def main() -> None:
    """Print both peaks and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kept", action="store_true", help="count freed memory that the C library keeps")
    parser.add_argument("--scales", type=int, nargs="*", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.scales:
        print(_peak_bytes(arguments.scales))
        return
    every, largest = measure(arguments.kept)
    print(f"sandwich {every / 2**20:,.0f} MiB, largest alone {largest / 2**20:,.0f} MiB: {every / largest:.2f} times")


def measure(with_kept: bool = False) -> tuple[int, int]:
    """Peak bytes of the sandwich, and of its largest candidate alone."""
    # For glibc (mallopt(3)): larger blocks get pages of their own, which are returned when freed.
    allocator = {} if with_kept else {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
    scales = sandwich_step.SCALES
    return _peak_in_process(scales, allocator), _peak_in_process(scales[:1], allocator)


def _peak_in_process(scales: tuple[int, ...], allocator: dict[str, str]) -> int:
    command = [sys.executable, __file__, "--scales", *map(str, scales)]
    environment = {**os.environ, **allocator, "OMP_NUM_THREADS": "1"}
    found = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return int(found.stdout.strip().splitlines()[-1])


def _peak_bytes(scales: list[int]) -> int:
    setting = sandwich_step.prepare()
    batches = epoch_batches(setting.rows.lengths, sandwich_step.BATCH_SIZE, seed=0, epoch=0)
    # Both measure the batches with the longest rows.
    longest = sorted(batches, key=lambda indices: int(setting.rows.lengths[indices].max()))[-_STEPS:]
    Path("/proc/self/clear_refs").write_text("5")  # proc_pid_clear_refs(5): resets VmHWM, the peak
    before = _kib("VmRSS")
    step = sandwich_step.SandwichStep(setting, scales)
    for indices in longest:
        step(indices)
    return 1024 * (_kib("VmHWM") - before)


def _kib(name: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1])


if __name__ == "__main__":
    main()
