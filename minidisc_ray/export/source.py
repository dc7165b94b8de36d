"""The input of an export: a model, its tokenizer, and the rows to check and calibrate its copies on."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.loader import load_recipe
from minidisc_ray.configs.model import PretrainedTeacherConfig
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.core.task import Task
from minidisc_ray.data import EncodedRows, Rows, Splits, encode, load_splits
from minidisc_ray.files.places import place_of
from minidisc_ray.models.checkpoint import load_model
from minidisc_ray.models.families import num_token_types
from minidisc_ray.models.label_checks import check_classes
from minidisc_ray.models.loading import load_tokenizer, position_limit
from minidisc_ray.run_files.result import load_result
from minidisc_ray.run_files.unfinished import unfinished_error

CALIBRATION_ROWS = 256


@dataclass(frozen=True, eq=False)
class ExportSource:
    """A model with the rows to check and calibrate its copies on.

    Attributes:
        folder: of the model.
        model: in float32 and eval mode.
        tokenizer: the model's.
        task: of the model.
        validation: all rows of each validation set; copies are checked on them.
        calibration: training rows to calibrate a static int8 copy on.
        max_length: tokens of a row that the model reads.
    """

    folder: Path
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    task: Task
    validation: Mapping[str, EncodedRows]
    calibration: EncodedRows
    max_length: int

    @property
    def num_rows(self) -> int:
        """The number of validation rows in all sets."""
        return sum(len(rows) for rows in self.validation.values())

    @property
    def has_token_types(self) -> bool:
        """Whether the model reads the type of each token."""
        return self.calibration.token_types is not None and num_token_types(self.model.config) > 1

    @property
    def pad_token_id(self) -> int:
        """The token id that pads short rows."""
        return int(self.tokenizer.pad_token_id)


def load_source(folder: Path, recipe: RunConfig | None) -> ExportSource:
    """Load a finished run's student, or a model, with the rows of its recipe.

    Args:
        folder: of the run or of the model.
        recipe: names the rows; by default a run's own.

    Raises:
        UserError: if the folder has neither a finished run nor a model, the rows cannot be read or have changed since
            the run, or their classes are not the model's.
    """
    model_folder, config, digest = _model_and_recipe(folder, recipe)
    model, splits = load_model(model_folder), load_splits(config)
    if digest is not None and splits.digest != digest:
        raise UserError(
            f"{place_of(folder)}: the rows that its config.yaml names have changed since the run, so a copy cannot be "
            "checked on them; name a recipe with the present rows with --recipe"
        )
    check_classes(model.config, splits.task, str(model_folder))
    tokenizer = load_tokenizer(PretrainedTeacherConfig(path=str(model_folder)))
    max_length = min(config.data.max_length, position_limit(model.config))
    return ExportSource(
        folder=model_folder,
        model=model.eval(),
        tokenizer=tokenizer,
        task=splits.task,
        validation={name: encode(rows, tokenizer, max_length, None) for name, rows in splits.validation.items()},
        calibration=encode(_calibration_rows(splits), tokenizer, max_length, None),
        max_length=max_length,
    )


def _model_and_recipe(folder: Path, recipe: RunConfig | None) -> tuple[Path, RunConfig, str | None]:
    """The model's folder, the recipe, and the digest of the run's own rows; None for another recipe."""
    if (folder / "result.json").is_file():
        result = load_result(folder)
        if recipe is not None:
            return folder / "student", recipe, None
        return folder / "student", load_recipe(folder / "config.yaml", ()), result.data_digest
    if (unfinished := unfinished_error(folder)) is not None:
        raise unfinished
    if not (folder / "config.json").is_file():
        raise UserError(
            f"{place_of(folder)}: no run and no model there; give the folder of a finished run, or a model's"
        )
    if recipe is None:
        raise UserError(
            f"{place_of(folder)}: a model's folder does not say which rows to check a copy on; name a recipe with "
            "--recipe, or give the run's folder"
        )
    return folder, recipe, None


def _calibration_rows(splits: Splits) -> Rows:
    rows = splits.train
    chosen = np.random.default_rng(0).permutation(len(rows))[:CALIBRATION_ROWS]
    return rows.take(np.sort(chosen))
