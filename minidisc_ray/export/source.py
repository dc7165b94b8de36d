"""What is exported: a model, its tokenizer, and the rows that its copies are checked and calibrated on."""

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
from minidisc_ray.models.loading import check_classes, load_tokenizer, position_limit
from minidisc_ray.run_files.result import load_result

CALIBRATION_ROWS = 256


@dataclass(frozen=True, eq=False)
class ExportSource:
    """A model with rows.

    Attributes:
        folder: of the model.
        model: in float32 and eval mode.
        tokenizer: its own.
        task: what it was trained for.
        validation: every row that a copy is checked on, by validation set.
        calibration: training rows that an int8 copy may be calibrated on.
        max_length: tokens that the model takes of a row.
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
        """Validation rows, of all sets together."""
        return sum(len(rows) for rows in self.validation.values())

    @property
    def has_token_types(self) -> bool:
        """Whether the model reads the type of each token."""
        return self.calibration.token_types is not None and num_token_types(self.model.config) > 1

    @property
    def pad_token_id(self) -> int:
        """What fills short rows."""
        return int(self.tokenizer.pad_token_id)


def load_source(folder: Path, recipe: RunConfig | None) -> ExportSource:
    """A finished run's student, or a model's folder, with the rows of its recipe.

    Args:
        folder: of the run or the model.
        recipe: names the rows; by default a run's own.

    Raises:
        UserError: if there is no finished run and no model, rows cannot be read or are not those that the run was
            scored on, or the model's classes are not the rows'.
    """
    model_folder, config, digest = _model_and_recipe(folder, recipe)
    model, splits = load_model(model_folder), load_splits(config)
    if digest is not None and splits.digest != digest:
        raise UserError(
            f"{place_of(folder)}: the rows that its config.yaml names have changed since the run, so a copy cannot be "
            "checked on those that it was scored on; name a recipe of today's rows with --recipe"
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
    """The model's folder, the recipe, and the digest that its rows must have, where the run says one."""
    if (folder / "result.json").is_file():
        result = load_result(folder)
        if recipe is not None:
            return folder / "student", recipe, None
        return folder / "student", load_recipe(folder / "config.yaml", ()), result.data_digest
    if (folder / "identity.json").is_file():
        raise UserError(
            f"{place_of(folder)}: this run is not finished (no result.json); run its recipe again, so that it goes on"
        )
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
