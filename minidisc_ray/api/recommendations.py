"""Recommend how to distil on a task, from earlier distillations on others (Distiller, section 3.1)."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from minidisc_ray.api.recipes import Recipe, config_of
from minidisc_ray.autodistiller.prediction.candidates import candidate_rows, candidates_of
from minidisc_ray.autodistiller.prediction.named_task import check_task, named_rows, named_task
from minidisc_ray.autodistiller.prediction.predictor import Predictor
from minidisc_ray.autodistiller.prediction.recommendation import (
    Recommendation,
    Recommended,
    are_tied,
    order_of,
    places_of,
)
from minidisc_ray.autodistiller.tables.names import check_name
from minidisc_ray.autodistiller.tables.reading import read_tables
from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.objective import DistillerConfig
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.preparation.closed_form import Estimator
from minidisc_ray.preparation.prepare import prepare

__all__ = ["Recommendation", "Recommended", "is_task_name", "recommend"]

_LEVEL = 0.9
_RECIPE_ENDINGS = (".yaml", ".yml")


def recommend(
    recipe: Recipe,
    tables: Sequence[str | Path],
    overrides: Sequence[str] = (),
    count: int = 5,
    without: Sequence[str] = (),
    student: str | None = None,
    teacher: str | None = None,
) -> Recommendation:
    """Rank the pipelines of Distiller that the tables know for a task, and check the best on a recipe; trains nothing.

    Models, data, schedule and training of a recipe stay as they are; its objective is replaced. For a task's name
    alone, the models are those that most of its observations have, and nothing is checked.

    Args:
        recipe: a config, a mapping, a recipe file's path, or the name of a task of the tables or of GLUE.
        tables: tables of observations, or the folder of Distiller's published files.
        overrides: ``key.sub=value``, as after ``--set``; only with a recipe.
        count: configurations to recommend.
        without: tasks whose observations are left out, to see what would have been recommended without them.
        student: the name of another student; only with a task's name.
        teacher: the name of another teacher; only with a task's name.

    Raises:
        UserError: for a mistake in the recipe, a name that the tables lack, a table that cannot be read or has fewer
            than two tasks, or if no candidate fits the recipe.

    Example:
        >>> found = recommend(recipe, ["earlier.parquet"], count=2)
        >>> [item.objective for item in found.items]
        ['Distiller (cosine, last, mse)', 'Distiller (cosine, skip, mse)']
        >>> found.items[0].config.objective.kind, found.items[0].tflops > 0
        ('distiller', True)
    """
    if count < 1:
        raise UserError(f"--top: {count} is not a number of configurations; give 1 or more")
    if not tables:
        raise UserError("--from: give a table of observations; `minidisc observe` writes one")
    name = str(recipe) if is_task_name(recipe) else None
    if name is not None and overrides:
        raise UserError(f"--set: {name[:60]} is not a recipe file, and a task's name alone has no keys; leave it out")
    if name is None and (student or teacher):
        option, model = ("student", student) if student else ("teacher", teacher)
        raise UserError(f"--{option}: {model} is for a task's name; a recipe has models of its own, see --set")
    config = None if name is not None else config_of(recipe, overrides)
    whole = read_tables([Path(table) for table in tables])
    if name is not None:
        check_task(name, whole)
    for task in without:
        check_name("without", task, whole["task"])
    frame = whole[~whole["task"].isin(list(without))].reset_index(drop=True)
    if frame.empty:
        reason = f"--without leaves nothing of its {len(whole):,} rows" if len(whole) else "it has no rows"
        raise UserError(f"--from: nothing to learn from, since {reason}; give another table too")
    candidates = candidates_of(frame)
    if config is None:
        assert name is not None
        named = named_task(name, whole, frame, student, teacher)
        rows = named_rows(named, candidates.objectives)
    else:
        base = prepare(config)
        rows = candidate_rows(base.config, candidates.objectives, len(base.splits.train), base.task.num_labels)
    predictor = Predictor(level=_LEVEL).fit(frame)
    predicted = predictor.predict(rows)
    check = _unchecked if config is None else _checked_on(config)
    items, refused, num_tied = _best(predicted, candidates.objectives, check, count)
    first = rows.iloc[0]
    return Recommendation(
        task=first["task"],
        student=first["student"],
        teacher=first["teacher"],
        is_by_name=config is None,
        num_examples=None if pd.isna(first["num_examples"]) else float(first["num_examples"]),
        is_known_task=bool((frame["task"] == first["task"]).any()),
        items=items,
        num_tied=num_tied,
        num_candidates=len(candidates.objectives),
        num_observations=len(frame),
        num_tasks=frame["task"].nunique(),
        without={task: int((whole["task"] == task).sum()) for task in without},
        refused=refused,
        notes=(*predictor.notes, *candidates.notes),
    )


def is_task_name(recipe: Recipe) -> bool:
    """Whether a recipe is given by a text that names no file, and so by the name of a task."""
    if not isinstance(recipe, str | Path):
        return False
    path = Path(recipe)
    return path.suffix.lower() not in _RECIPE_ENDINGS and (path.is_dir() or not path.exists())


Check = Callable[[DistillerConfig], dict[str, Any]]


def _best(
    predicted: pd.DataFrame, objectives: Sequence[DistillerConfig], check: Check, count: int
) -> tuple[tuple[Recommended, ...], dict[str, str], int]:
    """The best candidates that fit, those that do not, and how many more have the last one's prediction."""
    means = predicted["mean"].tolist()
    order = order_of(means, [objective.label for objective in objectives])
    chosen: list[tuple[int, dict[str, Any]]] = []
    refused: dict[str, str] = {}
    num_seen = 0
    for place in order:
        if len(chosen) == count:
            break
        num_seen += 1
        try:
            chosen.append((place, check(objectives[place])))
        except UserError as error:
            refused[objectives[place].label] = str(error)
    if not chosen:
        raise UserError(f"no candidate fits this recipe; {next(iter(refused.values()))}")
    places = places_of([means[place] for place, _ in chosen])
    items = tuple(
        Recommended(
            place=rank,
            objective=objectives[index].label,
            mean=means[index],
            low=float(predicted["low"].iloc[index]),
            high=float(predicted["high"].iloc[index]),
            **parts,
        )
        for rank, (index, parts) in zip(places, chosen, strict=True)
    )
    return items, refused, sum(are_tied(items[-1].mean, means[place]) for place in order[num_seen:])


def _unchecked(objective: DistillerConfig) -> dict[str, Any]:  # noqa: ARG001 - there is nothing to check it on
    return {}


def _checked_on(config: RunConfig) -> Check:
    def check(objective: DistillerConfig) -> dict[str, Any]:
        changed = config.with_objective(objective)
        prepared = prepare(changed)
        flops = sum(stage.flops for stage in Estimator(prepared).stages() if stage.in_ratio)
        return {"config": changed, "name": prepared.name, "tflops": flops / 1e12}

    return check
