"""Use finished models: predictions, metrics, sizes and latency."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from minidisc_ray.api.recipes import Recipe, config_of
from minidisc_ray.configs.base import UserError
from minidisc_ray.data import Quoting, is_rows_file
from minidisc_ray.evaluation import Evaluation
from minidisc_ray.inference.prediction import predict_file
from minidisc_ray.inference.profile import profile_folder
from minidisc_ray.inference.scoring import evaluate_file, evaluate_recipe
from minidisc_ray.reports.run.profile import profile_frame
from minidisc_ray.run_files.fetching import fetch_models, fetch_student

_RECIPE_ENDINGS = (".yaml", ".yml", ".json")


def predict(
    student: str | Path, file: str | Path, columns: Sequence[str] | None = None, quoting: Quoting | None = None
) -> pd.DataFrame:
    """Label a file: return all of its columns, then ``prediction`` and, for classes, ``probability``.

    ``attrs["notes"]`` of the frame has a sentence for each doubt about how the file was read.

    A multi-label student's ``prediction`` is a list of names; each label has a column, such as ``probability_toxic``.

    Args:
        student: folder or URI of a saved student, or of a run.
        file: JSON Lines, CSV, TSV or Parquet.
        columns: the one or two columns of text; by default those that the student was trained on.
        quoting: quotation marks in CSV and TSV files: ``csv``, they enclose cells; ``none``, they are text. By default
            csv for CSV, none for TSV.

    Raises:
        UserError: if student, file or columns are missing, or the file has a column called ``prediction``.

    Example:
        >>> import pandas as pd
        >>> reviews = pd.DataFrame({"id": [7, 8], "text": ["the acting was brilliant", "the plot was not good"]})
        >>> reviews.to_csv("reviews.csv", index=False)
        >>> list(predict("runs/first", "reviews.csv"))
        ['id', 'text', 'prediction', 'probability']
    """
    return predict_file(fetch_student(student), Path(file), columns, quoting)


def evaluate(
    student: str | Path,
    rows: Recipe,
    overrides: Sequence[str] = (),
    columns: Sequence[str] | None = None,
    label: str | None = None,
    quoting: Quoting | None = None,
) -> Evaluation:
    """Score a saved student on a labelled file, or on a recipe's validation sets.

    The metrics are a dict by name. ``details`` has, for each set of rows, every class's precision, recall, F1 and
    support and the confusion matrix; of a regression the errors.

    Args:
        student: folder or URI of a saved student, or of a run.
        rows: a file of JSON Lines, CSV, TSV or Parquet; or a recipe: a config, a mapping, or a recipe file's path.
        overrides: of a recipe, ``key.sub=value``.
        columns: the file's one or two columns of text; by default those that the student was trained on.
        label: the file's column of the label; by default the one that the student was trained on, else ``label``.
        quoting: quotation marks in CSV and TSV files, as for ``predict``.

    Raises:
        UserError: if student, rows or columns are missing, the student has no class for a label, or its classes are not
            the recipe's.

    Example:
        >>> scored = evaluate("runs/first/student", recipe)
        >>> round(scored["accuracy"] - run(recipe).student.validation_metrics["accuracy"], 6)
        0.0
        >>> scored.details["validation"].names, scored.details["validation"].confusion.shape
        (('negative', 'positive'), (2, 2))
        >>> import pandas as pd
        >>> rows = [{"text": "a good film", "label": "positive"}, {"text": "the plot was bad", "label": "negative"}]
        >>> pd.DataFrame(rows).to_csv("labelled.csv", index=False)
        >>> list(evaluate("runs/first", "labelled.csv"))
        ['accuracy', 'f1', 'matthews']
    """
    file = _rows_file(rows)
    if file is None:
        _refuse_given("a recipe names its columns itself", columns=columns, label=label, quoting=quoting)
        return evaluate_recipe(fetch_student(student), config_of(rows, overrides))
    _refuse_given("it changes a recipe, and the rows are a file's", set=overrides or None)
    return evaluate_file(fetch_student(student), file, columns, label, quoting)


def _rows_file(rows: Recipe) -> Path | None:
    """The file of rows; None for a recipe.

    Raises:
        UserError: if a path is neither.
    """
    if not isinstance(rows, str | Path):
        return None
    path = Path(rows)
    if is_rows_file(path):
        return path
    if path.suffix.lower() not in _RECIPE_ENDINGS:
        raise UserError(
            f"file: {path.name} is neither a file of rows (.jsonl, .csv, .tsv, each also .gz, or .parquet) nor a "
            "recipe (.yaml)"
        )
    return None


def _refuse_given(reason: str, **options: object) -> None:
    for name, value in options.items():
        if value is not None:
            raise UserError(f"--{name}: {reason}; leave it out")


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
