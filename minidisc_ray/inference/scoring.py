"""A saved student's scores: on a recipe's validation sets, or on the labelled rows of a file."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from minidisc_ray.configs.model import PretrainedTeacherConfig
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.core.task import Output, Task
from minidisc_ray.data import Quoting, Rows, load_splits, read_labelled
from minidisc_ray.evaluation import Evaluation, details_of, merge_scores, score
from minidisc_ray.inference.prediction import logits_of, max_length_of, require_local, text_columns_of
from minidisc_ray.models.checkpoint import load_model
from minidisc_ray.models.label_checks import check_classes
from minidisc_ray.models.loading import load_tokenizer
from minidisc_ray.models.problem_type import output_of

_DEFAULT_LABEL = "label"


def evaluate_recipe(student: Path, config: RunConfig) -> Evaluation:
    """Score a student on a recipe's validation sets.

    Raises:
        UserError: if the student or the rows cannot be loaded, or its classes are not the task's.
    """
    splits = load_splits(config)
    model = load_model(student)
    check_classes(model.config, splits.task, str(student))
    return _evaluate(model, _tokenizer(student), splits.task, splits.validation, config.data.max_length)


def evaluate_file(
    student: Path, file: Path, columns: Sequence[str] | None, label: str | None, quoting: Quoting | None = None
) -> Evaluation:
    """Score a student on the labelled rows of a file, by every metric of its kind of task.

    Args:
        student: folder of the saved student.
        file: JSON Lines, CSV, TSV or Parquet.
        columns: of text; by default those that the student was trained on.
        label: the column of the label; by default that which the student was trained on, else ``label``.
        quoting: quotation marks in CSV and TSV files.

    Raises:
        UserError: if student, file or columns are missing, or a label is none of the student's.
    """
    require_local(file)
    model = load_model(student)
    texts = text_columns_of(model.config, student, columns)
    output, names = output_of(model.config), _label_names(model.config)
    labels = (label,) if label else _label_columns(model.config)
    task = Task(
        file.name,
        tuple(texts),
        ", ".join(labels),
        names,
        _metrics(output, len(names)),
        validation_splits=(file.name,),
        is_multilabel=output == "labels",
        label_columns=labels if len(labels) > 1 else (),
    )
    rows, notes = read_labelled(file, task, quoting)
    return _evaluate(model, _tokenizer(student), task, {file.name: rows}, max_length_of(model.config), notes)


def _evaluate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    sets: Mapping[str, Rows],
    max_length: int,
    notes: Sequence[str] = (),
) -> Evaluation:
    logits = {name: logits_of(model, tokenizer, rows, max_length) for name, rows in sets.items()}
    scores = {name: score(task, logits[name], rows.labels) for name, rows in sets.items()}
    details = {name: details_of(task.label_names, logits[name], rows.labels) for name, rows in sets.items()}
    return Evaluation(merge_scores(task, scores), details, notes)


def _tokenizer(student: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(PretrainedTeacherConfig(path=str(student)))


def _label_names(config: PreTrainedConfig) -> tuple[str, ...]:
    """The names of a model's classes; empty where it predicts a number."""
    if output_of(config) == "value":
        return ()
    return tuple(str(config.id2label.get(index, f"LABEL_{index}")) for index in range(int(config.num_labels)))


def _metrics(output: Output, num_classes: int) -> tuple[str, ...]:
    match output:
        case "value":
            return ("spearman", "pearson")
        case "labels":
            return ("micro_f1", "macro_f1", "weighted_f1", "accuracy")
        case "class":
            f1 = ("f1",) if num_classes == 2 else ("macro_f1", "weighted_f1")
            return ("accuracy", *f1, "matthews")


def _label_columns(config: PreTrainedConfig) -> tuple[str, ...]:
    """The column of the label, or of each label where they have columns of their own, as the student was trained on."""
    recorded = getattr(config, "minidisc_label_column", None)
    given = recorded if isinstance(recorded, list) else [recorded]
    names = tuple(name for name in given if isinstance(name, str) and name)
    return names if len(names) == len(given) and names else (_DEFAULT_LABEL,)
