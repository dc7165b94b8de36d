import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statistics_kit import difference, labelled, model, sweep

from minidisc_ray.evaluation import LabelledRows, Resampling, Sweep, hindsight, regret
from minidisc_ray.evaluation.choices import best_scales, pick_scales, picked_students, rule_estimates
from minidisc_ray.evaluation.rules import (
    BestAssistantRule,
    BestStudentRule,
    LambdaRule,
    NegativeDerivativeRule,
    NoAssistantRule,
    ParameterRatioRule,
    SelectionMetrics,
)

FEW = Resampling(num_replicates=300)
METRICS = SelectionMetrics(
    assistants={80: 0.90, 40: 0.84, 20: 0.60}, students={80: 0.70, 40: 0.72, 20: 0.72}, teacher=0.92
)
QUALITY = {80: (0.90, 0.70), 40: (0.87, 0.80), 20: (0.60, 0.65)}


def study(seeds=range(3), num_rows=600, quality=QUALITY):
    rows = labelled(num_rows, selection=500)
    sweeps = {
        seed: sweep(
            rows,
            seed,
            quality,
            teacher=model(rows, 90_000 + seed, selection=0.95),
            conventional=model(rows, 80_000 + seed, validation=0.6),
        )
        for seed in seeds
    }
    return rows, sweeps


def test_rules_by_hand():
    assert LambdaRule(0.2).pick(METRICS) == 40
    assert LambdaRule(0.0).pick(METRICS) == BestAssistantRule().pick(METRICS) == 80
    # (0.92 - 0.90) / 0.2, (0.90 - 0.84) / 0.4, (0.84 - 0.60) / 0.2
    assert NegativeDerivativeRule().pick(METRICS) == 80
    # Both 40 and 20 are best: the smaller one, which is cheaper.
    assert BestStudentRule().pick(METRICS) == 20
    assert NoAssistantRule().pick(METRICS) is None
    sizes = {80: 8_000, 40: 3_000, 20: 2_000}
    assert ParameterRatioRule(sizes, 1_200).pick(METRICS) == 40
    assert ParameterRatioRule(sizes, 1_000).pick(METRICS) == 20
    assert ParameterRatioRule(sizes, 1_000, ratio=7).pick(METRICS) == 80
    with pytest.raises(ValueError, match="lacks the encoder parameters of the assistant at 20"):
        ParameterRatioRule({80: 8_000, 40: 3_000}, 1_000).pick(METRICS)
    with pytest.raises(ValueError, match="needs the teacher's metric"):
        NegativeDerivativeRule().pick(dataclasses.replace(METRICS, teacher=None))


def test_regret_is_the_difference_of_the_student_chosen_on_selection():
    rows, sweeps = study()
    assert pick_scales(rows, sweeps, BestStudentRule()) == {0: 40, 1: 40, 2: 40}
    chosen = {seed: each.trials[40].student for seed, each in sweeps.items()}
    worse = {seed: model(rows, 70_000 + seed, selection=0.6, validation=0.6) for seed in sweeps}
    found = regret(rows, sweeps, worse, FEW).interval()
    assert found == difference(rows, chosen, worse, FEW)
    assert found.low > 0.1
    assert regret(rows, sweeps, chosen, FEW).interval().high == 0.0


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_hindsight_is_never_below_regret_nor_below_zero_for_a_student_among_its_own(seed):
    rows = labelled(60, selection=40)
    sweeps = {run: sweep(rows, seed + run, dict.fromkeys((70, 50, 30), (0.7, 0.7))) for run in range(2)}
    students = {run: model(rows, 5 + seed + run, validation=0.75) for run in sweeps}
    few = Resampling(num_replicates=20)
    ahead, chosen = hindsight(rows, sweeps, students, few), regret(rows, sweeps, students, few)
    assert ahead.point >= chosen.point - 1e-12
    assert (ahead.replicates >= chosen.replicates - 1e-12).all()
    own = {run: each.trials[50].student for run, each in sweeps.items()}
    assert hindsight(rows, sweeps, own, few).point >= 0


def test_hindsight_picks_again_in_each_replicate_and_tells_its_optimism():
    equal = dict.fromkeys(range(10, 100, 10), (0.7, 0.7))
    rows, sweeps = study(seeds=range(5), num_rows=300, quality=equal)
    students = {seed: model(rows, 70_000 + seed, validation=0.7) for seed in sweeps}
    ahead = hindsight(rows, sweeps, students, FEW)
    # The best of nine equal students leads by the luck of the rows; the luck of the draws comes on top.
    assert ahead.point > 0.015
    assert ahead.bias > 0.005
    single = {seed: Sweep({40: own.trials[40]}) for seed, own in sweeps.items()}
    alone, chosen = hindsight(rows, single, students, FEW), regret(rows, single, students, FEW)
    assert alone.replicates == pytest.approx(chosen.replicates, abs=1e-12)


