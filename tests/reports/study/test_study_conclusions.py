"""Sentences on findings with known intervals: what is claimed, and what is not."""

from dataclasses import replace

from minidisc_ray.evaluation.assumptions import share_of
from minidisc_ray.evaluation.intervals import Interval
from minidisc_ray.reports.study.conclusions import conclusions
from minidisc_ray.study.answers import EVERY_TASK
from minidisc_ray.study.findings import Finding, Findings
from minidisc_ray.study.sweep_rules import Hits


def interval(mean: float, low: float, high: float, bound: float) -> Interval:
    return Interval(
        mean, low, high, 0.95, (high - low) / 2, bound, low > 0 or high < 0, 3, 400, 1, "seeds and examples"
    )


def finding(what: str, against: str, of: Interval, task: str = EVERY_TASK) -> Finding:
    return Finding(None, 10, task, what, against, of, seeds=(0, 1, 2))


BETTER, WORSE = interval(0.05, 0.01, 0.09, 0.02), interval(-0.05, -0.09, -0.01, -0.08)
OPEN, SAME = interval(0.003, -0.01, 0.015, -0.008), interval(0.0, 0.0, 0.0, 0.0)


def test_differences_are_claimed_only_where_the_interval_excludes_zero():
    found = Findings(
        differences=(
            finding("TA", "LTSD", BETTER), finding("race", "LTSD", OPEN), finding("paper", "LTSD", WORSE),
            finding("race", "LTSD", BETTER, task="qnli"), finding("race", "LTSD", WORSE, task="qqp"),
            finding("race", "TA", SAME),
        )
    )  # fmt: skip
    assert conclusions(found) == [
        "Against LTSD over every task, in points, better: TA (+5.0, +1.0 to +9.0); worse: paper (-5.0, -9.0 to -1.0); "
        "not shown to differ: race (+0.3, -1.0 to +1.5; above -0.8 one-sided).",
        "Against TA over every task, in points, not shown to differ: race (0.0, the same predictions).",
    ]


def test_a_study_of_one_task_names_it_and_one_of_several_scales_names_them():
    one = finding("race", "LTSD", BETTER, task="qnli")
    assert conclusions(Findings(differences=(one,)))[0].startswith("Against LTSD on qnli, in points, better: race")
    two = Findings(differences=(one, replace(one, scale_percent=5, teacher="deep")))
    assert conclusions(two)[1].startswith("Against LTSD on qnli at 5% from deep, in points")


def test_regret_above_zero_is_worse():
    found = Findings(regrets=(finding("TA", "MaxiDisc", BETTER), finding("race", "MaxiDisc", OPEN)))
    assert conclusions(found) == [
        "Against MaxiDisc over every task, by regret in points, worse: TA (+5.0, +1.0 to +9.0); not shown to differ: "
        "race (+0.3, -1.0 to +1.5)."
    ]


def test_hits_are_set_beside_chance():
    def hits(rule: str, count: int) -> Hits:
        return Hits(None, 10, EVERY_TASK, rule, share_of(count, 9), 1 / 17, 17, (0, 1, 2))

    own = hits("best student on selection (MaxiDisc)", 9)
    assert conclusions(Findings(hits=(hits("λ-tradeoff, λ = 0.2", 4), hits("2.5x law", 1), own))) == [
        "Best of MaxiDisc's students picked over every task, more often than by chance: λ-tradeoff, λ = 0.2 (4 of 9); "
        "not shown to beat chance: 2.5x law (1 of 9); by chance 0.5 of 9."
    ]
    assert conclusions(Findings()) == []
