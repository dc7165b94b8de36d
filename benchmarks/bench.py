"""Measures every target of speed and price on this machine; exits with 1 if one is missed.

    python benchmarks/bench.py            # make bench; some minutes on an idle machine

Steps and prices need MINIDISC_DATA and MINIDISC_MODELS. benchmarks/gpu.sh measures the target of a GPU.
"""

import math
import os
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import makespan
import sandwich_memory
import sandwich_step

from minidisc_ray.configs.loader import load_recipe
from minidisc_ray.preparation.closed_form import Estimator
from minidisc_ray.preparation.prepare import prepare

_TRIALS, _SLOTS = 12, 2
_START_SECONDS = 10.0
_PRICE_RECIPE = Path(__file__).parent.parent / "recipes" / "sst2.yaml"
_SCHEDULES = {
    "race": ("schedule={kind: minidisc, search: race}", "pruning.importance_rows=auto"),
    "conventional": ("schedule={kind: conventional}",),
    "one assistant": ("schedule={kind: assistant}",),
    "MaxiDisc": ("schedule={kind: maxidisc}",),
}


@dataclass(frozen=True)
class Target:
    """A target with its measurement.

    Attributes:
        name: what is measured.
        bound: the largest or smallest allowed value.
        is_floor: whether the bound is the smallest allowed value.
        measured: None if this machine cannot measure it.
        note: the reason, or details of the measurement.
    """

    name: str
    bound: float
    is_floor: bool
    measured: float | None
    note: str = ""

    @property
    def is_missed(self) -> bool:
        """Whether the measured value violates the bound."""
        if self.measured is None:
            return False
        return self.measured < self.bound if self.is_floor else self.measured > self.bound


def main() -> int:
    """Print each target when it is measured; returns the exit code."""
    missed = 0
    print(f"{'':60}{'target':>10}{'measured':>10}")
    for target in targets():
        bound = f"{'≥' if target.is_floor else '≤'} {target.bound:.2f}"
        measured = "-" if target.measured is None else f"{target.measured:.2f}"
        verdict = "missed" if target.is_missed else "" if target.measured is None else "kept"
        print(f"{target.name:60}{bound:>10}{measured:>10}  {verdict} {target.note}".rstrip(), flush=True)
        missed += target.is_missed
    return 1 if missed else 0


def targets() -> Iterator[Target]:
    """Measure all targets, one after another."""
    has_data = all(Path(os.environ.get(name, "/nowhere")).is_dir() for name in ("MINIDISC_DATA", "MINIDISC_MODELS"))
    lacks = "" if has_data else "(MINIDISC_DATA and MINIDISC_MODELS are not set to folders)"
    yield from step_targets(lacks)
    yield from price_targets(lacks)
    best = _TRIALS / _SLOTS * makespan.TRIAL_SECONDS
    seconds = makespan.measure(_TRIALS, _SLOTS)
    yield Target(
        f"{_TRIALS} equal trials on {_SLOTS} slots, over the best possible",
        (1.05 * best + _START_SECONDS) / best,
        is_floor=False,
        measured=seconds / best,
        note=f"({seconds:.1f} of {best:.0f} s)",
    )
    yield Target("sandwich step, share of a GPU's bf16 speed", 0.45, True, None, "(benchmarks/gpu.sh, on a GPU)")


def step_targets(lacks: str) -> Iterator[Target]:
    """Targets of the sandwich step: speed over the textbook way and over matrix products, and memory."""
    textbook = matmul = None
    if not lacks:
        found = sandwich_step.measure(15, os.cpu_count() or 1)
        textbook, matmul = (statistics.median(found.ratios(way)) for way in ("textbook", "matmul"))
    memory, lacks_memory = None, lacks or ("" if Path("/proc/self/clear_refs").exists() else "(only Linux reports it)")
    if not lacks_memory:
        every, largest = sandwich_memory.measure()
        memory = every / largest
    yield Target("sandwich step, times faster than the textbook way", 8.0, True, textbook, lacks)
    yield Target("sandwich step, share of the machine's matmul speed", 0.55, True, matmul, lacks)
    yield Target("sandwich step, peak memory over the largest alone", 1.2, False, memory, lacks_memory)


def price_targets(lacks: str) -> Iterator[Target]:
    """Closed-form FLOPs of a race (importance from a sample) against other schedules (from all rows), on SST-2."""
    flops = dict.fromkeys(_SCHEDULES, math.nan)
    if not lacks:
        for name, overrides in _SCHEDULES.items():
            prepared = prepare(load_recipe(_PRICE_RECIPE, overrides))
            stages = Estimator(prepared, cache_bytes=math.inf).stages()
            flops[name] = sum(stage.flops for stage in stages if stage.in_ratio)

    def ratio(above: str, below: str) -> float | None:
        return None if lacks else flops[above] / flops[below]

    yield Target("price, MaxiDisc over 17 scales over a race", 20.0, True, ratio("MaxiDisc", "race"), lacks)
    yield Target("price, a race over conventional", 3.2, False, ratio("race", "conventional"), lacks)
    yield Target("price, a race over one assistant", 1.05, False, ratio("race", "one assistant"), lacks)


if __name__ == "__main__":
    sys.exit(main())
