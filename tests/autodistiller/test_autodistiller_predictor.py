"""The predictor on observations whose effects are known, and on the published ones."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from autodistiller_kit import observations

from minidisc_ray.autodistiller.prediction import predictor as predictors
from minidisc_ray.autodistiller.prediction.dataset_importance import correlation_by_num_tasks, permutation_importance
from minidisc_ray.autodistiller.prediction.held_out import (
    leave_one_task_out,
    mean_of,
    pair_correlations,
    recommended_against_random,
    spearman,
    task_correlations,
)
from minidisc_ray.autodistiller.prediction.predictor import Predictor
from minidisc_ray.autodistiller.tables.frame import OUTCOMES
from minidisc_ray.autodistiller.tables.published import read_published
from minidisc_ray.configs.base import UserError

PUBLISHED = Path(os.environ.get("MINIDISC_DATA", "/nowhere")) / "autodistiller"


def test_a_task_that_was_never_seen_is_ranked_by_the_effects_of_the_others() -> None:
    frame = observations()
    ranks = leave_one_task_out(frame, Predictor)
    by_task = task_correlations(frame, ranks, num_draws=20)
    assert all(one.value > 0.95 for one in by_task.values())
    assert all(one.low <= one.value <= one.high for one in pair_correlations(frame, ranks, num_draws=20).values())


def test_outcomes_of_the_task_that_is_left_out_are_never_used() -> None:
    frame = observations()
    is_out = frame["task"] == "task3"
    changed = frame.copy()
    changed.loc[is_out, list(OUTCOMES)] = np.random.default_rng(0).uniform(size=(int(is_out.sum()), len(OUTCOMES)))
    ranks = [leave_one_task_out(one, Predictor)[is_out] for one in (frame, changed)]
    pd.testing.assert_series_equal(*ranks)


def test_components_are_ranked_within_models_however_far_these_are_apart() -> None:
    frame = observations()
    frame["ratio_to_teacher"] += np.where(frame["student"] == "large", 5.0, 0.0)
    by_pair = pair_correlations(frame, leave_one_task_out(frame, Predictor), num_draws=2)
    assert len(by_pair) == 8
    assert all(one.value > 0.9 for one in by_pair.values())


def test_what_a_regression_shows_counts_less_for_a_classification() -> None:
    frame = observations().assign(num_examples=1000.0)
    is_regression = frame["task"].isin(["task2", "task3"])
    levels = frame.groupby(["task", "student"])["ratio_to_teacher"].transform("mean")
    # All effects of components are the opposite ones there.
    frame["ratio_to_teacher"] = np.where(
        is_regression, 2 * levels - frame["ratio_to_teacher"], frame["ratio_to_teacher"]
    )
    known = frame.assign(num_labels=np.where(is_regression, 1.0, 2.0))
    within = [
        mean_of(list(pair_correlations(one, leave_one_task_out(one, Predictor), num_draws=2).values())).value
        for one in (known, frame)
    ]
    assert within[0] > 0.9
    assert within[1] < 0


def test_pairs_of_one_configuration_each_are_ranked_by_what_all_of_them_show() -> None:
    frame = observations()
    # Each configuration's student is another one.
    frame["student"] = frame.groupby("task").cumcount().map("student{}".format)
    by_task = task_correlations(frame, leave_one_task_out(frame, Predictor), num_draws=2)
    assert all(one.value > 0.8 for one in by_task.values())


def test_predictions_are_results_and_their_intervals_hold_them() -> None:
    frame = observations(tasks=6)
    held_out = frame["task"] == "task2"
    fitted = Predictor(level=0.9).fit(frame[~held_out])
    predicted = fitted.predict(frame[held_out].drop(columns=list(OUTCOMES)))
    results = frame.loc[held_out, "ratio_to_teacher"]
    assert predicted["mean"].to_numpy() == pytest.approx(results.to_numpy(), abs=0.1)
    assert results.between(predicted["low"], predicted["high"]).mean() >= 0.8
    assert (predicted["deviation"] > 0).all()


def test_a_task_of_the_table_is_predicted_at_its_own_level() -> None:
    frame = observations(noise=1e-4)
    predicted = Predictor().fit(frame).predict(frame.drop(columns=list(OUTCOMES)))
    assert np.abs(predicted["mean"] - frame["ratio_to_teacher"]).max() < 0.05


def test_an_interval_is_wider_for_a_task_whose_level_is_not_known() -> None:
    frame = observations(tasks=6)
    fitted = Predictor(level=0.9).fit(frame)
    known = fitted.predict(frame.drop(columns=list(OUTCOMES)))
    new = fitted.predict(frame.assign(task="new").drop(columns=list(OUTCOMES)))
    assert frame["ratio_to_teacher"].between(known["low"], known["high"]).mean() >= 0.9
    assert ((new["high"] - new["low"]) > (known["high"] - known["low"])).mean() > 0.5


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda frame: frame[frame["task"] == "task0"], "needs two or more"),
        (lambda frame: frame.assign(ratio_to_teacher=1.0), "different values of ratio_to_teacher"),
        (lambda frame: frame.groupby("task").head(3), "have 5 configurations"),
        (lambda frame: frame.assign(ratio_to_teacher=np.nan), "for 0 task"),
    ],
)
def test_a_table_that_says_nothing_is_refused(change: object, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Predictor().fit(change(observations()))  # type: ignore[operator]


def test_a_large_table_is_sampled_evenly_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictors, "MAX_CONFIGURATIONS", 40)
    frame = observations()
    fitted = Predictor().fit(frame)
    assert fitted.notes == ["a random sample of 40 of 96 configurations was used"]
    assert spearman(fitted.rank(frame), frame.groupby("task")["ratio_to_teacher"].rank().to_numpy()) > 0.8


def test_recommended_ones_are_compared_with_the_expectation_over_random_ones() -> None:
    frame = observations(tasks=2, noise=0.0)
    perfect = frame.groupby("task")["ratio_to_teacher"].rank()
    found = recommended_against_random(frame, perfect, count=2, num_draws=5)["task0"]
    values = np.sort(frame.loc[frame["task"] == "task0", "ratio_to_teacher"].to_numpy())
    assert found.regret.value == 0.0
    assert found.top.value == pytest.approx(values[-2:].mean())
    assert found.random.value == pytest.approx(values.mean())
    pairs = [max(one, two) for place, one in enumerate(values) for two in values[place + 1 :]]
    assert found.random_regret.value == pytest.approx(values[-1] - np.mean(pairs))


def test_more_tasks_are_never_much_worse_and_dataset_features_matter_where_tasks_differ() -> None:
    frame = observations()
    curve = correlation_by_num_tasks(frame, Predictor, numbers=(2, 3), num_draws=1)
    assert min(curve[3]) > min(curve[2]) - 0.05
    falls = permutation_importance(frame, num_splits=2)
    assert set(falls) == {"baseline score", "teacher score", "number of examples"}
    assert falls["number of examples"].value > 0.1
    assert falls["teacher score"].value == pytest.approx(0.0, abs=1e-6)


@pytest.mark.slow
@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="MINIDISC_DATA has no autodistiller folder")
def test_published_datasets_are_ranked_better_than_the_paper_does() -> None:
    frame = read_published(PUBLISHED)
    ranks = leave_one_task_out(frame, Predictor)
    assert mean_of(list(task_correlations(frame, ranks, num_draws=2).values())).value > 0.49
    assert mean_of(list(pair_correlations(frame, ranks, num_draws=2).values())).value > 0.42
