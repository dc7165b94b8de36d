"""The GPU check's timings: the sandwich step, the teacher's cache, latency, and two processes on one GPU."""

import gc
import statistics
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from gpu_kit import (
    SCALES,
    SMALL,
    Bench,
    Found,
    SandwichStep,
    Sizes,
    matmul_rate,
    milliseconds,
    random_model,
    random_rows,
    random_structures,
    wait_for,
)

from minidisc_ray.core.trace import Wanted
from minidisc_ray.data import collate
from minidisc_ray.models.families import shape_of
from minidisc_ray.models.inference_cost import random_inputs
from minidisc_ray.models.surgery import cut
from minidisc_ray.training.predict import to_device
from minidisc_ray.training.teacher_outputs import TeacherOutputs, cached_bytes
from minidisc_ray.training.workers import Workers

LARGEST_MEMORY_RATIO, SMALLEST_SHARE = 1.2, 0.45
_ANY_SIZE = 2**62


def sandwich(bench: Bench) -> Found:
    """Time a sandwich step, also as a share of the GPU's matmul rate; measure its memory and the host's waits."""
    found, sizes = Found(), bench.sizes
    peak, step = _peak_bytes(bench, SCALES)
    taken = milliseconds(step, bench.device, sizes.repeats, sizes.warm_up)
    started_at = time.perf_counter()
    step()
    host_ms = 1000 * (time.perf_counter() - started_at)
    places = _waits(step) if bench.is_gpu else None
    if step.clipping.broken_step() is not None:
        found.flaws.append("the gradient is not finite")
    ms, flops = statistics.median(taken), step.flops()
    padded = SandwichStep(bench, shortest=sizes.length * 3 // 4)
    padded_ms = statistics.median(milliseconds(padded, bench.device, sizes.repeats // 2 + 1, sizes.warm_up))
    places_padded = _waits(padded) if bench.is_gpu else None
    del step, padded
    alone, _ = _peak_bytes(bench, SCALES[:1])
    rate = matmul_rate(bench)
    share = flops / (ms / 1000) / rate
    ratio = None if peak is None or alone is None else peak / alone
    waits = None if places is None or places_padded is None else max(places.total(), places_padded.total())
    found.numbers = {
        "rows": sizes.batch,
        "length": sizes.length,
        "step_ms": ms,
        "step_ms_range": [min(taken), max(taken)],
        "step_ms_with_padding": padded_ms,
        "host_ms": host_ms,
        "step_teraflops": flops / 1e12,
        "matmul_teraflops_per_second": rate / 1e12,
        "share_of_matmul_rate": share,
        "peak_mib": None if peak is None else peak / 2**20,
        "peak_mib_of_largest_alone": None if alone is None else alone / 2**20,
        "memory_ratio": ratio,
        "waits_per_step": waits,
        "waits_at": {} if places is None or places_padded is None else dict((places | places_padded).most_common(10)),
    }
    found.aim(
        "share of the matmul rate",
        share if bench.is_gpu else None,
        f">= {SMALLEST_SHARE}",
        lambda value: value >= SMALLEST_SHARE,
    )
    found.aim("memory against the largest", ratio, f"<= {LARGEST_MEMORY_RATIO}", lambda v: v <= LARGEST_MEMORY_RATIO)
    found.aim("waits of the host per step", waits, "0", lambda value: value == 0)
    return found


def _peak_bytes(bench: Bench, scales: Sequence[int]) -> tuple[int | None, SandwichStep]:
    """Peak bytes of tensors from building a sandwich to its third step (None on a CPU), and the sandwich."""
    gc.collect()
    if not bench.is_gpu:
        return None, SandwichStep(bench, scales)
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated(bench.device)
    torch.cuda.reset_peak_memory_stats(bench.device)
    step = SandwichStep(bench, scales)
    for _ in range(3):
        step()
    wait_for(bench.device)
    return torch.cuda.max_memory_allocated(bench.device) - before, step


def _waits(step: SandwichStep) -> Counter[str]:
    """How often each line of a step makes the host wait for the GPU, from PyTorch's warnings."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            step()
        finally:
            torch.cuda.set_sync_debug_mode(before)
    return Counter(
        f"{Path(one.filename).name}:{one.lineno}" for one in caught if "synchronizing CUDA" in str(one.message)
    )


def cache(bench: Bench) -> Found:
    """Time filling the teacher's cache, and reading a batch from it against the teacher's forward pass."""
    found, sizes = Found(), bench.sizes
    teacher = random_model(sizes)
    wanted = Wanted(logits=True, hidden=frozenset({sizes.layers}))
    rows, few = random_rows(sizes, sizes.cached_rows), random_rows(sizes, sizes.batch)
    workers = Workers(device=bench.device)

    def outputs(of: object, cache_bytes: int) -> TeacherOutputs:
        return TeacherOutputs(teacher, of, wanted, 0, workers, "bfloat16", cache_bytes)  # type: ignore[arg-type]

    outputs(few, _ANY_SIZE)  # warms up
    wait_for(bench.device)
    started_at = time.perf_counter()
    kept = outputs(rows, _ANY_SIZE)
    wait_for(bench.device)
    seconds = time.perf_counter() - started_at
    batch = to_device(collate(rows, torch.arange(sizes.batch), 0), bench.device)
    live = outputs(rows, 0)
    same = (kept.trace(batch).logits - live.trace(batch).logits).abs().max()
    if not float(same) < 0.05:
        found.flaws.append(f"logits from the cache differ by {float(same):.3g} from the teacher's")
    shape = shape_of(teacher)
    read, run = (
        statistics.median(milliseconds(lambda one=one: one.trace(batch), bench.device, sizes.repeats, sizes.warm_up))
        for one in (kept, live)
    )
    found.numbers = {
        "rows": len(rows),
        "fill_seconds": seconds,
        "rows_per_second": len(rows) / seconds,
        "bytes": cached_bytes(rows, 2, wanted, shape, shape.full()),
        "batch_ms_from_cache": read,
        "batch_ms_from_teacher": run,
    }
    return found


@torch.inference_mode()
def latency(bench: Bench) -> Found:
    """Time forward passes of the teacher and of dense students at 10 and 5%, in float32 and bfloat16."""
    found, sizes = Found(), bench.sizes
    teacher = random_model(sizes)
    models = {"teacher": teacher} | {
        f"{scale}%": cut(teacher, structure) for scale, structure in random_structures(teacher, (10, 5)).items()
    }
    given = random_inputs(sizes.latency_rows, sizes.length, sizes.vocabulary)
    inputs = {name: tensor.to(bench.device) for name, tensor in given.items()}
    for dtype in (torch.float32, torch.bfloat16):
        medians: dict[str, float] = {}
        for name, model in models.items():
            placed = model.to(bench.device, dtype)
            taken = milliseconds(
                lambda placed=placed: placed(**inputs), bench.device, sizes.latency_repeats, sizes.warm_up
            )
            medians[name] = statistics.median(taken)
            found.numbers[f"{name} {str(dtype).removeprefix('torch.')}"] = {
                "median_ms": medians[name],
                "p95_ms": sorted(taken)[min(len(taken) - 1, round(0.95 * len(taken)))],
                "faster_than_teacher": medians["teacher"] / medians[name],
            }
    return found


def sharing(bench: Bench) -> Found:
    """Measure steps per second of this process alone on the GPU, and together with another process."""
    seconds, step = bench.sizes.sharing_seconds, SandwichStep(bench)
    small = ["--small"] if bench.sizes == SMALL else []
    command = [sys.executable, __file__, "--device", str(bench.device), *small]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        try:
            _steps_per_second(step, bench, seconds / 3)  # warms up while the other one starts
            _answer(other)
            alone = _steps_per_second(step, bench, seconds)
            assert other.stdin is not None
            other.stdin.write(f"{seconds}\n")
            other.stdin.flush()
            together = [_steps_per_second(step, bench, seconds), _answer(other)]
        finally:
            other.kill()
    return Found(
        {
            "steps_per_second_alone": alone,
            "steps_per_second_together": together,
            "throughput_ratio": sum(together) / alone,
        }
    )


def _steps_per_second(step: SandwichStep, bench: Bench, seconds: float) -> float:
    count, started_at = 0, time.perf_counter()
    while time.perf_counter() - started_at < seconds:
        step()
        wait_for(bench.device)
        count += 1
    return count / (time.perf_counter() - started_at)


def _answer(worker: subprocess.Popen[str]) -> float:
    assert worker.stdout is not None
    line = worker.stdout.readline()
    if not line:
        raise RuntimeError(f"the process that shares the GPU ended with status {worker.wait()}")
    return float(line)


def _share(device: str, is_small: bool) -> None:
    """Be the other process: read seconds from stdin, step for that long, and print the steps per second."""
    bench = Bench(torch.device(device), SMALL if is_small else Sizes())
    if not bench.is_gpu:
        torch.set_num_threads(1)
    step = SandwichStep(bench)
    print(_steps_per_second(step, bench, bench.sizes.sharing_seconds / 3), flush=True)
    for line in sys.stdin:
        print(_steps_per_second(step, bench, float(line)), flush=True)


if __name__ == "__main__":
    _share(sys.argv[sys.argv.index("--device") + 1], "--small" in sys.argv)
