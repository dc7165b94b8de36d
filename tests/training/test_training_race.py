"""A race decides from answers alone: made-up candidates that are right for so many rows."""

import numpy as np
import pytest

from minidisc_ray.core.race import FIRST_ROWS, NO_ASSISTANT, CheckTimes
from minidisc_ray.core.task import Task
from minidisc_ray.training.race import Race, RaceSetting
from minidisc_ray.training.race_check import race_choice

TASK = Task("made_up", ("text",), "label", ("a", "b"), ("accuracy",))
TIMES = CheckTimes(steps_per_epoch=100, num_epochs=10)
CANDIDATES = (80, 60, 40, 20)


def answers(accuracy, labels):
    right = np.random.default_rng(0).permutation(len(labels)) < round(accuracy * len(labels))
    logits = np.zeros((len(labels), 2))
    logits[np.arange(len(labels)), np.where(right, labels, 1 - labels)] = 1.0
    return logits


def race_of(num_rows=400, teacher=0.9, candidates=CANDIDATES, lam=0.2, times=TIMES):
    labels = np.arange(num_rows) % 2
    return Race(RaceSetting(candidates, 10, 3, lam, 0, times, TASK, labels, answers(teacher, labels), 0.5))


def run(race, accuracy_of):
    """Look at every check with accuracies by scale and step, until there is a choice."""
    for step in range(race.setting.times.num_steps + 1):
        if race.is_due(step):
            rows = race.rows_to_score()
            labels = race.setting.labels
            race.check(step, {s: answers(accuracy_of(s, step), labels)[rows] for s in race.scales_to_score(step)})
    return race


def test_a_clear_winner_is_chosen_before_the_latest_moment():
    race = run(race_of(), lambda scale, step: {80: 0.90, 60: 0.89, 40: 0.86, 20: 0.60, 10: 0.55}[scale])
    last = race.checks[-1]
    assert (race.choice, last.reason) == (40, "stable")
    assert last.step < TIMES.latest_step
    assert race.alive == (40,)
    assert race_choice(last) == "40% (the same choice three times)"
    assert race.scales_of_step(last.step) == (40, 10)
    assert race.scales_to_follow() == (40, 10)
    assert not any(race.is_due(step) for step in TIMES.steps)


def test_two_that_cannot_be_parted_are_decided_at_the_latest_moment():
    """By 40 rows nothing is sure, and there are no more of them."""
    noise = {80: 0.75, 60: 0.75, 40: 0.70, 20: 0.65, 10: 0.6}
    race = run(race_of(num_rows=40, teacher=0.78), lambda scale, step: noise[scale] + 0.05 * ((scale + step) % 3 - 1))
    last = race.checks[-1]
    assert (last.step, last.reason) == (TIMES.latest_step, "latest")
    assert last.choice in CANDIDATES
    assert max(check.num_rows for check in race.checks) == 40


def test_rows_are_doubled_as_long_as_they_do_not_decide():
    even = {80: 0.80, 60: 0.76, 40: 0.72, 20: 0.68, 10: 0.6}  # trade-offs that are all equal
    race = run(race_of(num_rows=2000, teacher=0.82), lambda scale, step: even[scale])
    seen = [check.num_rows for check in race.checks]
    assert seen[0] == FIRST_ROWS
    assert seen == sorted(seen)
    assert seen[-1] > FIRST_ROWS


def test_nothing_is_chosen_while_nothing_is_learned_and_then_as_usual():
    def accuracy(scale, step):
        return 0.5 if step < 400 else {80: 0.85, 60: 0.84, 40: 0.83, 20: 0.60, 10: 0.55}[scale]

    race = run(race_of(), accuracy)
    last = race.checks[-1]
    assert last.step >= 400
    assert (last.choice, last.has_learned) == (40, True)
    assert all(check.choice is None for check in race.checks[:-1])


@pytest.mark.parametrize(("lam", "choice"), [(0.2, NO_ASSISTANT), (1.0, 20)])
def test_where_nothing_is_learned_at_all_the_last_moment_decides_with_the_teacher_among_the_choices(lam, choice):
    race = run(race_of(lam=lam), lambda scale, step: 0.5)
    last = race.checks[-1]
    assert (last.step, last.reason, last.choice) == (TIMES.latest_unlearned_step, "not_learned", choice)
    expected = (10,) if choice == NO_ASSISTANT else (20, 10)
    assert race.scales_of_step(last.step) == expected
    assert race_choice(last).startswith("no assistant" if choice == NO_ASSISTANT else "20%")


def test_a_constant_metric_ends_in_the_smallest_candidate():
    race = run(race_of(teacher=0.5), lambda scale, step: 0.5)
    assert race.choice == 20


@pytest.mark.parametrize("times", [CheckTimes(1, 1), CheckTimes(2, 1), CheckTimes(1, 3)])
def test_the_shortest_stages_end_with_a_choice(times):
    race = run(race_of(times=times), lambda scale, step: 0.5 + scale / 300)
    assert race.choice is not None
    assert race.checks[-1].step <= times.num_steps


def test_bounds_leave_one_and_that_is_the_choice():
    race = run(race_of(teacher=0.7, lam=0.05), lambda scale, step: {80: 0.95}.get(scale, 0.55))
    assert (race.choice, race.checks[-1].reason) == (80, "only_one")


def test_every_candidate_that_left_by_its_bound_is_on_record_once():
    race = run(race_of(), lambda scale, step: 0.9)
    left = [scale for check in race.checks for scale in check.ruled_out]
    assert left
    assert len(set(left)) == len(left)
    assert set(left).isdisjoint({race.choice})
    before = race.setting.candidates
    for check in race.checks[:-1]:
        assert set(before) - set(check.alive) == set(check.ruled_out)
        before = check.alive


def test_a_race_goes_on_from_its_checks():
    accuracy = {80: 0.84, 60: 0.83, 40: 0.80, 20: 0.66, 10: 0.6}
    whole = run(race_of(), lambda scale, step: accuracy[scale])
    for done in range(len(whole.checks)):
        race = race_of()
        race.resume(whole.checks[:done])
        assert run(race, lambda scale, step: accuracy[scale]).checks == whole.checks
    trained = whole.trained_until(TIMES.num_steps)
    assert set(trained) <= {*CANDIDATES, 10}
    assert {whole.choice, 10, 80} <= set(trained)
