"""The components of a distillation, each one choice made of one or several columns of the table."""

from collections.abc import Mapping
from typing import Final

import pandas as pd

# Distiller's four (section 3), the models, and what our own schedules add. An augmentation is stacked steps, mixup
# one of them (algorithm 1).
COMPONENT_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "intermediate loss": ("intermediate_loss", "alpha"),
    "layer mapping": ("intermediate_strategy",),
    "prediction loss": ("prediction_loss",),
    "augmentation": ("augmentation", "augmentation_share", "augmentation_repeats", "mixup"),
    "student": ("student", "scale_percent"),
    "teacher": ("teacher",),
    "schedule": ("schedule", "num_assistants"),
    "objective": ("objective",),
    "training": ("learning_rate", "batch_size", "num_epochs"),
}
DISTILLER_COMPONENTS: Final = ("intermediate loss", "layer mapping", "prediction loss", "augmentation")


def component_levels(frame: pd.DataFrame, component: str) -> pd.Series:
    """Each row's choice as a whole number from 0, in the order of the columns' values; missing cells are a value."""
    columns = list(COMPONENT_COLUMNS[component])
    return frame.groupby(columns, dropna=False, sort=True).ngroup()


def varying_components(frame: pd.DataFrame) -> list[str]:
    """The components with more than one choice in these rows."""
    return [name for name in COMPONENT_COLUMNS if component_levels(frame, name).nunique() > 1]
