import dataclasses
import json
import warnings

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from statistics_kit import labelled, model, sweep

from minidisc_ray.evaluation import LabelledRows, Resampling, Sweep, SweepTrial, rank_agreement
from minidisc_ray.evaluation.agreement import rank_correlations
from minidisc_ray.evaluation.rules import LambdaRule, NegativeDerivativeRule

FEW = Resampling(num_replicates=300)
SCALES = range(20, 100, 10)
LAMBDA = LambdaRule(0.2)


def agreements(rows, sweeps, rule=LAMBDA, resampling=FEW):
    return {(each.predictor, each.coefficient): each for each in rank_agreement(rows, sweeps, rule, resampling)}


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=9))
def test_correlations_are_scipys_with_ties_and_constants(pairs):
    first, second = np.array(pairs, dtype=float).T
    found = rank_correlations(np.stack([first, second]), np.stack([second, first]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = {
            "spearman": scipy.stats.spearmanr(first, second).statistic,
            "kendall_tau_b": scipy.stats.kendalltau(first, second).statistic,
        }
    for name, value in expected.items():
        assert found[name] == pytest.approx([value, value], abs=1e-12, nan_ok=True)


def test_a_planted_order_is_found():
    rows = labelled(2000, selection=2000)
    # Smaller assistants are as good as larger ones here, so the trade-off falls with scale, as students do.
    quality = {scale: (0.9, 0.9 - 0.006 * scale) for scale in SCALES}
    found = agreements(rows, {seed: sweep(rows, seed, quality) for seed in range(3)})
    assert list(found) == [
        (predictor, coefficient)
        for predictor in ("λ-tradeoff, λ = 0.2", "assistant metric", "scale")
        for coefficient in ("spearman", "kendall_tau_b")
    ]
    for coefficient in ("spearman", "kendall_tau_b"):
        planted = found["λ-tradeoff, λ = 0.2", coefficient]
        assert planted.mean == pytest.approx(1.0, abs=0.05)
        assert 0.85 < planted.low <= planted.high <= 1.0
        assert planted.excludes_zero
        assert (planted.num_undefined_seeds, planted.num_undefined_replicates) == (0, 0)
        assert found["scale", coefficient].mean == pytest.approx(-1.0, abs=0.02)
    assert not found["assistant metric", "spearman"].excludes_zero
    assert planted.over == "seeds and examples"
    assert (planted.num_scales, planted.num_selection_rows, planted.num_examples) == (8, 2000, 2000)


def test_noise_covers_zero():
    rows = labelled(300, selection=300)
    found = agreements(rows, {seed: sweep(rows, seed, dict.fromkeys(SCALES, (0.8, 0.7))) for seed in range(5)})
    for each in found.values():
        assert each.low < 0 < each.high
        assert not each.excludes_zero


def test_seeds_are_averaged_and_a_point_is_scipys():
    rows = labelled(400, selection=300)
    generator = np.random.default_rng(0)
    quality = {scale: tuple(generator.uniform(0.6, 0.9, size=2)) for scale in SCALES}
    sweeps = {seed: sweep(rows, seed, quality) for seed in (7, 3)}
    found = agreements(rows, sweeps, LambdaRule(0.5))
    expected = {}
    for seed, own in sweeps.items():
        tradeoff = [
            np.mean(trial.assistant.by_split["selection"] == rows.labels["selection"]) + 0.5 * (1 - scale / 100)
            for scale, trial in own.trials.items()
        ]
        students = [
            np.mean(trial.student.by_split["validation"] == rows.labels["validation"]) for trial in own.trials.values()
        ]
        expected[seed] = scipy.stats.kendalltau(tradeoff, students).statistic
    each = found["λ-tradeoff, λ = 0.5", "kendall_tau_b"]
    assert each.seeds == (3, 7)
    assert each.by_seed == pytest.approx((expected[3], expected[7]))
    assert each.mean == pytest.approx(np.mean(list(expected.values())))


def test_what_is_undefined_is_counted_and_never_averaged():
    rows = labelled(200, selection=200)
    whole = sweep(rows, 0, {scale: (0.9, 0.9 - 0.005 * scale) for scale in SCALES})
    one_student = whole.trials[20].student
    constant = Sweep({scale: SweepTrial(trial.assistant, one_student) for scale, trial in whole.trials.items()})
    single = Sweep({20: whole.trials[20]})
    found = agreements(rows, {0: whole, 1: constant, 2: single})["scale", "spearman"]
    assert found.by_seed[1:] == (None, None)
    assert found.mean == found.by_seed[0] < -0.8
    assert found.num_undefined_seeds == 2
    # A replicate without an undefined seed draws seed 0 three times: 1 in 27.
    assert found.num_undefined_replicates == pytest.approx(300 * 26 / 27, abs=12)
    assert found.num_scales == 1
    nothing = agreements(rows, {0: constant})["scale", "kendall_tau_b"]
    assert (nothing.mean, nothing.low, nothing.high, nothing.excludes_zero) == (None, None, None, False)
    assert nothing.num_undefined_replicates == nothing.num_replicates == 300
    assert nothing.over == "examples"
    assert json.loads(json.dumps(dataclasses.asdict(nothing)))["by_seed"] == [None]


def test_the_negative_derivative_takes_the_teacher_along():
    rows = labelled(300, selection=300)
    teacher = model(rows, 5, selection=0.95)
    quality = {scale: (0.5 + 0.004 * scale, 0.8) for scale in SCALES}
    found = agreements(rows, {0: sweep(rows, 0, quality, teacher=teacher)}, NegativeDerivativeRule())
    assert "negative derivative" in {predictor for predictor, _ in found}
    with pytest.raises(ValueError, match="needs the teacher's metric"):
        agreements(rows, {0: sweep(rows, 0, quality)}, NegativeDerivativeRule())


def test_the_same_rows_for_selection_and_validation_are_drawn_once():
    labels = labelled(150).labels["validation"]
    rows = LabelledRows(labelled(150).task, {"validation": labels}, selection_split="validation")
    trials = {}
    for scale in SCALES:
        both = model(rows, scale, validation=0.5 + 0.004 * scale)
        trials[scale] = SweepTrial(both, both)
    found = agreements(rows, {0: Sweep(trials)})["assistant metric", "spearman"]
    # Assistants that are their own students agree in every draw only if both sides see the same one.
    assert (found.low, found.high) == (1.0, 1.0)


def test_draws_are_seeded():
    rows = labelled(100, selection=100)
    sweeps = {seed: sweep(rows, seed, dict.fromkeys(SCALES, (0.8, 0.7))) for seed in range(2)}
    assert agreements(rows, sweeps) == agreements(rows, sweeps)
    assert agreements(rows, sweeps) != agreements(rows, sweeps, resampling=dataclasses.replace(FEW, seed=1))
    with pytest.raises(ValueError, match="no seed"):
        agreements(rows, {})
