"""The time left of simulated trials whose real time is known."""

from itertools import pairwise

import pytest

from minidisc_ray.estimate.time_left import StageWork, TimeLeft
from minidisc_ray.run_files.progress import Progress

# Seconds that each stage takes beside its FLOPs: a small student takes more seconds for each FLOP than a teacher.
STAGES = {"teacher": (4e12, 100.0), "sandwich": (2e13, 400.0), "choose": (0.0, 1.0), "student": (1e12, 60.0)}
WORK = {name: StageWork(flops, 0.9) for name, (flops, _) in STAGES.items()}
MAIN = ("run", "main")


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def progress_at(seconds, stages):
    """The progress of a trial after so many seconds: the last tenth of a stage is scoring, with no step."""
    for name in stages:
        needed = STAGES[name][1]
        if seconds < needed:
            return Progress(
                trial="main",
                status="running",
                stage=name,
                stage_index=1 + list(STAGES).index(name),
                num_stages=len(STAGES),
                step=min(200, int(200 * seconds / (0.9 * needed))),
                num_steps=200,
                started_at=0.0,
                updated_at=0.0,
            )
        seconds -= needed
    return progress_at(STAGES[name][1] - 1e-6, [name]).model_copy(update={"status": "finished"})


def predictions(stages):
    """What is predicted at each second, beside what is left in truth."""
    clock = Clock()
    time_left = TimeLeft(clock)
    time_left.add(MAIN, {name: WORK[name] for name in stages})
    total = sum(STAGES[name][1] for name in stages)
    found = []
    for second in range(int(total)):
        time_left.follow(MAIN, progress_at(second, stages))
        found.append((time_left.seconds({MAIN: 1.0}, 2), total - second))
        clock.now += 1.0
    return found


@pytest.mark.parametrize("stages", [list(STAGES), ["sandwich", "choose", "student"], ["student"]])
def test_the_time_left_is_never_negative_and_does_not_jump(stages):
    found = predictions(stages)
    assert all(seconds is None for seconds, _ in found[:10]), "too little is known"
    known = [(seconds, left) for seconds, left in found if seconds is not None]
    assert len(known) >= len(found) - 12
    assert all(seconds >= 0 for seconds, _ in known)
    for (before, _), (after, _) in pairwise(known):
        assert after > before - max(10.0, 0.15 * before), "no jump down"
    late = known[len(known) // 3 :]
    assert all(0.4 * left - 5 <= seconds <= 1.6 * left + 20 for seconds, left in late)


def test_it_is_zero_only_when_little_is_left():
    assert all(seconds > 0.0 for seconds, left in predictions(list(STAGES)) if seconds is not None and left > 10)


def test_trials_side_by_side_take_as_long_as_the_longest_and_a_trial_that_may_not_run_counts_in_part():
    clock = Clock()
    time_left = TimeLeft(clock)
    keys = [("run", f"scale-{number}") for number in range(4)]
    for key in keys:
        time_left.add(key, {"student": StageWork(100.0)})
    begun = progress_at(0, ["student"])
    time_left.follow(keys[0], begun)
    clock.now += 20
    time_left.follow(keys[0], begun.model_copy(update={"step": 100}))
    certain = dict.fromkeys(keys, 1.0)
    # 50 of 400 FLOPs in 20 seconds.
    assert time_left.seconds(certain, 1) == pytest.approx(140)
    assert time_left.seconds(certain, 2) == pytest.approx(70)
    assert time_left.seconds(certain, 8) == pytest.approx(40), "the trials that have not begun"
    assert time_left.seconds({**certain, keys[3]: 0.25}, 1) == pytest.approx(110)
    time_left.end(keys[0])
    assert time_left.seconds(dict.fromkeys(keys[1:], 1.0), 1) == pytest.approx(60), "100 FLOPs in 20 seconds"


def test_nothing_is_predicted_for_trials_whose_work_is_not_known():
    clock = Clock()
    time_left = TimeLeft(clock)
    time_left.add(MAIN, WORK)
    time_left.follow(MAIN, progress_at(0, list(STAGES)))
    clock.now += 50
    time_left.follow(MAIN, progress_at(50, list(STAGES)))
    assert time_left.seconds({MAIN: 1.0}, 1) is not None
    assert time_left.seconds({MAIN: 1.0, ("other", "main"): 1.0}, 1) is None
    time_left.follow(("other", "main"), progress_at(50, list(STAGES)))
    assert time_left.seconds({}, 1) is None


def test_a_trial_that_is_retried_goes_on_from_where_it_was():
    clock = Clock()
    time_left = TimeLeft(clock)
    time_left.add(MAIN, WORK)
    for second in (0, 150, 300):
        clock.now = 1000.0 + second
        time_left.follow(MAIN, progress_at(second, list(STAGES)))
    before = time_left.seconds({MAIN: 1.0}, 1)
    time_left.follow(MAIN, progress_at(200, list(STAGES)))
    assert time_left.seconds({MAIN: 1.0}, 1) == before
    time_left.follow(MAIN, progress_at(0, list(STAGES)))
    assert time_left.seconds({MAIN: 1.0}, 1) > before, "the teacher is damaged, and made again"
