import dataclasses
import json

import numpy as np
import pytest
import scipy.stats
from statistics_kit import difference, labelled, model, task_of

from minidisc_ray.evaluation import LabelledRows, Resampling, average, bootstrap, difference_estimate, score
from minidisc_ray.evaluation import resampling as drawing

FEW = Resampling(num_replicates=400)


def method(rows, first, share, seeds=(0,), split="validation"):
    return {seed: model(rows, first + seed, **{split: share}) for seed in seeds}


def test_one_seed_is_scipys_paired_bootstrap_of_rows():
    rows = labelled(400)
    ours, theirs = method(rows, 1, 0.85), method(rows, 2, 0.80)
    ours_right, theirs_right = (each[0].by_split["validation"] == rows.labels["validation"] for each in (ours, theirs))
    expected = scipy.stats.bootstrap(
        (ours_right * 1.0, theirs_right * 1.0),
        lambda ours, theirs, axis: (ours - theirs).mean(axis=axis),
        n_resamples=20_000,
        paired=True,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    found = difference(rows, ours, theirs, Resampling(num_replicates=20_000))
    assert found.mean == pytest.approx((ours_right * 1.0 - theirs_right).mean(), abs=1e-12)
    # One row is 0.0025; both are quantiles of 20,000 draws.
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=0.0026)
    assert (found.over, found.num_seeds, found.num_examples, found.num_tasks) == ("examples", 1, 400, 1)


def test_the_one_sided_bound_and_the_half_width_are_those_of_the_draws():
    rows = labelled(400)
    found = difference_estimate(rows, method(rows, 1, 0.85), method(rows, 2, 0.80), Resampling(num_replicates=2000))
    interval = found.interval()
    assert (found.replicates > interval.lower_bound).mean() == pytest.approx(0.95, abs=0.01)
    assert interval.low < interval.lower_bound < interval.mean
    assert interval.half_width == pytest.approx((interval.high - interval.low) / 2)


def test_intervals_over_examples_cover_the_truth_about_as_often_as_they_say():
    num_simulations, num_rows, covered, claimed = 400, 150, 0, 0
    rows = labelled(num_rows)
    for simulation in range(num_simulations):
        found = difference(
            rows,
            method(rows, 2 * simulation, 0.8),
            method(rows, 2 * simulation + 1, 0.7),
            dataclasses.replace(FEW, seed=simulation),
        )
        covered += found.low <= 0.1 <= found.high
        null = difference(
            rows,
            method(rows, 10_000 + 2 * simulation, 0.8),
            method(rows, 10_001 + 2 * simulation, 0.8),
            dataclasses.replace(FEW, seed=simulation),
        )
        claimed += null.excludes_zero
    # Three standard errors of a share of 0.95 in 400 are 0.033.
    assert 0.917 <= covered / num_simulations <= 0.983
    assert claimed / num_simulations <= 0.083


@pytest.mark.parametrize("metric", ["accuracy", "f1", "matthews"])
def test_a_real_difference_is_found_and_none_is_not_claimed(metric):
    rows, seeds = labelled(1000, metric), range(5)
    better = difference(rows, method(rows, 10, 0.9, seeds), method(rows, 20, 0.8, seeds), FEW)
    assert better.excludes_zero
    assert better.low > 0
    assert better.over == "seeds and examples"
    worse = difference(rows, method(rows, 20, 0.8, seeds), method(rows, 10, 0.9, seeds), FEW)
    assert (worse.mean, worse.low, worse.high) == pytest.approx((-better.mean, -better.high, -better.low))
    assert worse.excludes_zero
    equal = difference(rows, method(rows, 30, 0.8, seeds), method(rows, 20, 0.8, seeds), FEW)
    assert not equal.excludes_zero
    same = difference(rows, method(rows, 20, 0.8, seeds), method(rows, 20, 0.8, seeds), FEW)
    assert (same.mean, same.low, same.high, same.excludes_zero) == (0.0, 0.0, 0.0, False)


def test_replicates_are_what_a_loop_over_the_drawn_rows_and_seeds_gives(monkeypatch):
    rows, seeds = labelled(40, "f1"), (3, 1, 2)
    ours, theirs = method(rows, 10, 0.9, seeds), method(rows, 20, 0.7, seeds)
    few = Resampling(num_replicates=25)
    found = bootstrap(rows, {"ours": ours, "theirs": theirs}, few)
    monkeypatch.setattr("minidisc_ray.evaluation.resampling._CHUNK_ELEMENTS", 40 * 7)
    weights = np.concatenate(list(drawing._row_weights(rows, "validation", few)))
    counts = drawing.seed_counts(rows, 3, few)
    assert (weights.sum(axis=1) == 40).all()
    assert (counts.sum(axis=1) == 3).all()
    labels = rows.labels["validation"]
    for name, own in (("ours", ours), ("theirs", theirs)):
        for index in range(25):
            once = [
                score(
                    rows.task,
                    np.eye(2)[own[seed].by_split["validation"]].repeat(weights[index], axis=0),
                    labels.repeat(weights[index]),
                )["f1"]
                for seed in (1, 2, 3)
            ]
            assert found[name].replicates[index] == pytest.approx(np.average(once, weights=counts[index]), abs=1e-12)


