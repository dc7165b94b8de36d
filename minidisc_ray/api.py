"""What the command line does, from Python."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.data import FilesDataConfig
from minidisc_ray.configs.loader import load_recipe, resolve
from minidisc_ray.configs.model import CheckpointStudentConfig, PretrainedTeacherConfig
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.data import Quoting, load_splits
from minidisc_ray.evaluation import merge_scores, score
from minidisc_ray.files.patience import storage_put_back
from minidisc_ray.models.checkpoint import load_model
from minidisc_ray.models.loading import check_labels, load_tokenizer
from minidisc_ray.pipeline.estimated import Estimate
from minidisc_ray.pipeline.mirrored import bring_to_load, bring_to_measure, bring_to_show
from minidisc_ray.pipeline.prediction import logits_of, predict_file
from minidisc_ray.pipeline.prepare import prepare
from minidisc_ray.pipeline.prepared import Prepared
from minidisc_ray.pipeline.profile import profile_folder
from minidisc_ray.pipeline.progress import Progress
from minidisc_ray.pipeline.result import RunResult, load_result
from minidisc_ray.pipeline.run_directory import wait_where_begun
from minidisc_ray.pipeline.tracking import check_tracking
from minidisc_ray.reports.html import write_report
from minidisc_ray.reports.profile import profile_frame
from minidisc_ray.reports.table import compare as _compare_results

Recipe = RunConfig | Mapping[str, Any] | str | Path
Watch = Callable[[Sequence[Progress]], None]


def plan(recipe: Recipe, overrides: Sequence[str] = ()) -> Prepared:
    """Check a recipe against its data, model and storage; starts nothing.

    Args:
        recipe: a config, a mapping, or a recipe file's path.
        overrides: ``key.sub=value``, as after ``--set``.

    Raises:
        UserError: for the first mistake found, in one sentence.
    """
    prepared = prepare(with_absolute_paths(_config_of(recipe, overrides)))
    check_tracking(prepared)
    return prepared


def estimate(recipe: Recipe, overrides: Sequence[str] = ()) -> Estimate:
    """Time a few real steps where a run would take them, and predict what each schedule will cost; keeps no file.

    Args:
        recipe: a config, a mapping, or a recipe file's path.
        overrides: ``key.sub=value``, as after ``--set``.

    Raises:
        UserError: for a mistake in the recipe, or a plan that no node can hold.
        TrainingError: if a step failed.
    """
    from minidisc_ray.ray_backend.timing import estimate_on_ray

    return estimate_on_ray(plan(recipe, overrides))


def run(recipe: Recipe, overrides: Sequence[str] = (), watch: Watch | None = None) -> RunResult:
    """Run a recipe on a Ray cluster, or on a local Ray; running it again resumes, or returns the result.

    Args:
        recipe: a config, a mapping, or a recipe file's path.
        overrides: ``key.sub=value``, as after ``--set``.
        watch: called now and then with every trial's progress.

    Raises:
        UserError: for a mistake in the recipe, or a plan that no node can hold.
        TrainingError: if training cannot go on.
    """
    return run_prepared(plan(recipe, overrides), watch)


@storage_put_back()
def run_prepared(prepared: Prepared, watch: Watch | None = None, others: Sequence[RunResult] = ()) -> RunResult:
    """Run a checked recipe; other runs' results stand beside it in the report."""
    # Here and not above: only what starts a cluster should pay for importing Ray.
    from minidisc_ray.ray_backend import run_on_ray

    result = run_on_ray(prepared, watch)
    wait_where_begun([prepared])
    write_report(prepared.run_folder, result, others)
    return result


def compare(runs: Sequence[str | Path | RunResult]) -> pd.DataFrame:
    """One table of finished runs.

    Raises:
        UserError: if a folder holds no result, or runs cannot stand in one table.
    """
    return _compare_results([run if isinstance(run, RunResult) else load_result(bring_to_show(run)) for run in runs])


