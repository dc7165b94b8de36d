"""How much memory is free, in a container too."""

from pathlib import Path

import psutil

# What a container may use and uses, by cgroup version.
_CGROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)


def free_memory_bytes() -> int:
    """Bytes that can be taken without swapping: of the machine, or of the container where that has less left."""
    free = int(psutil.virtual_memory().available)
    for limit, usage in _CGROUPS:
        try:
            free = min(free, int(limit.read_text(encoding="ascii")) - int(usage.read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue  # another version, or no limit ("max")
    return max(0, free)