def test_seeds_that_differ_widen_the_interval():
    rows = labelled(500)
    steady = {seed: model(rows, 10 + seed, validation=0.8) for seed in range(6)}
    shaky = {seed: model(rows, 10 + seed, validation=0.6 + 0.07 * seed) for seed in range(6)}
    other = {seed: model(rows, 20 + seed, validation=0.8) for seed in range(6)}
    calm, wide = difference(rows, steady, other, FEW), difference(rows, shaky, other, FEW)
    assert wide.high - wide.low > 1.5 * (calm.high - calm.low)


def test_the_same_seed_of_draws_gives_the_same_numbers_whatever_the_order_and_another_one_others():
    rows = labelled(200)
    ours, theirs = method(rows, 10, 0.9, (0, 1, 2)), method(rows, 20, 0.8, (0, 1, 2))
    first = difference(rows, ours, theirs, FEW)
    turned = dict(reversed(theirs.items()))
    assert difference(labelled(200), ours, turned, FEW) == first
    # Another method beside them does not change what is drawn.
    beside = bootstrap(rows, {"more": method(rows, 30, 0.5, (0, 1, 2)), "ours": ours, "theirs": theirs}, FEW)
    assert (beside["ours"] - beside["theirs"]).interval() == first
    assert difference(rows, ours, theirs, dataclasses.replace(FEW, seed=1)) != first


def test_levels_nest_and_results_are_plain():
    rows = labelled(200)
    ours, theirs = method(rows, 10, 0.9), method(rows, 20, 0.8)
    wide = difference(rows, ours, theirs, dataclasses.replace(FEW, level=0.99))
    narrow = difference(rows, ours, theirs, dataclasses.replace(FEW, level=0.5))
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high
    message = dataclasses.asdict(wide)
    assert json.loads(json.dumps(message)) == message
    assert {name: type(value) for name, value in message.items()} == {
        "mean": float,
        "low": float,
        "high": float,
        "level": float,
        "half_width": float,
        "lower_bound": float,
        "excludes_zero": bool,
        "num_seeds": int,
        "num_examples": int,
        "num_tasks": int,
        "over": str,
    }


def test_the_average_over_tasks_is_of_independent_draws():
    tasks = [labelled(300 + index, name=f"task-{index}") for index in range(4)]
    estimates = [difference_estimate(rows, method(rows, 10, 0.9), method(rows, 20, 0.8), FEW) for rows in tasks]
    found = average(estimates)
    assert found.point == pytest.approx(np.mean([each.point for each in estimates]))
    expected = np.sqrt(sum(each.replicates.var() for each in estimates)) / 4
    assert found.replicates.std() == pytest.approx(expected, rel=0.15)
    interval = found.interval()
    assert (interval.num_tasks, interval.num_examples, interval.over) == (4, 1206, "examples")
    with pytest.raises(ValueError, match="no task"):
        average([])
    first = tasks[0]
    other = difference_estimate(first, method(first, 1, 0.9), method(first, 2, 0.8), dataclasses.replace(FEW, seed=3))
    with pytest.raises(ValueError, match="differ in number of replicates"):
        average([estimates[0], other])


def test_several_validation_sets_are_averaged_or_left_out():
    labels = labelled(300, mismatched=200).labels
    names = {"matched": labels["validation"], "mismatched": labels["mismatched"]}
    task = dataclasses.replace(task_of("accuracy"), validation_splits=("matched", "mismatched"))
    both = LabelledRows(task, names, scored_splits=["matched", "mismatched"])
    first = LabelledRows(task, names)
    ours = {0: model(both, 1, matched=0.9, mismatched=0.7)}
    theirs = {0: model(both, 2, matched=0.8, mismatched=0.7)}
    per_split = [
        np.mean(ours[0].by_split[split] == names[split]) - np.mean(theirs[0].by_split[split] == names[split])
        for split in names
    ]
    assert difference(both, ours, theirs, FEW).mean == pytest.approx(np.mean(per_split))
    assert difference(first, ours, theirs, FEW).mean == pytest.approx(per_split[0])
    assert difference(both, ours, theirs, FEW).num_examples == 500


def test_what_cannot_be_compared_is_refused():
    rows = labelled(20)
    ours = method(rows, 1, 0.9, (0, 1))
    with pytest.raises(ValueError, match=r"ours has seeds \[0, 1\], but theirs has \[0\]"):
        difference(rows, ours, method(rows, 2, 0.9), FEW)
    with pytest.raises(ValueError, match="ours has no seed"):
        difference(rows, {}, {}, FEW)
    with pytest.raises(ValueError, match="no method"):
        bootstrap(rows, {}, FEW)
    first = bootstrap(rows, {"ours": ours}, FEW)["ours"]
    other = bootstrap(labelled(20, name="other"), {"ours": ours}, FEW)["ours"]
    with pytest.raises(ValueError, match="not paired"):
        first - other
    for bad, words in (({"num_replicates": 1}, "at least 2"), ({"level": 1.0}, "level is 1.0"), ({"seed": -1}, "-1")):
        with pytest.raises(ValueError, match=words):
            Resampling(**bad)
