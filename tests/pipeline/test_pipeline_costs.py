"""What a disturbed run lost, held against a clock of the test's own; its price, TensorBoard, no card to measure."""

import time

import pytest
from pipeline_kit import prepared_run
from storage_kit import LOCAL
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from minidisc_ray.accounting.energy import NoEnergyError, energy_reader
from minidisc_ray.accounting.ledger import Ledger
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.pipeline.observer import StageObserver

OVERRIDES = (
    "distil.num_epochs=2",
    "compute.price_per_device_hour=3600",  # a unit of the currency each second
    "compute.currency=EUR",
    "compute.measure_energy=true",
)


class Killed(Exception):  # noqa: N818 - stands for whatever ends a process
    pass


@pytest.fixture(scope="module")
def disturbed(tmp_path_factory):
    """A run whose student's second epoch was broken off, and done again; with the seconds that a second clock saw."""
    prepared = prepared_run(tmp_path_factory.mktemp("storage"), "conventional", OVERRIDES)
    seen: dict[str, float] = {}

    original_epoch, original_step = StageObserver.on_epoch, StageObserver.on_step

    def on_epoch(self, record, checkpoint):
        original_epoch(self, record, checkpoint)
        if self.stage == "student":
            seen["safe"] = time.perf_counter()

    def on_step(self, step, num_steps, epoch, losses):
        original_step(self, step, num_steps, epoch, losses)
        if self.stage == "student" and epoch == 2:
            time.sleep(0.3)
            seen["lost"] = time.perf_counter() - seen["safe"]
            raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StageObserver, "on_epoch", on_epoch)
        patch.setattr(StageObserver, "on_step", on_step)
        began = time.perf_counter()
        with pytest.raises(Killed):
            run_in_process(prepared)
        seen["first"] = time.perf_counter() - began
    began = time.perf_counter()
    result = run_in_process(prepared)
    seen["second"] = time.perf_counter() - began
    return prepared, result, seen


def test_only_what_came_after_the_checkpoint_is_lost(disturbed):
    _, result, seen = disturbed
    student = next(stage for stage in result.cost.stages if stage.stage == "student")
    assert student.attempts == 2
    assert student.lost_device_hours * 3600 == pytest.approx(seen["lost"], abs=0.1)
    assert student.device_hours == pytest.approx(student.useful_device_hours + student.lost_device_hours)
    assert all(stage.lost_device_hours == 0 for stage in result.cost.stages if stage is not student)
    assert result.cost.lost_device_hours == student.lost_device_hours


def test_the_ledger_agrees_with_another_clock(disturbed):
    prepared, result, seen = disturbed
    attempts = Ledger(LOCAL, prepared.run_folder / "ledger.jsonl").attempts()
    held = sum(attempt.useful_device_hours + attempt.lost_device_hours + attempt.idle_device_hours
               for attempt in result.cost.attempts) * 3600  # fmt: skip
    assert held == pytest.approx(sum(one.seconds for one in attempts if one.kind == "hold"), abs=0.05)
    # Within the hold, so a little less than the whole call, which also opens the run and writes its result.
    assert held <= seen["first"] + seen["second"]
    assert held == pytest.approx(seen["first"] + seen["second"], abs=2)
    found = [(one.stage, one.number, one.status) for one in result.cost.attempts]
    assert found == [
        ("teacher", 1, "finished"), ("importance", 1, "finished"), ("student", 1, "failed"), ("student", 2, "finished"),
    ]  # fmt: skip
    assert all(one.node and one.device_model for one in result.cost.attempts)
    assert [one.safe_step for one in attempts if one.name == "student"] == [8, 16]


def test_the_price_is_of_all_that_was_held(disturbed):
    _, result, _ = disturbed
    cost = result.cost
    assert cost.price == pytest.approx((cost.device_hours + cost.startup_device_hours) * 3600)
    assert cost.price == pytest.approx(cost.priced_device_hours * 3600)
    assert cost.currency == "EUR"


def test_energy_without_a_card_is_a_warning_and_no_number(disturbed):
    assert disturbed[1].cost.energy_joules is None
    with pytest.raises(NoEnergyError, match="there is no GPU to measure"):
        energy_reader(None)
    with pytest.raises(NoEnergyError, match="no energy is recorded"):
        energy_reader("GPU-00000000-0000-0000-0000-000000000000")


def test_tensorboard_has_the_same_numbers(disturbed):
    prepared, result, _ = disturbed
    events = EventAccumulator(str(prepared.run_folder / "tensorboard" / "main" / "student"))
    events.Reload()
    student = next(stage for stage in result.cost.stages if stage.stage == "student")
    last = {kind: events.Scalars(f"device_hours/{kind}")[-1].value for kind in ("useful", "lost", "idle")}
    assert last["lost"] == pytest.approx(student.lost_device_hours, abs=1e-7)
    # Written as training ends, before the student is scored and saved.
    assert 0 < last["useful"] <= student.useful_device_hours
    assert events.Scalars("price/EUR")[-1].value == pytest.approx(3600 * sum(last.values()), rel=1e-4)
