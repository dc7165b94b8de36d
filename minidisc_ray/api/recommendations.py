"""Recommend how to distil on a task, from earlier distillations on others (Distiller, section 3.1)."""

from collections.abc import Sequence
from pathlib import Path

from minidisc_ray.api.recipes import Recipe, config_of
from minidisc_ray.autodistiller.prediction.candidates import candidate_rows, candidates_of
from minidisc_ray.autodistiller.prediction.predictor import Predictor
from minidisc_ray.autodistiller.prediction.recommendation import Recommendation, Recommended
from minidisc_ray.autodistiller.tables.reading import read_tables
from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.objective import DistillerConfig
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.preparation.closed_form import Estimator
from minidisc_ray.preparation.prepare import prepare

_LEVEL = 0.9


def recommend(
    recipe: Recipe, tables: Sequence[str | Path], overrides: Sequence[str] = (), count: int = 5
) -> Recommendation:
    """Rank the pipelines of Distiller that the tables know for a recipe's task, and check the best; trains nothing.

    Models, data, schedule and training of the recipe stay as they are; its objective is replaced.

    Args:
        recipe: a config, a mapping, or a recipe file's path.
        tables: tables of observations, or the folder of Distiller's published files.
        overrides: ``key.sub=value``, as after ``--set``.
        count: configurations to recommend.

    Raises:
        UserError: for a mistake in the recipe, a table that cannot be read or has fewer than two tasks, or if no
            candidate fits the recipe.
    """
    if count < 1:
        raise UserError(f"--top: {count} is not a number of configurations; give 1 or more")
    if not tables:
        raise UserError("--from: give a table of observations; `minidisc observe` writes one")
    config = config_of(recipe, overrides)
    frame = read_tables([Path(table) for table in tables])
    candidates = candidates_of(frame)
    base = prepare(config)
    predictor = Predictor(level=_LEVEL).fit(frame)
    rows = candidate_rows(base.config, candidates.objectives, len(base.splits.train), base.task.num_labels)
    predicted = predictor.predict(rows)
    items: list[Recommended] = []
    refused: dict[str, str] = {}
    for place in predicted["mean"].sort_values(ascending=False, kind="stable").index:
        objective = candidates.objectives[place]
        try:
            items.append(_checked(config, objective, *predicted.loc[place, ["mean", "low", "high"]].tolist()))
        except UserError as error:
            refused[objective.label] = str(error)
        if len(items) == count:
            break
    if not items:
        raise UserError(f"no candidate fits this recipe; {next(iter(refused.values()))}")
    return Recommendation(
        config.task_name,
        bool((frame["task"] == config.task_name).any()),
        tuple(items),
        len(candidates.objectives),
        len(frame),
        frame["task"].nunique(),
        refused,
        (*predictor.notes, *candidates.notes),
    )


def _checked(config: RunConfig, objective: DistillerConfig, mean: float, low: float, high: float) -> Recommended:
    changed = config.with_objective(objective)
    prepared = prepare(changed)
    flops = sum(stage.flops for stage in Estimator(prepared).stages() if stage.in_ratio)
    return Recommended(changed, prepared.name, objective.label, mean, low, high, flops / 1e12)
