"""Finished models at work: predictions, metrics, sizes and latency."""

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
    """Label a file: its rows with a ``prediction`` column, and for classes their probability.

    Args:
        student: a folder with a saved student, or its URI in a bucket.
        file: JSON Lines, CSV, TSV or Parquet.
        columns: the one or two columns of text; by default those of the run that the student came from.
        quoting: what quotation marks are in CSV and TSV: ``csv``, they enclose cells; ``none``, they are text. By
            default csv in CSV, none in TSV.

    Raises:
        UserError: if student, file or columns are not there.

    Example:
        >>> import pandas as pd
        >>> reviews = pd.DataFrame({"text": ["the acting was brilliant", "the plot was not good"]})
        >>> reviews.to_csv("reviews.csv", index=False)
        >>> list(predict("runs/first/student", "reviews.csv"))
        ['text', 'prediction', 'probability']
    """
    return predict_file(fetch_model_folder(student), Path(file), columns, quoting)


def evaluate(student: str | Path, recipe: Recipe, overrides: Sequence[str] = ()) -> dict[str, float]:
    """A saved model's metrics on a recipe's validation sets.

    Raises:
        UserError: if the student is not there or its labels are not the task's.

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
    """Parameters, multiply-adds, latency and throughput of a run's models, teacher beside student (MiniDisc, table 11).

    One row for each model and device: the CPU, and cuda, whose latencies are empty where there is no GPU.

    Args:
        run: a finished run's folder, or a plain folder of a student or teacher, which then stands alone; or its URI.
        threads: CPU threads; those that PyTorch has by default.
        repeats: timed forward passes of each model, with one row and with 32.
        length: tokens of a row.

    Raises:
        UserError: if the run is not finished, a model is not there, or a number is out of range.

    Example:
        >>> table = profile("runs/first", threads=1, repeats=1)
        >>> list(table["model"][table["device"] == "cpu"])
        ['teacher', 'assistant', 'student']
    """
    return profile_frame(profile_folder(fetch_models(run), threads, repeats, length))