def test_hindsight_of_seeds_with_other_trials():
    rows, sweeps = study(seeds=[4, 2])
    sweeps[2] = Sweep({scale: trial for scale, trial in sweeps[2].trials.items() if scale != 40})
    students = {seed: model(rows, 70_000 + seed, validation=0.7) for seed in sweeps}
    validation = rows.labels["validation"]

    def accuracy(predictions):
        return np.mean(predictions.by_split["validation"] == validation)

    expected = [
        max(accuracy(trial.student) for trial in sweeps[seed].trials.values()) - accuracy(students[seed])
        for seed in sweeps
    ]
    assert hindsight(rows, sweeps, students, FEW).point == pytest.approx(np.mean(expected))


def test_the_best_students_are_those_of_the_scored_rows_all_of_them_if_they_tie():
    rows, sweeps = study(seeds=[0])
    assert best_scales(rows, sweeps[0]) == {40}
    twice = Sweep(dict(sweeps[0].trials) | {30: sweeps[0].trials[40]})
    assert best_scales(rows, twice) == {40, 30}
    turned = LabelledRows(
        rows.task, {"selection": rows.labels["selection"], "validation": 1 - rows.labels["validation"]}
    )
    assert best_scales(turned, sweeps[0]) == {20}, "the worst on these rows is the best on the opposite ones"


def test_rules_regrets():
    rows, sweeps = study()
    rules = [
        BestStudentRule(),
        LambdaRule(0.2),
        LambdaRule(0.0),
        NegativeDerivativeRule(),
        ParameterRatioRule({80: 8_000, 40: 3_000, 20: 2_000}, 1_000),
        BestAssistantRule(),
        NoAssistantRule(),
    ]
    picked = {rule.label: tuple(pick_scales(rows, sweeps, rule).values()) for rule in rules}
    # 0.87 + 0.2 * 0.6 is above 0.90 + 0.2 * 0.2: the pick of the sweep itself.
    assert picked["λ-tradeoff, λ = 0.2"] == (40, 40, 40)
    assert picked["λ-tradeoff, λ = 0"] == picked["best assistant on selection"] == (80, 80, 80)
    assert picked["2.5x law"] == (20, 20, 20)
    assert picked["no assistant"] == (None, None, None)
    found = zip(rules, rule_estimates(rows, sweeps, rules, FEW), strict=True)
    students, lost = {}, {}
    for rule, (student, loss) in found:
        students[rule.label], lost[rule.label] = student.point, loss.interval()
    assert lost["best student on selection (MaxiDisc)"].high == 0.0
    assert (lost["λ-tradeoff, λ = 0.2"].mean, lost["λ-tradeoff, λ = 0.2"].low) == (0.0, 0.0)
    assert lost["best assistant on selection"].low > 0
    assert lost["no assistant"].mean == pytest.approx(0.2, abs=0.05)
    assert students["no assistant"] == pytest.approx(0.6, abs=0.05)


def test_the_choice_reads_selection_alone():
    rows, sweeps = study(seeds=[0])
    turned = LabelledRows(
        rows.task, {"selection": rows.labels["selection"], "validation": 1 - rows.labels["validation"]}
    )
    picked = picked_students(turned, sweeps, BestStudentRule())
    assert picked == picked_students(rows, sweeps, BestStudentRule()) == {0: sweeps[0].trials[40].student}


def test_what_a_rule_lacks_is_refused():
    rows, sweeps = study(seeds=[0])
    bare = {0: Sweep(sweeps[0].trials)}
    with pytest.raises(ValueError, match="seed 0 has no conventional student"):
        rule_estimates(rows, bare, [NoAssistantRule()], FEW)
    with pytest.raises(ValueError, match="needs the teacher's metric"):
        rule_estimates(rows, bare, [NegativeDerivativeRule()], FEW)
    with pytest.raises(ValueError, match="no rule"):
        rule_estimates(rows, sweeps, [], FEW)
    with pytest.raises(ValueError, match="no trial"):
        Sweep({})
    with pytest.raises(ValueError, match="strictly between 0 and 100"):
        Sweep({100: sweeps[0].trials[40]})
    students = {1: model(rows, 1, validation=0.7)}
    for compare in (regret, hindsight):
        with pytest.raises(ValueError, match=r"\[0\], but .* has \[1\]"):
            compare(rows, sweeps, students, FEW)
    no_selection = LabelledRows(rows.task, {"validation": rows.labels["validation"]})
    with pytest.raises(ValueError, match="no labels of split 'selection'"):
        regret(no_selection, sweeps, students, FEW)
