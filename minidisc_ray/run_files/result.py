"""The versioned schema of ``result.json``: what one run found, and what it cost."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, ValidationError, model_validator

from minidisc_ray.configs.base import Config, UserError
from minidisc_ray.core.task import ERROR_METRICS
from minidisc_ray.files.digests import open_document, sealed_document
from minidisc_ray.files.places import place_of
from minidisc_ray.files.reading import read_regular
from minidisc_ray.files.storage import Storage
from minidisc_ray.run_files.decision import GapDecision
from minidisc_ray.run_files.result_costs import CostRecord
from minidisc_ray.run_files.result_flaws import first_flaw, impossible_number
from minidisc_ray.run_files.unfinished import unfinished_error
from minidisc_ray.training.race_check import RaceCheck

SCHEMA_VERSION: Final = 1
_RESULT = "result.json"
# The result of ten thousand trials has a few MiB; a larger file would delay listings by half a minute.
_MAX_BYTES = 16 * 2**20
Method = Literal["conventional", "matched", "sparse_teacher", "assistant", "law", "minidisc", "maxidisc", "auto"]
_WITH_ASSISTANT = ("assistant", "law", "minidisc", "maxidisc")
# Rounding may give a correlation slightly above 1.
ROUNDING = 1e-6


class ModelRecord(Config):
    """A model at one scale: sizes (always both), multiply-adds and metrics."""

    scale_percent: int
    encoder_parameters: int
    total_parameters: int
    macs_at_128: int = Field(description="Multiply-adds of one row of 128 tokens: what the papers print as FLOPs.")
    kept_share: dict[str, float] = Field(
        description="Share of the teacher's heads and of its neurons really kept; empty for a model not cut from it."
    )
    heads: tuple[int, ...] = Field(description="Heads kept in each layer.")
    neurons: tuple[int, ...]
    source_layers: tuple[int, ...] = Field(
        (), description="The teacher's layers, counted from 0, that a model of fewer layers is made of."
    )
    selection_metrics: dict[str, float] = Field(default_factory=dict)
    validation_metrics: dict[str, float] = Field(
        default_factory=dict, description="'f1', or 'accuracy@validation_mismatched' for a further validation set."
    )

    @model_validator(mode="after")
    def _has_layers(self) -> "ModelRecord":
        if not self.heads or len(self.heads) != len(self.neurons):
            raise ValueError(
                f"heads of {len(self.heads)} layers and neurons of {len(self.neurons)}; both need one number a layer"
            )
        return self


class CandidateRecord(Config):
    """An assistant candidate, or in a MaxiDisc sweep a trial's assistant."""

    scale_percent: int
    metric: float = Field(description="On the selection split; the one that choices use, usually the primary metric.")
    lambda_tradeoff: float
    negative_derivative: float
    trained: bool = Field(
        description="False if no step up to the kept epoch drew it: it was evaluated from the shared weights alone."
    )
    heads: tuple[int, ...]
    neurons: tuple[int, ...]
    kept_share: dict[str, float]


class TrialRecord(Config):
    """One trial of a sweep."""

    name: str
    assistant_percent: int
    status: Literal["finished", "failed", "ended early"]
    reason: str | None = None
    assistant_selection: float | None = None
    student_selection: float | None = None
    student_validation: float | None = None
    device_hours: float = 0.0
    training_flops: float = 0.0
    evaluation_flops: float | None = Field(None, ge=0.0)


class EarlyEnd(Config):
    """What was saved and risked by ending trials after their probes."""

    num_trials: int
    num_ended: int
    best_ended_probe: float = Field(description="The best selection score among students of probes that ended.")
    worst_kept_probe: float = Field(description="The worst one among students of probes whose trials went on.")
    standard_error: float | None = Field(description="Of best_ended_probe, from the selection rows; accuracy only.")
    saved_share: float = Field(description="Of the FLOPs that all trials would take in full, in closed form.")


class SplitRecord(Config):
    """Rows of a split, and how many of them were cut to the length limit."""

    rows: int
    truncated_rows: int


