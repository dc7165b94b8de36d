"""Which epoch of a sandwich is kept, by what, and what other values of lambda would have kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipeline_kit import prepared_run, random_teacher
from storage_kit import LOCAL

from minidisc_ray.configs.selection import LambdaSelectionConfig, NegativeDerivativeSelectionConfig
from minidisc_ray.pipeline.choice import choose, epoch_value, scan_lambda
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.run_files.records import read_record
from minidisc_ray.schedules.plan import SandwichStep
from minidisc_ray.training.state import EpochRecord

LAM = LambdaSelectionConfig()
FIVE = "sandwich={num_epochs: 5, batch_size: 16, learning_rate: 2e-3, early_stop_epochs: null}"
metrics = st.dictionaries(st.sampled_from((90, 60, 30)), st.floats(0, 1), min_size=3, max_size=3)


def value(rule, found, teacher):
    return epoch_value(rule, found, choose(rule, found, teacher))


@given(metrics, st.sampled_from((1, 2)), st.floats(0, 1))
def test_the_negative_derivative_judges_no_epoch(found, order, teacher):
    rule = NegativeDerivativeSelectionConfig(order=order)
    assert value(rule, found, teacher) == pytest.approx(sum(found.values()) / 3)


@given(metrics)
def test_the_tradeoff_does(found):
    assert value(LAM, found, 1.0) == choose(LAM, found, 1.0).value


def test_a_noisy_first_epoch_is_not_kept():
    """As it was found: the largest disagreement between neighbours is in the worst epoch."""
    noisy, good = {90: 0.60, 60: 0.74, 30: 0.70}, {90: 0.85, 60: 0.84, 30: 0.81}
    rule = NegativeDerivativeSelectionConfig()
    assert choose(rule, noisy, 0.86).value > choose(rule, good, 0.86).value
    assert value(rule, noisy, 0.86) < value(rule, good, 0.86)


@pytest.mark.parametrize(("order", "chosen"), [(1, 40), (2, 60)])
def test_orders_choose_as_they_derive(order, chosen):
    """Flat up to the next one (40), or flat on both sides (60)."""
    found = {80: 0.90, 60: 0.86, 40: 0.86, 20: 0.60}
    assert choose(NegativeDerivativeSelectionConfig(order=order), found, 0.905).chain == (chosen,)


def epoch(number, large, small, loss=0.0, is_final=True):
    scores = {80: {"accuracy": large}, 30: {"accuracy": small}, 10: {"accuracy": 0.1}}
    return EpochRecord(
        epoch=number, losses={}, metrics=scores, selection_score=0.0, selection_loss=loss, is_final_phase=is_final
    )


class TestScan:
    step = SandwichStep((80, 30), 10, 3, "fixed", LAM)

    def scan(self, *history):
        return scan_lambda(self.step, history, lambda scores: scores["accuracy"])

    def test_each_value_keeps_its_own_epoch(self):
        """A small lambda wants the best metric, a large one the best small candidate: they stand in other epochs."""
        found = self.scan(epoch(1, 0.90, 0.50), epoch(2, 0.70, 0.68))
        assert found[0.1] == (1, 80)
        assert found[0.7] == (2, 30)

    def test_ties_go_to_the_lower_loss(self):
        assert self.scan(epoch(1, 0.9, 0.5, loss=2.0), epoch(2, 0.9, 0.5, loss=1.0))[0.2] == (2, 80)

    def test_an_earlier_phase_does_not_count(self):
        assert self.scan(epoch(1, 0.9, 0.5, is_final=False), epoch(2, 0.6, 0.5))[0.1][0] == 2


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    storage = tmp_path_factory.mktemp("epochs")
    overrides = (*random_teacher(storage / "teacher"), FIVE, "data.selection_fraction=0.3", "seed=1")
    prepared = prepared_run(storage / "runs", "minidisc", overrides)
    return prepared, run_in_process(prepared), overrides


def test_every_epochs_candidates_are_in_the_record(done):
    prepared, *_ = done
    record = read_record(LOCAL, prepared.run_folder / "stages" / "sandwich")
    assert [one.epoch for one in record.history] == [1, 2, 3, 4, 5]
    assert all(set(one.metrics) == {60, 30, 10} for one in record.history)
    assert record.history[record.best_epoch - 1].metrics == record.selection_metrics
    student = read_record(LOCAL, prepared.run_folder / "stages" / "student")
    assert [set(one.metrics) for one in student.history] == [{10}]


def test_the_scan_has_the_runs_own_choice_at_its_own_value(done):
    prepared, result, _ = done
    record = read_record(LOCAL, prepared.run_folder / "stages" / "sandwich")
    assert result.choice_by_lambda["0.2"] == result.assistants[0].scale_percent
    assert result.epoch_by_lambda["0.2"] == record.best_epoch
    assert set(result.epoch_by_lambda) == set(result.choice_by_lambda)


@pytest.mark.parametrize("lam", ["0.7", pytest.param("0.1", marks=pytest.mark.slow)])
def test_the_same_as_a_run_at_that_value(done, lam):
    """What another lambda would choose is what it does choose."""
    prepared, result, overrides = done
    own = prepared_run(prepared.storage.root, "minidisc", (*overrides, f"schedule.selection.lam={lam}"))
    found = run_in_process(own)
    assert result.choice_by_lambda[lam] == found.assistants[0].scale_percent
    assert result.epoch_by_lambda[lam] == read_record(LOCAL, own.run_folder / "stages" / "sandwich").best_epoch


def test_what_was_never_drawn_was_not_trained(tmp_path):
    """Two scales a step are the ends, three one more that is drawn: some are drawn by no step up to the kept epoch."""
    grid = "schedule.scales=[90, 75, 60, 45, 30, 20]"
    few = "sandwich={num_epochs: 1, batch_size: 100, learning_rate: 1e-3, early_stop_epochs: null}"  # two steps
    overrides = ("schedule.sampling=per_step", "schedule.num_sampled=3", grid, few)
    prepared = prepared_run(tmp_path, "minidisc", overrides)
    result = run_in_process(prepared)
    record = read_record(LOCAL, prepared.run_folder / "stages" / "sandwich")
    assert {10, 90} < set(record.trained_scales)
    assert 3 <= len(record.trained_scales) <= 4
    assert {c.scale_percent for c in result.candidates if c.trained} == set(record.trained_scales) - {10}
    assert sum(not candidate.trained for candidate in result.candidates) >= 3


class TestSelectionMetric:
    def test_a_mean_of_two_chooses(self, tmp_path):
        overrides = (
            *random_teacher(tmp_path / "teacher"),
            FIVE,
            "data.selection_fraction=0.3",
            "task={kind: builtin, selection_metric: [accuracy, f1]}",
        )
        prepared = prepared_run(tmp_path / "runs", "minidisc", overrides)
        result = run_in_process(prepared)
        record = read_record(LOCAL, prepared.run_folder / "stages" / "sandwich")
        kept = record.history[record.best_epoch - 1]
        means = {scale: (kept.metrics[scale]["accuracy"] + kept.metrics[scale]["f1"]) / 2 for scale in (60, 30)}
        assert {c.scale_percent: c.metric for c in result.candidates} == pytest.approx(means)
        assert kept.selection_score == pytest.approx(max(means[60] + 0.2 * 0.4, means[30] + 0.2 * 0.7))
        assert (result.primary_metric, result.selection_metric) == ("accuracy", "mean of accuracy and f1")
        assert prepared.name != prepared_run(tmp_path / "runs", "minidisc", overrides[:-1]).name
