"""Use finished models: predictions, metrics, sizes and latency."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from minidisc_ray.api.recipes import Recipe, config_of
from minidisc_ray.configs.model import PretrainedTeacherConfig
from minidisc_ray.data import Quoting, load_splits
from minidisc_ray.evaluation import merge_scores, score
from minidisc_ray.inference.prediction import logits_of, predict_file
from minidisc_ray.inference.profile import profile_folder
from minidisc_ray.models.checkpoint import load_model
from minidisc_ray.models.loading import check_classes, load_tokenizer
from minidisc_ray.reports.run.profile import profile_frame
from minidisc_ray.run_files.fetching import fetch_model_folder, fetch_models


def predict(
    student: str | Path, file: str | Path, columns: Sequence[str] | None = None, quoting: Quoting | None = None
) -> pd.DataFrame:
    """Label a file: return its rows with a ``prediction`` column and, for classes, a ``probability`` column.

    A multi-label student's ``prediction`` is a list of names; each label has a column, such as ``probability_toxic``.

    Args:
        student: folder or URI of a saved student.
        file: JSON Lines, CSV, TSV or Parquet.
        columns: the one or two columns of text; by default those that the student was trained on.
        quoting: quotation marks in CSV and TSV files: ``csv``, they enclose cells; ``none``, they are text. By default
            csv for CSV, none for TSV.

    Raises:
        UserError: if student, file or columns are missing.

    Example:
        >>> import pandas as pd
        >>> reviews = pd.DataFrame({"text": ["the acting was brilliant", "the plot was not good"]})
        >>> reviews.to_csv("reviews.csv", index=False)
        >>> list(predict("runs/first/student", "reviews.csv"))
        ['text', 'prediction', 'probability']
    """
    return predict_file(fetch_model_folder(student), Path(file), columns, quoting)


def evaluate(student: str | Path, recipe: Recipe, overrides: Sequence[str] = ()) -> dict[str, float]:
    """Score a saved model on a recipe's validation sets; returns each metric by name.

    Raises:
        UserError: if the student is missing, or its labels are not the task's.

    Example:
        >>> scored = evaluate("runs/first/student", recipe)["accuracy"]
        >>> round(scored - run(recipe).student.validation_metrics["accuracy"], 6)  # a finished run is not run again
        0.0
    """
    config = config_of(recipe, overrides)
    splits = load_splits(config)
    folder = fetch_model_folder(student)
    model = load_model(folder)
    check_classes(model.config, splits.task, str(student))
    tokenizer = load_tokenizer(PretrainedTeacherConfig(path=str(folder)))
    by_split = {
        name: score(splits.task, logits_of(model, tokenizer, rows, config.data.max_length), rows.labels)
        for name, rows in splits.validation.items()
    }
    return merge_scores(splits.task, by_split)


def profile(run: str | Path, threads: int | None = None, repeats: int = 20, length: int = 128) -> pd.DataFrame:
    """Measure parameters, multiply-adds, latency and throughput of a run's models (MiniDisc, table 11).

    The table has one row for each model and device, CPU and cuda; cuda latencies are empty without a GPU.

    Args:
        run: folder or URI of a finished run, or of a single student or teacher.
        threads: CPU threads; by default PyTorch's number.
        repeats: timed forward passes of each model, with one row and with 32.
        length: tokens of a row.

    Raises:
        UserError: if the run is not finished, a model is missing, or a number is out of range.

    Example:
        >>> table = profile("runs/first", threads=1, repeats=1)
        >>> list(table["model"][table["device"] == "cpu"])
        ['teacher', 'assistant', 'student']
    """
    return profile_frame(profile_folder(fetch_models(run), threads, repeats, length))