class RunResult(Config):
    """One run's whole result.

    Example:
        >>> result = run(recipe)
        >>> result.method, result.primary_metric, [candidate.scale_percent for candidate in result.candidates]
        ('minidisc', 'accuracy', [60, 30])
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str
    method: Method
    label: str = Field("", description="What tables call the method, its variant included.")
    objective: str = Field("LTSD", description="Label of the distillation objective.")
    task: str
    primary_metric: str
    selection_metric: str | None = Field(None, description="The metric that choices use; None: the primary metric.")
    seed: int
    protocol: Literal["held_out", "paper"]
    selection_split: str = Field(description="The rows that selection used, in words.")
    data_digest: str
    setting_digest: str = Field(description="Of all but method and seed: runs with the same one are comparable.")
    step_digest: str = Field("", description="Of all but objective and seed: costs of steps are comparable.")
    method_digest: str = Field(description="Of all but the seed: runs with the same one are averaged.")
    majority_metrics: dict[str, float] = Field(description="Validation metrics of always answering the majority.")
    majority_of: Literal["train", "scored rows"] = Field(
        "train", description="Rows whose commonest class that is; older results lack this key and have train's."
    )
    teacher: ModelRecord
    teacher_source: str
    teacher_may_have_seen_selection: bool
    teacher_warning: str | None = Field(None, description="Why little can be learned from the teacher.")
    assistants: tuple[ModelRecord, ...]
    candidates: tuple[CandidateRecord, ...] = ()
    choice_by_lambda: dict[str, int] = Field(
        default_factory=dict, description="By lambda, for instance '0.2': the scale chosen at the epoch kept."
    )
    epoch_by_lambda: dict[str, int] = Field(
        default_factory=dict,
        description="By lambda: the epoch kept. Empty in older results, where every lambda chooses at the epoch that "
        "the run's own one kept.",
    )
    selection_rule: str | None = None
    race: tuple[RaceCheck, ...] = Field((), description="Evaluations of a race, the last one with its choice.")
    decision: GapDecision | None = Field(None, description="Of method auto: whether it used an assistant, and why.")
    label_names: tuple[str, ...] = Field(
        (), description="Of the classes, in the order of the outputs; empty for a regression and in older results."
    )
    student: ModelRecord
    student_trial: str = Field("main", description="The trial that made it; older results of sweeps lack this key.")
    student_source: str | None = Field(
        None, description="The checkpoint that the student started from; None where it was cut from its teacher."
    )
    student_step_seconds: float | None = Field(
        None, ge=0, lt=1e9, description="Of the median step of the student's last distillation."
    )
    student_step_memory_bytes: int | None = Field(
        None, ge=0, lt=2**60, description="Peak memory that the largest of those steps added."
    )
    trials: tuple[TrialRecord, ...] = ()
    early_end: EarlyEnd | None = None
    cost: CostRecord
    splits: dict[str, SplitRecord]
    closed_form_training_flops: float = Field(description="For the recipe's epochs, and what a race trained.")
    closed_form_evaluation_flops: float | None = Field(None, ge=0.0)
    versions: dict[str, str]
    threads: int
    devices: str
    started_at: str = Field(description="Of the first attempt; in older results of the last.")
    finished_at: str

    @model_validator(mode="after")
    def _is_consistent(self) -> "RunResult":
        for whose, model in (("teacher", self.teacher), ("student", self.student)):
            if self.primary_metric not in model.validation_metrics:
                raise ValueError(f"the {whose}'s validation metrics lack {self.primary_metric}, the primary one")
        for whose, value in self._all_metrics():
            if abs(value) > 1 + ROUNDING:
                raise ValueError(f"{whose} has a metric of {value:g}, and metrics lie between -1 and 1")
        if self.method in _WITH_ASSISTANT and not self.assistants:
            raise ValueError(f"there is no assistant, but {self.method} needs one")
        if self.method in ("minidisc", "maxidisc") and not self.candidates:
            raise ValueError(f"there are no candidates, but {self.method} chooses among them")
        if self.method == "maxidisc":
            self._check_sweep()
        if self.method == "auto" and self.decision is None:
            raise ValueError("there is no decision, but auto makes one")
        return self

    def _all_metrics(self) -> Iterator[tuple[str, float]]:
        """Every metric, with the name of its model for messages."""
        models = [("the teacher", self.teacher), *(("an assistant", one) for one in self.assistants)]
        for whose, model in (*models, ("the student", self.student)):
            for metrics in (model.selection_metrics, model.validation_metrics):
                yield from ((whose, value) for value in bounded(metrics))
        yield from (("the majority class", value) for value in bounded(self.majority_metrics))
        for candidate in self.candidates:
            yield "a candidate", candidate.metric
        for trial in self.trials:
            for found in (trial.assistant_selection, trial.student_selection, trial.student_validation):
                yield f"trial {trial.name}", found or 0.0

    def _check_sweep(self) -> None:
        finished = {trial.assistant_percent for trial in self.trials if trial.status == "finished"}
        kept = self.assistants[0].scale_percent
        if kept not in finished:
            raise ValueError(f"the assistant's scale is {kept}, but no finished trial has that scale")
        if missing := sorted(finished - {candidate.scale_percent for candidate in self.candidates}):
            raise ValueError(f"the trial of the assistant at {missing[0]} percent is no candidate")


def bounded(metrics: Mapping[str, float]) -> Iterator[float]:
    """The metrics that lie between -1 and 1: all but errors."""
    return (value for name, value in metrics.items() if name.partition("@")[0] not in ERROR_METRICS)


def load_result(folder: str | Path) -> RunResult:
    """Read a run directory's result.

    Raises:
        UserError: if there is none, it has another schema version, or it is incomplete or damaged.
    """
    path, place = Path(folder) / _RESULT, place_of(Path(folder) / _RESULT)
    again = "remove it and run the recipe again"
    try:
        raw = json.loads(read_regular(path, _MAX_BYTES).decode("utf-8"))
    except FileNotFoundError as error:
        missing = UserError(f"{place_of(Path(folder))}: no result.json there; give the folder of a finished run")
        raise (unfinished_error(Path(folder)) or missing) from error
    except OSError as error:
        raise UserError(f"{place}: cannot be read as a result ({error})") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{place}: cannot be read as a result ({error}); {again}") from error
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if version is True or version != SCHEMA_VERSION:
        raise UserError(f"{place}: schema version {version}; this release reads version {SCHEMA_VERSION}")
    value, flaw = open_document(raw)
    if (number := impossible_number(value)) is not None:
        raise UserError(f"{place}: not a whole result ({number}); {again}")
    try:
        found = RunResult.model_validate(value)
    except ValidationError as error:
        raise UserError(f"{place}: not a whole result ({first_flaw(error)}); {again}") from error
    if flaw is not None:
        raise UserError(f"{place}: damaged ({flaw}); {again}")
    return found


def write_result(storage: Storage, folder: Path, result: RunResult) -> None:
    """Write a run directory's result atomically, with the digest of its values.

    Raises:
        StorageError: if the storage is away, and not back in time.
    """
    document = sealed_document(json.loads(result.model_dump_json()))
    storage.write_text(folder / _RESULT, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
