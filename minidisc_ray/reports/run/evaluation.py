"""Tables of what is behind a score: classes and their confusion, or the errors of a regression."""

from collections.abc import Mapping
from operator import itemgetter
from typing import Any

from minidisc_ray.core.task import ERROR_METRICS
from minidisc_ray.evaluation import ClassDetails, Details, ErrorDetails, Evaluation
from minidisc_ray.reports.tables import Column, Format, Row, Table, write
from minidisc_ray.reports.words import number_text, percent_text, score_text

# A larger matrix fits neither a terminal nor a page.
MAX_MATRIX_CLASSES = 20
_MAX_PAIRS = 20
_MEASURES = {"precision": "Precision", "recall": "Recall", "f1": "F1"}  # and their headings


def class_table(title: str, models: Mapping[str, ClassDetails]) -> Table:
    """Support, precision, recall and F1 of each class, in percent, of one or several models on the same rows.

    Args:
        title: of the table.
        models: by name; the only model's columns have no name.
    """
    columns = [Column("Class", "name", is_number=False), Column("Rows", "support")]
    for model in models:
        prefix = f"{model}: " if len(models) > 1 else ""
        columns += [
            Column(f"{prefix}{heading}", itemgetter((model, measure)), percent_text)
            for measure, heading in _MEASURES.items()
        ]
    rows: list[dict[Any, Any]] = []
    for scores in zip(*(details.scores for details in models.values()), strict=True):
        row: dict[Any, Any] = {"name": scores[0].name, "support": scores[0].support}
        for model, found in zip(models, scores, strict=True):
            row |= {(model, measure): getattr(found, measure) for measure in _MEASURES}
        rows.append(row)
    return Table(title, tuple(columns), rows)


def confusion_table(title: str, details: ClassDetails) -> Table:
    """The rows of each label by their prediction; of many classes, the pairs that are confused most."""
    if len(details.names) > MAX_MATRIX_CLASSES:
        return _pair_table(title, details)
    columns = (
        Column("Label", itemgetter(0), is_number=False),
        *(Column(name, itemgetter(place)) for place, name in enumerate(details.names, start=1)),
    )
    assert details.confusion is not None
    rows = [(name, *counts) for name, counts in zip(details.names, details.confusion.tolist(), strict=True)]
    return Table(title, columns, rows)


def _pair_table(title: str, details: ClassDetails) -> Table:
    pairs = details.confused_pairs()
    columns = (
        Column("Label", "label", is_number=False),
        Column("Predicted as", "prediction", is_number=False),
        Column("Rows", "rows"),
        Column("Of the label's rows", "share", percent_text, unit="%"),
    )
    note = () if len(pairs) <= _MAX_PAIRS else (f"The {_MAX_PAIRS} most confused pairs of {len(pairs)}.",)
    return Table(title, columns, pairs[:_MAX_PAIRS], note)


def error_table(title: str, models: Mapping[str, ErrorDetails]) -> Table:
    """Squared and absolute error and the residuals' quantiles, of one or several models on the same rows."""
    rows = [_errors_of(details) for details in models.values()]
    headings = list(models) if len(models) > 1 else ["Value"]
    columns = (
        Column("Error", itemgetter(0), is_number=False),
        *(Column(heading, itemgetter(place), _error_text) for place, heading in enumerate(headings, start=1)),
    )
    return Table(title, columns, [(name, *(row[name] for row in rows)) for name in rows[0]])


def render_evaluation(found: Evaluation, format: Format, width: int | None = None) -> str:  # noqa: A002 the option's name
    """Write a model's scores: json and csv in full precision, csv with a number a row; table and md rounded.

    Args:
        found: of the model.
        format: of the text.
        width: in characters, for ``table``; the terminal's by default.
    """
    has_errors = any(name.partition("@")[0] in ERROR_METRICS for name in found)
    unit = "metrics in percent, errors in the unit of the label" if has_errors else "in percent"
    columns = (
        Column("Metric", itemgetter(0), is_number=False),
        Column("Value", lambda score: score_text(*score)),
    )
    tables = [Table(f"Scores, {unit}", columns, list(found.items()), found.notes)]
    for name, details in found.details.items():
        tables += details_tables(name, details)
    return write(format, tables, _records(found), width, document=_document(found))


def details_tables(name: str, details: Details) -> list[Table]:
    """The tables of one model on one set of rows."""
    if isinstance(details, ErrorDetails):
        return [error_table(f"Errors on {name} ({details.num_rows:,} rows); a residual is prediction minus label",
                            {"model": details})]  # fmt: skip
    is_matrix = len(details.names) <= MAX_MATRIX_CLASSES
    title = "labels in rows, predictions in columns" if is_matrix else "most confused pairs"
    classes = class_table(f"Classes on {name} ({details.num_rows:,} rows), in percent", {"model": details})
    if details.confusion is None:
        return [classes]
    return [classes, confusion_table(f"Confusion on {name}: {title}", details)]


def _errors_of(details: ErrorDetails) -> dict[str, float]:
    quantiles = {
        f"Residual, {100 * level:g}% quantile" if level != 0.5 else "Residual, median": value
        for level, value in details.residual_quantiles.items()
    }
    return {
        "Mean squared error": details.mean_squared_error,
        "Mean absolute error": details.mean_absolute_error,
        **quantiles,
    }


def _error_text(value: float) -> str:
    # The mean of errors that cancel out may be a negative zero.
    return f"-{number_text(-value)}" if value < 0 else number_text(abs(value))


def _document(found: Evaluation) -> Row:
    sets = {name: _document_of(details) for name, details in found.details.items()}
    return {"metrics": dict(found), "sets": sets, "notes": list(found.notes)}


def _document_of(details: Details) -> Row:
    if isinstance(details, ErrorDetails):
        return {
            "rows": details.num_rows,
            "mean_squared_error": details.mean_squared_error,
            "mean_absolute_error": details.mean_absolute_error,
            "residual_quantiles": {f"{level:g}": value for level, value in details.residual_quantiles.items()},
        }
    return {
        "rows": details.num_rows,
        "classes": [
            {"class": one.name, "precision": one.precision, "recall": one.recall, "f1": one.f1, "support": one.support}
            for one in details.scores
        ],
        # By label, then by prediction, both in the order of the classes.
        "confusion": None if details.confusion is None else details.confusion.tolist(),
    }


def _records(found: Evaluation) -> list[Row]:
    """One number a row, so that CSV has the same columns for every task; without pairs that were never confused."""
    records = [_record("", name, value) for name, value in found.items()]
    for rows, details in found.details.items():
        if isinstance(details, ErrorDetails):
            records.append(_record(rows, "mean_squared_error", details.mean_squared_error))
            records.append(_record(rows, "mean_absolute_error", details.mean_absolute_error))
            records += [_record(rows, f"residual_quantile_{q:g}", v) for q, v in details.residual_quantiles.items()]
            continue
        for one in details.scores:
            records += [_record(rows, name, getattr(one, name), one.name) for name in (*_MEASURES, "support")]
        if details.confusion is not None:
            for label, counts in zip(details.names, details.confusion.tolist(), strict=True):
                named = zip(details.names, counts, strict=True)
                records += [_record(rows, "confusion", count, label, other) for other, count in named if count]
    return records


def _record(rows: str, name: str, value: float, label: str = "", prediction: str = "") -> Row:
    return {"rows": rows, "name": name, "label": label, "prediction": prediction, "value": value}
