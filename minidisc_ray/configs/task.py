"""What is predicted from which columns, and how it is scored."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from minidisc_ray.configs.base import Config

Metric = Literal["accuracy", "f1", "matthews", "spearman", "pearson"]
CLASSIFICATION_METRICS = ("accuracy", "f1", "matthews")
GlueTask = Literal["cola", "sst2", "mrpc", "stsb", "qqp", "mnli", "qnli", "rte"]


class GlueTaskConfig(Config):
    """A GLUE task, with its own columns, label names, metrics and validation sets."""

    kind: Literal["glue"] = "glue"
    name: GlueTask


class ClassificationTaskConfig(Config):
    """A user's own classification of one text or a pair."""

    kind: Literal["classification"] = "classification"
    text: Annotated[tuple[str, ...], Field(min_length=1, max_length=2)] = ("text",)
    label: str = "label"
    label_names: tuple[str, ...] | None = Field(None, description="Names in the order of the model's outputs.")
    metric: Literal["accuracy", "f1", "matthews"] = "accuracy"

    @model_validator(mode="after")
    def _names_are_distinct(self) -> "ClassificationTaskConfig":
        names = self.label_names
        if names is not None and (len(names) < 2 or len(set(names)) != len(names)):
            raise ValueError(f"label_names is {list(names)}; give at least two distinct names")
        return self


class RegressionTaskConfig(Config):
    """A user's own regression from one text or a pair to a number."""

    kind: Literal["regression"] = "regression"
    text: Annotated[tuple[str, ...], Field(min_length=1, max_length=2)] = ("text",)
    label: str = "label"
    metric: Literal["spearman", "pearson"] = "spearman"


class BuiltinTaskConfig(Config):
    """The task that the package generates itself: is a short review good or bad."""

    kind: Literal["builtin"] = "builtin"


TaskConfig = Annotated[
    GlueTaskConfig | ClassificationTaskConfig | RegressionTaskConfig | BuiltinTaskConfig, Field(discriminator="kind")
]
