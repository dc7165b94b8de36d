"""Objectives: what the student matches of its teacher.

A weight multiplies a term that is a mean over rows, or over tokens that are not padding. Layers count from 1;
``core/layer_map.py`` defines the mappings.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from minidisc_ray.configs.base import Config
from minidisc_ray.configs.objective_base import ExtraAttention, ObjectiveBase, OneToOne, Temperature, Weight


class LabelsConfig(ObjectiveBase):
    """FT: labels alone, without a teacher."""

    kind: Literal["labels"] = "labels"


class LTSDConfig(ObjectiveBase):
    """L_TSD: soft cross-entropy on logits and mean squared error of the last hidden states (MiniDisc, equation 2)."""

    keys_added: ClassVar[frozenset[str]] = frozenset({"hidden_layers"})

    kind: Literal["ltsd"] = "ltsd"
    logits_weight: Weight = 1.0
    hidden_weight: Weight = 1.0
    hidden_layers: Literal["last", "every_second"] = Field(
        "last", description="Hidden states matched: the last layer's; or the embeddings' and every second layer's."
    )

    @model_validator(mode="after")
    def _layers_are_matched(self) -> "LTSDConfig":
        if self.hidden_layers != "last" and self.hidden_weight == 0:
            raise ValueError(f"hidden_layers is {self.hidden_layers}, but hidden_weight is 0; leave one of them out")
        return self

    @property
    def label(self) -> str:
        """The name in tables, with the layers unless they are equation 2's."""
        return "LTSD" if self.hidden_layers == "last" else "LTSD (every second layer)"


class LTADConfig(ObjectiveBase):
    """L_TAD: KL divergence of query, key and value relations of the last layer (MiniDisc, equation 2)."""

    kind: Literal["ltad"] = "ltad"
    num_relation_heads: int = Field(32, ge=1, le=4096)
    extra_attention: ExtraAttention = "auto"


class KDConfig(ObjectiveBase):
    """KD: the teacher's predictions and the labels."""

    kind: Literal["kd"] = "kd"
    temperature: Temperature = 1.0
    logits_weight: Weight = 1.0
    labels_weight: Weight = 1.0


class PKDConfig(ObjectiveBase):
    """Patient KD: KD and the direction of hidden states of selected layers."""

    kind: Literal["pkd"] = "pkd"
    temperature: Temperature = 1.0
    mapping: OneToOne = "skip"
    tokens: Literal["first", "all"] = Field(
        "first", description="Hidden states matched: of each row's first token, or of all tokens."
    )
    logits_weight: Weight = 1.0
    labels_weight: Weight = 1.0
    hidden_weight: Weight = 1.0

    @property
    def label(self) -> str:
        """The name in tables, with mapping and tokens unless they are the defaults."""
        return "PKD" if (self.mapping, self.tokens) == ("skip", "first") else f"PKD ({self.mapping}, {self.tokens})"


class CKDConfig(ObjectiveBase):
    """Contextual KD: relations between tokens, relations between layers, and predictions."""

    kind: Literal["ckd"] = "ckd"
    temperature: Temperature = 1.0
    mapping: OneToOne = "uniform"
    window: int = Field(4, ge=1, le=64, description="Largest distance in tokens between which angles are taken.")
    logits_weight: Weight = 1.0
    words_weight: Weight = 1.0
    layers_weight: Weight = 1.0


class TinyBERTConfig(ObjectiveBase):
    """TinyBERT: first embeddings, attention scores and hidden states, then predictions."""

    kind: Literal["tinybert"] = "tinybert"
    temperature: Temperature = 1.0
    mapping: OneToOne = "uniform"
    feature_fraction: float = Field(
        0.5, ge=0.0, le=1.0, description="Share of steps on features, before those on predictions."
    )
    embeddings_weight: Weight = 1.0
    attention_weight: Weight = 1.0
    hidden_weight: Weight = 1.0
    logits_weight: Weight = 1.0


class MiniLMConfig(ObjectiveBase):
    """MiniLM: deep relation alignment with as many relation heads as the teacher has heads."""

    kind: Literal["minilm"] = "minilm"
    extra_attention: ExtraAttention = "auto"


class ODConfig(ObjectiveBase):
    """OD: output distribution transfer (task-agnostic comparison, equation 5)."""

    kind: Literal["od"] = "od"
    temperature: Temperature = 1.0


class HSConfig(ObjectiveBase):
    """HS: hidden state transfer (task-agnostic comparison, equation 6)."""

    kind: Literal["hs"] = "hs"
    mapping: Literal["single", "last", "uniform", "uniform_consecutive", "uniform_last"] = "uniform_last"
    measure: Literal["mse", "cosine"] = "mse"
    linear_map: bool = Field(
        True, description="Learn equation 6's W; without it, teacher and student must be equally wide."
    )

    @property
    def label(self) -> str:
        """The name in tables, with the mapping, and the measure unless it is equation 6's."""
        mapping = {"uniform_consecutive": "uniform-consecutive", "uniform_last": "uniform + last"}.get(self.mapping)
        return f"HS ({mapping or self.mapping}{', cosine' if self.measure == 'cosine' else ''})"


