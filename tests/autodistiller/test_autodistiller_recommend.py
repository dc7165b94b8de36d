"""Recommendations for the built-in task, from generated tables; every recipe that is written can be planned."""

import shlex
from pathlib import Path

import pandas as pd
import pytest
from autodistiller_kit import observations

from minidisc_ray.api import plan
from minidisc_ray.api.recommendations import recommend
from minidisc_ray.autodistiller.prediction.candidates import candidates_of
from minidisc_ray.autodistiller.prediction.named_task import named_task
from minidisc_ray.autodistiller.prediction.recommendation import order_of, places_of
from minidisc_ray.configs.base import UserError
from minidisc_ray.reports.recommendation.files import write_recommendation
from minidisc_ray.reports.recommendation.render import recommendation_records, render_recommendation

RECIPE = {
    "task": "builtin",
    "data": {"kind": "builtin", "train_rows": 200, "validation_rows": 60},
    "schedule": {"kind": "conventional"},
}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.parquet"
    observations().to_parquet(path)
    return path


def test_the_best_effects_come_first_and_their_recipes_can_be_planned(table: Path, tmp_path: Path) -> None:
    found = recommend(RECIPE, [table], [f"storage={tmp_path / 'runs'}"], count=2)
    # The kit's best loss and best prediction, with either mapping.
    assert {item.objective for item in found.items} == {
        "Distiller (cosine, skip, mse)",
        "Distiller (cosine, last, mse)",
    }
    assert not found.is_known_task
    assert found.num_candidates == 12
    assert all(item.low < item.mean < item.high and item.tflops > 0 for item in found.items)
    paths = write_recommendation(found, tmp_path / "new")
    assert [path.suffix for path in paths] == [".yaml", ".yaml", ".csv"]
    for item, path in zip(found.items, paths, strict=False):
        assert plan(path).name == item.name
        command = path.read_text().splitlines()[2].removeprefix("#   ")
        assert shlex.split(command) == ["minidisc", "run", str(path.absolute())]
    shown = render_recommendation(found, "table", 160)
    assert "No observation is of this task" in shown
    assert "4 tasks are few" in shown
    assert len(recommendation_records(found)) == 2
    with pytest.raises(UserError, match="exists"):
        write_recommendation(found, tmp_path / "new")


def test_a_tasks_name_gets_the_models_that_it_was_tried_with(table: Path) -> None:
    found = recommend("task1", [table], count=3)
    # Both students have as many rows: the first by name.
    assert (found.task, found.student, found.teacher) == ("task1", "large", "teacher")
    assert (found.is_by_name, found.is_known_task, found.num_examples) == (True, True, 3000)
    assert {item.objective for item in found.items[:2]} == {
        "Distiller (cosine, skip, mse)",
        "Distiller (cosine, last, mse)",
    }
    assert [(item.config, item.name, item.tflops) for item in found.items] == [(None, None, None)] * 3
    small = recommend("task1", [table], count=1, student="small")
    assert small.student == "small"
    assert small.items[0].mean < found.items[0].mean
    shown = render_recommendation(found, "table", 160)
    assert "Recommended for task1: large, teacher teacher" in shown
    assert "`minidisc init --data FILE --model MODEL` writes one" in shown
    assert "TFLOPs" not in shown
    assert "`minidisc init --task rte --model MODEL`" in render_recommendation(recommend("rte", [table]), "md")
    with pytest.raises(UserError, match="--output: recipes are made from a recipe"):
        write_recommendation(found, table.parent / "new")


def test_the_most_frequent_pair_of_the_task_is_chosen() -> None:
    frame = observations()
    # Of all rows most are of "large", of task0's of "small".
    frame = pd.concat([frame, frame[(frame["task"] != "task0") & (frame["student"] == "large")]], ignore_index=True)
    frame = frame.drop(frame[(frame["task"] == "task0") & (frame["student"] == "large")].index[:3])
    frame["learning_rate"] = [1e-4 if student == "small" else 3e-4 for student in frame["student"]]
    of_task = named_task("task0", frame, frame)
    assert (of_task.student, of_task.num_examples, of_task.training) == ("small", 1000, {"learning_rate": 1e-4})
    # Left out, its number of rows is still known: it is no result.
    left_out = named_task("task0", frame, frame[frame["task"] != "task0"])
    assert (left_out.student, left_out.num_examples, left_out.training) == ("large", 1000, {"learning_rate": 3e-4})
    assert named_task("rte", frame, frame).num_examples is None
    # A student and a teacher that never met.
    other = frame.assign(teacher=frame["student"].map({"small": "old", "large": "new"}))
    strange = named_task("task0", other, other, "small", "new")
    assert (strange.student, strange.teacher, strange.training) == ("small", "new", {})


