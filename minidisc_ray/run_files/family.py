"""The index of a nested family: what sizes a sandwich's kept state holds, beside the weights that hold them all.

``family/`` in a run directory is a model's folder of the largest size; ``family.json`` in it lists the sizes that can
be cut from it without training. Only MiniDisc trains one.
"""

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from minidisc_ray.configs.base import Config, UserError
from minidisc_ray.files.mirroring import place_of
from minidisc_ray.files.reading import read_regular

FAMILY = "family"
INDEX = "family.json"


class FamilySize(Config):
    """One size: what it keeps of each layer, and how it did on the selection rows."""

    scale_percent: int = Field(ge=1, le=100)
    metrics: dict[str, float] = Field(description="On the selection rows, of the kept state.")
    heads: tuple[int, ...]
    neurons: tuple[int, ...]
    encoder_parameters: int
    total_parameters: int


class FamilyIndex(Config):
    """Every size of a family, largest first."""

    schema_version: Literal[1] = 1
    num_rows: int = Field(ge=1, description="Selection rows that the sizes were scored on.")
    sizes: tuple[FamilySize, ...] = Field(min_length=1)


def read_index(folder: Path) -> FamilyIndex:
    """The index of a family's folder.

    Raises:
        UserError: if it cannot be read.
    """
    try:
        return FamilyIndex.model_validate_json(read_regular(folder / INDEX))
    except (OSError, ValidationError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{place_of(folder / INDEX)}: cannot be read as a family's index ({reason})") from error
