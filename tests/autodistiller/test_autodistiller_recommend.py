"""Recommendations for the built-in task, from generated tables; every recipe that is written can be planned."""

from pathlib import Path

import pandas as pd
import pytest
from autodistiller_kit import observations

from minidisc_ray.api import plan
from minidisc_ray.api.recommendations import recommend
from minidisc_ray.autodistiller.prediction.candidates import candidates_of
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
    shown = render_recommendation(found, "table", 160)
    assert "No observation is of this task" in shown
    assert "4 tasks are few" in shown
    assert len(recommendation_records(found)) == 2
    with pytest.raises(UserError, match="exists"):
        write_recommendation(found, tmp_path / "new")


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
