"""The observations that Distiller's authors published with their code, as a table like our own."""

from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from minidisc_ray.autodistiller.tables.frame import SCHEMA_VERSION, checked_frame, feature_name
from minidisc_ray.autodistiller.tables.tabular import read_tabular
from minidisc_ray.configs.base import UserError, first_line

OBSERVATIONS: Final = "auto_distiller_tabular_data.csv"
FEATURES: Final = "dataset_features_50_concat.csv"
STUDENTS: Final = "student_baseline.csv"
TEACHERS: Final = "teacher_baseline.csv"

_LOSSES: Final = {"mi": "mi_alpha", "cos": "cosine"}
_STEPS: Final = ("contextual", "backtranslation", "random")
# Parameters in millions, tables 3 and 7; ELECTRA base, which they lack, has BERT base's shape.
_PARAMETERS: Final = {
    "BERT_BASE": 110,
    "TinyBERT6": 67,
    "BERT_MEDIUM": 41,
    "BERT_SMALL": 29,
    "TinyBERT4": 14,
    "ELECTRA_SMALL": 14,
    "BERT_MINI": 11,
    "BERT_TINY": 4,
    "ELECTRA_BASE": 110,
    "Roberta-large": 335,
    "ELECTRA-large": 335,
}


def read_published(folder: Path) -> pd.DataFrame:
    """The published observations of eight GLUE tasks, as a checked frame.

    Deviations from the files: scores are shares; the teacher's score is the one by which ``ratio`` was divided, which
    differs from the file of teachers by up to a point on four tasks; ``alpha`` is missing for losses that have none and
    ``augmentation_share`` without augmentation, where the files repeat a default.

    Raises:
        UserError: if a file or a column is missing, or the files do not fit together.
    """
    rows, features, students, teachers = (_read(folder / name) for name in (OBSERVATIONS, FEATURES, STUDENTS, TEACHERS))
    try:
        return _frame(
            rows,
            features.set_index("task"),
            students.set_index(["task", "Model"])["student_score"] / 100,
            teachers.set_index(["task", "model"])["score"] / 100,
        )
    except UserError:
        raise
    except KeyError as error:
        raise UserError(f"{folder}: a file lacks {error}; take the files as they were published") from error
    except (AttributeError, ArithmeticError, TypeError, ValueError) as error:
        raise UserError(
            f"{folder}: the files do not fit together ({first_line(error)}); take them as they were published"
        ) from error


def _frame(rows: pd.DataFrame, features: pd.DataFrame, students: pd.Series, teachers: pd.Series) -> pd.DataFrame:
    pairs = pd.MultiIndex.from_frame(rows[["task", "Teacher"]])
    implied = (rows["score"] / rows["ratio"]).where(rows["ratio"] != 0)
    teacher = implied.groupby([rows["task"], rows["Teacher"]]).transform("median")
    teacher = teacher.fillna(pd.Series(teachers.reindex(pairs).to_numpy(), index=rows.index))
    alone = pd.Series(students.reindex(pd.MultiIndex.from_frame(rows[["task", "Model"]])).to_numpy(), index=rows.index)
    kinds = rows[list(_STEPS)].apply(_augmentation, axis=1)
    loss = rows["intermediate_loss_type"].replace(_LOSSES)
    columns = {
        "task": rows["task"].str.replace("-", ""),
        "student": rows["Model"],
        "teacher": rows["Teacher"],
        "intermediate_loss": loss,
        "intermediate_strategy": rows["intermediate_strategy"],
        "prediction_loss": rows["kd_loss_type"],
        "augmentation": kinds,
        "alpha": rows["alpha"].where(loss == "mi_alpha"),
        "augmentation_repeats": rows["repeated_aug"],
        "augmentation_share": rows["aug_p"].where(kinds != "none"),
        "mixup": rows["mixup"],
        "student_parameters": rows["Model"].map(_PARAMETERS) * 1e6,
        "teacher_parameters": rows["Teacher"].map(_PARAMETERS) * 1e6,
        "num_examples": features["#example"].reindex(rows["task"]).to_numpy(),
        "num_labels": features["#label"].reindex(rows["task"]).to_numpy(),
        "baseline_score": rows["baseline_score"] / 100,
        "teacher_score": teacher,
        "score": rows["score"],
        "ratio_to_teacher": rows["ratio"],
        "ratio": ((rows["score"] - alone) / (teacher - alone)).where(teacher > alone),
        "source": "public",
        "schema_version": SCHEMA_VERSION,
    }
    numbered = [name for name in features.columns if name.isdigit()]
    of_task = features[numbered].reindex(rows["task"]).set_axis([feature_name(int(name)) for name in numbered], axis=1)
    frame = pd.concat([pd.DataFrame(columns), of_task.reset_index(drop=True)], axis=1)
    return checked_frame(frame, OBSERVATIONS)


def _augmentation(places: "pd.Series[int]") -> str:
    """The steps in the order of use, which the files give as each step's place; 0 where it is not used."""
    used = sorted((int(place), step) for step, place in places.items() if place)
    return "+".join(str(step) for _, step in used) or "none"


def _read(path: Path) -> pd.DataFrame:
    if not path.exists():
        raise UserError(f"{path}: cannot be read (no such file); give the folder of the published files")
    # One of the files starts with a byte order mark.
    return read_tabular(path, encoding="utf-8-sig").replace([np.inf, -np.inf], np.nan)