def test_a_task_can_be_left_out(table: Path) -> None:
    whole = recommend("task1", [table], count=1)
    without = recommend("task1", [table], count=1, without=["task1"])
    assert not without.is_known_task
    assert without.without == {"task1": 24}
    assert (without.num_observations, without.num_tasks) == (72, 3)
    assert without.items[0].mean != whole.items[0].mean
    assert "Left out of the table, as --without says: task1 (24 observations)." in render_recommendation(without, "md")
    with pytest.raises(UserError, match="--without: 'tusk1' has no row in the table; the closest names are task1"):
        recommend("task1", [table], without=["tusk1"])
    with pytest.raises(
        UserError, match="--without: 'x' has no row in the table; the table has task0, task1, task2, task3"
    ):
        recommend("task1", [table], without=["x"])
    with pytest.raises(UserError, match="two or more"):
        recommend("task1", [table], without=["task0", "task1", "task2"])


def test_equal_predictions_share_a_place_and_are_in_the_order_of_their_names() -> None:
    # As printed: 96.2, 96.2, 96.1, 96.0; the last two differ by rounding alone, on both sides of 95.95.
    assert places_of([0.9621, 0.9618, 0.961, 0.9595 + 1e-12, 0.9595 - 1e-12]) == [1, 1, 3, 4, 4]
    assert order_of([0.5, 0.9, 0.9 + 1e-12, 0.7], ["d", "b", "a", "c"]) == [2, 1, 3, 0]


def test_ties_are_named(tmp_path: Path) -> None:
    frame = observations(noise=0.0)
    # The mapping does nothing here: each configuration is tied with its twin.
    frame.to_parquet(tmp_path / "table.parquet")
    found = recommend("task1", [tmp_path / "table.parquet"], count=3)
    assert [item.place for item in found.items] == [1, 1, 3]
    assert [item.objective for item in found.items[:2]] == [
        "Distiller (cosine, last, mse)",
        "Distiller (cosine, skip, mse)",
    ]
    assert found.num_tied == 1
    assert [row["place"] for row in recommendation_records(found)] == [1, 1, 3]
    shown = render_recommendation(found, "md")
    assert "Configurations with the same place are tied" in shown
    assert "1 more is tied with the last one; --top shows more." in shown
    assert recommend("task1", [tmp_path / "table.parquet"], count=3).items == found.items


def test_what_no_recipe_can_express_is_counted_and_left_out() -> None:
    frame = observations()
    frame.loc[:4, "augmentation"] = "random"
    frame.loc[:2, "mixup"] = True
    found = candidates_of(frame)
    assert len(found.objectives) == 12
    assert [note.split(",")[0] for note in found.notes] == [
        "5 observations use augmentation",
        "3 observations use mixup",
    ]


def test_mistakes_are_one_sentence(table: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--top: 0"):
        recommend(RECIPE, [table], count=0)
    with pytest.raises(UserError, match="--from: give a table"):
        recommend(RECIPE, [])
    for text, sentence in (
        ("task9", "task9: neither a recipe file nor a task of the table or of GLUE; the closest names are"),
        ("no/such", "no/such: neither a recipe file nor a task"),
        ("none.yaml", "none.yaml: cannot be read as a recipe"),
    ):
        with pytest.raises(UserError, match=sentence):
            recommend(text, [table])
    with pytest.raises(UserError, match="--set: task1 is not a recipe file"):
        recommend("task1", [table], ["seed=1"])
    with pytest.raises(UserError, match="--student: small is for a task's name"):
        recommend(RECIPE, [table], student="small")
    with pytest.raises(UserError, match="--teacher: 'teecher' has no row in the table; the closest name is teacher"):
        recommend("task1", [table], teacher="teecher")
    one_task = tmp_path / "one.parquet"
    observations(tasks=1).to_parquet(one_task)
    with pytest.raises(UserError, match="two or more"):
        recommend(RECIPE, [one_task])
    with pytest.raises(UserError, match="no observation of Distiller's pipeline"):
        candidates_of(observations().assign(intermediate_loss=None))
    strange = tmp_path / "strange.csv"
    pd.DataFrame({"speed": [1]}).to_csv(strange, index=False)
    with pytest.raises(UserError, match="unknown column"):
        recommend(RECIPE, [strange])