def predict(
    student: str | Path, file: str | Path, columns: Sequence[str] | None = None, quoting: Quoting | None = None
) -> pd.DataFrame:
    """Label a file: its rows with a ``prediction`` column, and for classes their probability.

    Args:
        student: a folder with a saved student, or its URI in a bucket.
        file: JSON Lines, CSV, TSV or Parquet.
        columns: the one or two columns of text; by default those of the run that the student came from.
        quoting: what quotation marks are in CSV and TSV: ``csv``, they enclose cells; ``none``, they are text. By
            default csv in CSV, none in TSV.

    Raises:
        UserError: if student, file or columns are not there.
    """
    return predict_file(bring_to_load(student), Path(file), columns, quoting)


def evaluate(student: str | Path, recipe: Recipe, overrides: Sequence[str] = ()) -> dict[str, float]:
    """A saved model's metrics on a recipe's validation sets.

    Raises:
        UserError: if the student is not there or its labels are not the task's.
    """
    config = with_absolute_paths(_config_of(recipe, overrides))
    splits = load_splits(config)
    folder = bring_to_load(student)
    model = load_model(folder)
    check_labels(model.config, splits.task, str(student))
    names = [str(name) for name in (model.config.id2label or {}).values()]
    if not splits.task.is_regression and names != list(splits.task.label_names):
        wanted = ", ".join(splits.task.label_names)
        raise UserError(
            f"task: {student} tells {', '.join(names)} apart, but the recipe's task {wanted}; use the student's own"
        )
    tokenizer = load_tokenizer(PretrainedTeacherConfig(path=str(folder)))
    by_split = {
        name: score(splits.task, logits_of(model, tokenizer, rows, config.data.max_length), rows.labels)
        for name, rows in splits.validation.items()
    }
    return merge_scores(splits.task, by_split)


def profile(run: str | Path, threads: int | None = None, repeats: int = 20, length: int = 128) -> pd.DataFrame:
    """Parameters, multiply-adds, latency and throughput of a run's models, teacher beside student (MiniDisc, table 11).

    One row for each model and device: the CPU, and cuda, whose latencies are empty where there is no GPU.

    Args:
        run: a finished run's folder, or a plain folder of a student or teacher, which then stands alone; or its URI.
        threads: CPU threads; those that PyTorch has by default.
        repeats: timed forward passes of each model, with one row and with 32.
        length: tokens of a row.

    Raises:
        UserError: if the run is not finished, a model is not there, or a number is out of range.
    """
    return profile_frame(profile_folder(bring_to_measure(run), threads, repeats, length))


def _config_of(recipe: Recipe, overrides: Sequence[str]) -> RunConfig:
    if isinstance(recipe, RunConfig):
        return resolve(recipe.model_dump(mode="json"), overrides) if overrides else recipe
    if isinstance(recipe, Mapping):
        return resolve(recipe, overrides)
    if not isinstance(recipe, str | Path):
        raise UserError(f"recipe: {type(recipe).__name__} is no recipe; give a path, a mapping or a RunConfig")
    return load_recipe(recipe, overrides)


def with_absolute_paths(config: RunConfig) -> RunConfig:
    """Workers run in folders of their own, so what is relative here would be somewhere else there."""
    changed: dict[str, Any] = {}
    if "://" not in config.storage:
        changed["storage"] = _absolute(config.storage, "storage")
    data = config.data
    if isinstance(data, FilesDataConfig):
        places = ("folder", "train", "validation", "selection")
        paths = {
            place: _absolute(value, f"data.{place}") for place in places if (value := getattr(data, place)) is not None
        }
        changed["data"] = data.model_copy(update=paths)
    elif data.kind == "hub" and data.path and _is_folder(data.path):
        changed["data"] = data.model_copy(update={"path": _absolute(data.path, "data.path")})
    teacher = config.teacher
    if isinstance(teacher, PretrainedTeacherConfig) and teacher.path and _is_folder(teacher.path):
        changed["teacher"] = teacher.model_copy(update={"path": _absolute(teacher.path, "teacher.path")})
    student = config.student
    if isinstance(student, CheckpointStudentConfig) and student.path and _is_folder(student.path):
        changed["student"] = student.model_copy(update={"path": _absolute(student.path, "student.path")})
    return config.model_copy(update=changed)


def _absolute(path: str, key: str) -> str:
    try:
        return str(Path(path).expanduser().resolve())
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{key}: {path[:80]!r} is not a path ({error})") from error


def _is_folder(path: str) -> bool:
    try:
        return Path(path).expanduser().is_dir()
    except (OSError, RuntimeError, ValueError):
        return False
