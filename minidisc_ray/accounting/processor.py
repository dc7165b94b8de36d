"""The product name of this machine's processor."""

import functools
import platform
from pathlib import Path


@functools.cache
def processor_name() -> str:
    """This machine's processor, as the kernel names it; its architecture where the kernel has no name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return next(filter(None, names), "") or platform.processor() or platform.machine()