class MiniLMv2Config(ObjectiveBase):
    """MiniLMv2 (task-agnostic comparison, equations 7 to 9)."""

    kind: Literal["minilmv2"] = "minilmv2"
    num_relation_heads: int = Field(48, ge=1, le=4096)
    teacher_layer: int = Field(-1, description="From 1 up, or from the last down: -1 is the last, -2 the one before.")
    extra_attention: ExtraAttention = "auto"

    @property
    def label(self) -> str:
        """The name in tables, with the teacher's layer."""
        return f"MiniLMv2 (layer {self.teacher_layer})"


class DirectMiniLMConfig(ObjectiveBase):
    """DirectMiniLM: queries, keys and values themselves, linearly mapped (task-agnostic comparison, equation 10)."""

    kind: Literal["directminilm"] = "directminilm"
    num_relation_heads: int | None = Field(
        None, ge=1, le=4096, description="By default as many as the teacher has heads."
    )
    teacher_layer: int = Field(-1, description="From 1 up, or from the last down: -1 is the last, -2 the one before.")
    extra_attention: ExtraAttention = "auto"

    @property
    def label(self) -> str:
        """The name in tables, with the teacher's layer."""
        return f"DirectMiniLM (layer {self.teacher_layer})"


_MEASURES = {"mse": "MSE", "l2": "L2", "pkd": "PKD", "ce": "CE"}


class MeasureConfig(Config):
    """A distance between two layers' hidden states (Distiller, appendix A.3)."""

    kind: Literal["mse", "l2", "cosine", "pkd", "ce"] = "mse"


class MIAlphaConfig(Config):
    """MI-alpha: a lower bound of mutual information, which training raises (Distiller, equation 6)."""

    kind: Literal["mi_alpha"] = "mi_alpha"
    alpha: float = Field(0.9, ge=0.0, le=1.0)
    critic: Literal["transformer", "mlp"] = "transformer"


IntermediateConfig = Annotated[MeasureConfig | MIAlphaConfig, Field(discriminator="kind")]


def _measure_from_name(value: Any) -> Any:
    """Read ``intermediate: mse`` as ``{kind: mse}``."""
    return {"kind": value} if isinstance(value, str) else value


class DistillerConfig(ObjectiveBase):
    """Distiller's pipeline: intermediate layers, predictions and labels (Distiller, equation 1)."""

    kind: Literal["distiller"] = "distiller"
    intermediate: Annotated[IntermediateConfig, BeforeValidator(_measure_from_name)] = MIAlphaConfig()
    mapping: Literal["skip", "last", "emd"] = "skip"
    prediction: Literal["ce", "mse"] = "ce"
    beta1: Weight = Field(1.0, description="Weight of the teacher's predictions on the task's own rows.")
    beta2: Weight = Field(0.0, description="Weight of the teacher's predictions on augmented rows.")
    gamma1: Weight = Field(0.0, description="Weight of labels on the task's own rows.")
    gamma2: Weight = Field(0.0, description="Weight of labels on augmented rows.")
    intermediate_weight: Weight = Field(1.0, description="Weight of intermediate layers; 1 in equation 1.")

    @property
    def label(self) -> str:
        """The name in tables, with the three components."""
        inter = self.intermediate
        name = (
            f"MI-{inter.alpha:g} {inter.critic}"
            if isinstance(inter, MIAlphaConfig)
            else _MEASURES.get(inter.kind, inter.kind)
        )
        return f"Distiller ({name}, {self.mapping}, {self.prediction})"

    def weights(self) -> dict[str, float]:
        """The weights of terms on the task's own rows, by key."""
        return {key: getattr(self, key) for key in ("intermediate_weight", "beta1", "gamma1")}


class PartConfig(Config):
    """One objective of a sum."""

    weight: float = Field(1.0, ge=1e-6, le=1e6)
    objective: "ObjectiveConfig"


class SumConfig(ObjectiveBase):
    """A weighted sum of objectives."""

    kind: Literal["sum"] = "sum"
    parts: tuple[PartConfig, ...] = Field(min_length=1, max_length=16)

    @property
    def label(self) -> str:
        """The parts, with weights that are not 1."""
        return " + ".join(
            (f"{part.weight:g} " if part.weight != 1 else "") + part.objective.label for part in self.parts
        )


class PhaseConfig(Config):
    """One objective of a sequence."""

    share: float = Field(1.0, ge=1e-6, le=1e6, description="Share of the steps, relative to the other phases'.")
    objective: "ObjectiveConfig"


class SequenceConfig(ObjectiveBase):
    """One objective after another in one training, for instance HS, then OD."""

    kind: Literal["sequence"] = "sequence"
    phases: tuple[PhaseConfig, ...] = Field(min_length=1, max_length=16)

    @property
    def label(self) -> str:
        """The phases in order, with their shares where these differ."""
        is_even = len({phase.share for phase in self.phases}) == 1
        return ", then ".join(
            phase.objective.label if is_even else f"{phase.share:g} {phase.objective.label}" for phase in self.phases
        )


ObjectiveConfig = Annotated[
    LabelsConfig
    | LTSDConfig
    | LTADConfig
    | KDConfig
    | PKDConfig
    | CKDConfig
    | TinyBERTConfig
    | MiniLMConfig
    | ODConfig
    | HSConfig
    | MiniLMv2Config
    | DirectMiniLMConfig
    | DistillerConfig
    | SumConfig
    | SequenceConfig,
    Field(discriminator="kind"),
]
PartConfig.model_rebuild()
PhaseConfig.model_rebuild()
