"""What a step takes, measured on steps whose time and memory are known."""

import functools
import sys
import time

import pytest
import torch
from training_kit import run, training

from minidisc_ray.training import step_meter
from minidisc_ray.training.step_meter import WARM_UP_STEPS, StepMeter

MB = 2**20
CPU = torch.device("cpu")
linux = pytest.mark.skipif(sys.platform != "linux", reason="peaks are measured again on Linux alone")


def batches(count):
    return [torch.tensor([number]) for number in range(count)]


def measured(steps, device=CPU):
    """A meter that has seen one epoch of steps, each a function."""
    meter = StepMeter(device)
    for number in meter.watch(batches(len(steps))):
        steps[int(number)]()
    return meter


def allocate(megabytes, device=CPU):
    def step():
        torch.ones(megabytes * MB, dtype=torch.uint8, device=device)

    return step


def nothing():
    pass


def test_batches_pass_unchanged():
    given = batches(5)
    assert [id(batch) for batch in StepMeter(CPU).watch(given)] == [id(batch) for batch in given]


class Clock:
    """Seconds that pass when they are asked to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(step_meter.time, "perf_counter", clock)
    return clock


def test_the_median_of_the_steps_after_the_warm_up(clock):
    seconds = [0.3] * WARM_UP_STEPS + [0.01, 0.02, 0.02, 0.02, 0.3]
    meter = measured([functools.partial(clock.pass_seconds, length) for length in seconds])
    assert meter.seconds == pytest.approx(0.02), "the mean would be 0.074"


def test_what_happens_between_epochs_is_no_step(clock):
    meter = StepMeter(CPU)
    for _ in range(4):
        for _ in meter.watch(batches(WARM_UP_STEPS)):
            clock.pass_seconds(0.01)
        clock.pass_seconds(0.1)
    assert meter.seconds == pytest.approx(0.01)


def test_a_warm_up_longer_than_an_epoch_goes_on_in_the_next(clock):
    meter = StepMeter(CPU)
    for epoch in range(WARM_UP_STEPS + 1):
        assert meter.seconds is None, epoch
        for _ in meter.watch(batches(1)):
            clock.pass_seconds(0.01)
    assert meter.seconds == pytest.approx(0.01)


def test_steps_of_the_warm_up_alone_measure_nothing():
    meter = measured([nothing] * WARM_UP_STEPS)
    assert meter.seconds is None
    assert meter.memory_bytes is None


@linux
def test_the_largest_step_is_what_memory_counts():
    steps = [allocate(400)] * WARM_UP_STEPS + [nothing, allocate(50), allocate(200), allocate(50)]
    assert measured(steps).memory_bytes / MB == pytest.approx(200, rel=0.1)


@linux
def test_memory_that_stays_is_not_a_steps():
    kept = []
    first, *others = [lambda: kept.append(torch.ones(300 * MB, dtype=torch.uint8))] + [nothing] * (WARM_UP_STEPS + 4)
    assert measured([first, *others]).memory_bytes < 30 * MB
    assert len(kept) == 1


@linux
def test_memory_freed_before_does_not_hide_a_step():
    # Blocks too small to be handed back one by one: the C library keeps them for who asks next.
    before = [torch.ones(64 * 1024, dtype=torch.uint8) for _ in range(3000)]
    hold = [torch.ones(64 * 1024, dtype=torch.uint8)]
    del before

    def step():
        blocks = [torch.ones(64 * 1024, dtype=torch.uint8) for _ in range(3000)]
        assert len(blocks) == 3000

    found = measured([nothing] * WARM_UP_STEPS + [step, nothing]).memory_bytes
    assert found / MB == pytest.approx(187.5, rel=0.15)
    assert len(hold) == 1


@pytest.mark.parametrize("missing", ["_CLEAR_REFS", "_STATUS"])
def test_where_peaks_cannot_be_measured_seconds_still_are(monkeypatch, tmp_path, missing):
    monkeypatch.setattr(step_meter, missing, tmp_path / "none" / "file")
    meter = measured([nothing] * (WARM_UP_STEPS + 3))
    assert meter.memory_bytes is None
    assert meter.seconds >= 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_memory_on_a_gpu():
    device = torch.device("cuda")
    steps = [allocate(100, device)] * WARM_UP_STEPS + [nothing, allocate(200, device), nothing]
    assert measured(steps, device).memory_bytes == pytest.approx(200 * MB, rel=0.05)


def test_a_stage_tells_what_its_steps_took(tmp_path):
    started = time.perf_counter()
    state, _, recorder = run(training(), tmp_path)
    assert len(recorder.steps) > WARM_UP_STEPS
    assert 0 < state.step_seconds < time.perf_counter() - started
    if sys.platform == "linux":
        assert 0 <= state.step_memory_bytes < 500 * MB


def test_measuring_changes_no_number(tmp_path, monkeypatch):
    metered, one, _ = run(training(dropout=0.1), tmp_path / "metered")
    monkeypatch.setattr(StepMeter, "watch", lambda self, given: iter(given))
    plain, other, _ = run(training(dropout=0.1), tmp_path / "plain")
    assert metered.history == plain.history
    assert plain.step_seconds is None
    pairs = zip(one.elastic.shared.parameters(), other.elastic.shared.parameters(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)
