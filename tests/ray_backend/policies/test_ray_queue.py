"""What is handed out when, decided without a cluster."""

import pytest
from ray_kit import SCHEDULES, prepared_run
from storage_kit import LOCAL

from minidisc_ray.configs import UserError
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.pipeline.run_directory import open_run
from minidisc_ray.ray_backend.items import items_of
from minidisc_ray.ray_backend.policies.queue import Failure, Item, ItemQueue
from minidisc_ray.ray_backend.run import run_many
from minidisc_ray.run_files.failures import read_failure, remove_failure, write_failure

GRID = {"kind": "list", "values": [60, 30]}
SCHEDULES["tradeoff_of_each"] = {"kind": "maxidisc", "scales": GRID, "selection": {"kind": "lambda"}}
SCHEDULES["students_of_a_sandwich"] = {
    "kind": "maxidisc",
    "scales": GRID,
    "assistants": "sandwich",
    "num_sampled": 2,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return prepared_run(tmp_path_factory.mktemp("queue"), "conventional")


def item(run, title, needs=(), follows=()):
    return Item(run, title, title, needs=frozenset(needs), follows=frozenset(follows))


def titles(items):
    return [item.title for item in items]


def test_an_item_waits_for_what_it_needs(run):
    queue = ItemQueue([item(run, "teacher"), item(run, "student", ["teacher"]), item(run, "other")])
    assert [queue.next_item().title, queue.next_item().title, queue.next_item()] == ["teacher", "other", None]
    assert queue.waiting
    assert queue.close("teacher", None) == []
    assert queue.next_item().title == "student"
    assert not queue.waiting
    assert titles(queue.running()) == ["other", "student"]
    assert queue.open_titles() == {"other", "student"}


def test_what_a_failed_item_was_needed_for_fails_with_it_and_nothing_else(run):
    queue = ItemQueue(
        [
            item(run, "teacher"),
            item(run, "sandwich", ["teacher"]),
            item(run, "student", ["sandwich"]),
            item(run, "last", follows=["student"]),
            item(run, "other"),
        ]
    )
    queue.next_item()
    assert titles(queue.close("teacher", Failure("no memory"))) == ["sandwich", "student"]
    reason = queue.failed["student"].sentence
    assert reason == "sandwich, which it needs, failed: teacher, which it needs, failed: no memory"
    assert [queue.next_item().title, queue.next_item().title] == ["last", "other"]


class _Gate:
    """Says what a test wants it to."""

    def __init__(self, **said):
        self.said = said

    def __call__(self, to_come):
        return self.said


def test_what_waits_for_probes_is_held_back_until_its_gate_lets_it_go_on(run):
    gate = _Gate(first="waits", second="waits", third="waits")
    names = ("probe", "other probe", "first", "second", "third")
    queue = ItemQueue([Item(run, name, name, gate=gate) for name in names])
    assert [queue.next_item().title, queue.next_item().title, queue.next_item()] == ["probe", "other probe", None]
    assert queue.num_ready() == 0
    gate.said = {"first": "waits", "second": "goes on", "third": "waits"}
    queue.close("probe", None)
    assert queue.num_ready() == 1
    assert queue.next_item().title == "second"
    gate.said = {"first": "ends", "second": "goes on", "third": "ends"}
    queue.close("other probe", Failure("no memory"))
    assert queue.open_titles() == {"second"}
    assert "first" not in queue.failed
    queue.close("second", None)
    assert queue.is_over


def test_what_ended_before_is_not_handed_out(run):
    queue = ItemQueue([Item(run, "first", "first", gate=_Gate(first="ends"))])
    assert queue.is_over
    assert queue.next_item() is None


def test_what_was_finished_before_is_waited_for_by_none(run):
    assert ItemQueue([item(run, "student", ["teacher of yesterday"])]).next_item().title == "student"


def test_runs_of_one_teacher_make_it_once_and_runs_of_another_seed_make_their_own(tmp_path):
    kinds = ("students_of_a_sandwich", "conventional", "minidisc")
    runs = [prepared_run(tmp_path, kind, f"seed={seed}") for seed in (0, 1) for kind in kinds]
    items = items_of(runs)
    makers = [item for item in items if item.with_shared]
    assert [(maker.run.config.schedule.kind, maker.run.config.seed) for maker in makers] == [
        ("conventional", 0),
        ("conventional", 1),
    ]
    for seed, maker in enumerate(makers):
        rest = [item for item in items if item.run.config.seed == seed and item is not maker]
        assert all(maker.title in item.needs for item in rest)
    sandwiches = [item for item in items if item.run.plan.before and item.trial == "shared"]
    assert len(sandwiches) == 2
    students = [item for item in items if item.run.plan.before and item.trial != "shared"]
    assert {len(item.needs) for item in students} == {2}


def test_other_importance_of_the_same_teacher_waits_for_it(tmp_path):
    runs = [prepared_run(tmp_path, "conventional", f"pruning.importance_rows={rows}") for rows in (32, 64)]
    first, student, second, other = items_of(runs)
    assert (first.needs, student.needs) == (frozenset(), {first.title})
    assert (second.needs, other.needs) == ({first.title}, {second.title})


def test_the_last_trial_follows_all_others_whatever_came_of_them(tmp_path):
    items = items_of([prepared_run(tmp_path, "tradeoff_of_each")])
    last = items[-1]
    assert last.trial == "chosen"
    assert last.follows == {item.title for item in items if item.trial.startswith("scale")}


def test_finished_runs_and_failed_ones_have_nothing_to_do_unless_asked_to_try_again(tmp_path):
    done, failed, fresh = (prepared_run(tmp_path, kind) for kind in ("conventional", "minidisc", "maxidisc"))
    run_in_process(done)
    open_run(failed)
    write_failure(LOCAL, failed.run_folder, "main", "out of memory")
    runs = [done, failed, fresh]
    assert {item.run.name for item in items_of(runs)} == {fresh.name}
    again = items_of(runs, "failed")
    assert [(item.run.name, item.trial) for item in again] == [(failed.name, "main")], "the teacher is there"

    open_run(fresh)
    write_failure(LOCAL, fresh.run_folder, "scale-60", "torn")
    assert [item.trial for item in items_of(runs)] == ["scale-80", "scale-30"]
    assert read_failure(fresh.run_folder, "scale-60") == "torn"
    remove_failure(LOCAL, fresh.run_folder, "scale-60")
    assert read_failure(fresh.run_folder, "scale-60") is None


def test_runs_that_ask_for_other_resources_are_refused(tmp_path):
    runs = [prepared_run(tmp_path, "conventional", f"compute.cpus_per_worker={count}") for count in (1, 2)]
    with pytest.raises(UserError, match="ask for different resources"):
        run_many(runs, tmp_path / "tune", lambda prepared, result: None)
