"""The base class of the objectives' configs, and field types that several of them share."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from minidisc_ray.configs.base import Config


def _zero_or_not_tiny(value: float) -> float:
    if 0 < value < 1e-6:
        raise ValueError(f"{value:g} is too small to matter; use 0, or a value from 1e-6 to 1e6")
    return value


Weight = Annotated[float, Field(ge=0.0, le=1e6), AfterValidator(_zero_or_not_tiny)]
Temperature = Annotated[
    float, Field(ge=0.01, le=1e3, description="Divides logits; the loss is multiplied by its square.")
]
OneToOne = Literal["last", "uniform", "skip"]
ExtraAttention = Annotated[
    Literal["auto", "always", "never"],
    Field(description="Add a self-attention module as last layer; auto: to a model whose heads may be pruned."),
]


# Names in the papers' tables that are not the kind in capitals.
_LABELS = {"labels": "FT", "tinybert": "TinyBERT", "minilm": "MiniLM"}


class ObjectiveBase(Config):
    """The base class of the objectives' configs."""

    @property
    def label(self) -> str:
        """The name in tables."""
        kind: str = self.kind  # type: ignore[attr-defined]
        return _LABELS.get(kind, kind.upper())

    def weights(self) -> dict[str, float]:
        """The weights of its terms, by key."""
        return {key: value for key, value in self if key.endswith("_weight")}

    @model_validator(mode="after")
    def _some_weight_is_positive(self) -> "ObjectiveBase":
        weights = self.weights()
        if weights and not any(weights.values()):
            raise ValueError(f"{_listed(list(weights))} 0; at least one must be positive")
        return self


def _listed(names: list[str]) -> str:
    both = "both" if len(names) == 2 else "all"
    return f"{', '.join(names[:-1])} and {names[-1]} are {both}"
