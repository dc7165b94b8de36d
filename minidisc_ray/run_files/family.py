"""The index of a nested family: the sizes that can be cut from a sandwich's weights without training.

``family/`` in a run directory holds the model of the largest size, and ``family.json``, which lists all sizes. Only
MiniDisc trains a family.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from minidisc_ray.configs.base import Config, UserError
from minidisc_ray.files.places import place_of
from minidisc_ray.files.reading import read_regular

FAMILY = "family"
INDEX = "family.json"


_Count = Annotated[int, Field(ge=0, lt=2**40)]
_Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_@ -]{1,80}$")]
_Metric = Annotated[float, Field(ge=-1, le=1)]


class FamilySize(Config):
    """One size: heads and neurons kept in each layer, parameters, and metrics on the selection rows."""

    scale_percent: int = Field(ge=1, le=100)
    metrics: dict[_Name, _Metric] = Field(min_length=1, description="On the selection rows, of the kept state.")
    heads: tuple[_Count, ...]
    neurons: tuple[_Count, ...]
    encoder_parameters: _Count
    total_parameters: _Count


class FamilyIndex(Config):
    """Every size of a family, largest first."""

    schema_version: Literal[1] = 1
    num_rows: int = Field(ge=1, description="Selection rows that the sizes were scored on.")
    sizes: tuple[FamilySize, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _is_sorted(self) -> "FamilyIndex":
        scales = [size.scale_percent for size in self.sizes]
        if scales != sorted(set(scales), reverse=True):
            raise ValueError(f"its scales are {scales}; give each once, largest first")
        return self


def read_index(folder: Path) -> FamilyIndex:
    """Read the index of a family's folder.

    Raises:
        UserError: if it is missing or damaged.
    """
    try:
        return FamilyIndex.model_validate_json(read_regular(folder / INDEX))
    except (OSError, ValidationError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{place_of(folder / INDEX)}: cannot be read as a family's index ({reason})") from error
