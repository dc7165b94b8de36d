"""``record.json`` of a finished stage, with the model and the tensors beside it.

The record is a sealed document that lists the tensor files; the model's folder has a seal of its own.
"""

import json
import re
import shutil
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from minidisc_ray.configs.base import Config, UserError
from minidisc_ray.core.grid import TEACHER_PERCENT
from minidisc_ray.files.digests import check_seal, entry_flaw, entry_of, open_document, sealed_document
from minidisc_ray.files.storage import Storage
from minidisc_ray.log import logger
from minidisc_ray.run_files.decision import GapDecision
from minidisc_ray.run_files.result import ROUNDING, bounded
from minidisc_ray.run_files.result_flaws import impossible_number
from minidisc_ray.training.race_check import RaceCheck
from minidisc_ray.training.state import EpochRecord

RECORD, MODEL = "record.json", "model"
# A damaged record may name any other file, also outside the folder.
_TENSOR_FILE = re.compile(r"[A-Za-z0-9_-]{1,100}\.safetensors")
_warned: set[tuple[Path, str]] = set()


class StageRecord(Config):
    """One finished stage, of any kind; attributes of other kinds are empty."""

    stage: str
    trial: str = "main"
    scale_percent: int | None = None
    num_epochs: int | None = None
    best_epoch: int | None = None
    training_flops: float = 0.0
    evaluation_flops: float = Field(0.0, description="Of every forward pass that scored something.")
    step_seconds: float | None = Field(None, description="Of the median step.")
    step_memory_bytes: int | None = Field(None, description="Peak memory that the largest step added.")
    history: tuple[EpochRecord, ...] = Field((), description="Every epoch that was trained, the kept one among them.")
    trained_scales: tuple[int, ...] | None = Field(
        None, description="Of a sandwich: scales that were drawn in a step up to the kept epoch."
    )
    warning: str | None = Field(None, description="What is wrong with the stage's model, in a sentence.")
    selection_metrics: dict[int, dict[str, float]] = Field(default_factory=dict, description="By scale percent.")
    validation_metrics: dict[str, float] = Field(default_factory=dict)
    chosen_percent: int | None = None
    chosen_chain: tuple[int, ...] = Field((), description="Every assistant chosen together, largest first.")
    tradeoffs: dict[int, float] = Field(default_factory=dict)
    num_rows: int | None = Field(None, description="Of importance: training rows that it was measured on.")
    agreement: float | None = Field(
        None, description="Of importance on a sample: Jaccard index of the units that its two halves keep."
    )
    race: tuple[RaceCheck, ...] = Field((), description="Of a race: its evaluations, the last one with the choice.")
    decision: GapDecision | None = Field(None, description="Whether an assistant follows, in a run that decides so.")

    @property
    def percent(self) -> int:
        """The scale of the one model that the stage made."""
        assert self.scale_percent is not None, f"{self.stage} leaves no single model"
        return self.scale_percent


def read_record(storage: Storage, folder: Path, verify: bool = True) -> StageRecord | None:
    """Read a stage's record; None if the stage is not finished, or its files are damaged (with a warning).

    Args:
        storage: that the stage is kept in.
        folder: of the stage.
        verify: also check the files beside the record; a missing model is no damage, since ``clean`` removes it.
    """
    if not storage.exists(folder / RECORD):
        return None
    raw = storage.read_json(folder / RECORD)
    record, flaw = storage.retry(lambda: _read(folder, raw, verify), folder)
    if flaw is None and verify:
        flaw = storage.check_seal(folder / MODEL)
    if flaw is not None:
        if (folder, flaw) not in _warned:
            _warned.add((folder, flaw))
            logger.warning("%s: this finished stage is damaged (%s) and counts as not finished", folder, flaw)
        return None
    return record


def find_finished(storage: Storage, folder: Path, left: str = MODEL) -> StageRecord | None:
    """As :func:`read_record`; also None where what later stages need (``left``, by default the model) is gone."""
    return read_record(storage, folder) if storage.exists(folder / left) else None


def reused_text(stage: str, folder: Path) -> str:
    """That a stage is not executed again, and where its files are."""
    return f"{stage}: reused from {folder}"


def write_record(storage: Storage, folder: Path, record: StageRecord) -> None:
    """Mark a stage as finished, once all its other files are written."""
    value: dict[str, Any] = json.loads(record.model_dump_json())
    tensors = storage.retry(lambda: sorted(folder.glob("*.safetensors")), folder)
    value["files"] = {path.name: storage.retry(partial(entry_of, path), path) for path in tensors}
    storage.write_text(folder / RECORD, json.dumps(sealed_document(value), indent=2, ensure_ascii=False) + "\n")


def remove_record(storage: Storage, folder: Path) -> None:
    """Mark a stage as not finished, before it is executed again."""
    storage.remove(folder / RECORD)


def copy_model(storage: Storage, source: Path, folder: Path) -> None:
    """Copy a saved model, whole or not at all.

    Raises:
        UserError: if it is damaged.
    """

    def fill(temporary: Path) -> None:
        shutil.copytree(source, temporary, dirs_exist_ok=True)
        if (flaw := check_seal(temporary)) is not None:
            raise UserError(f"{source}: the model is damaged ({flaw}); remove {source.parent} and run again")

    storage.write_folder(folder, fill)


def _read(folder: Path, raw: Any, verify: bool) -> tuple[StageRecord | None, str | None]:
    """Parse a record; returns it, and what is wrong with it or, if ``verify``, with the files that it lists."""
    if not isinstance(raw, dict):
        return None, f"{RECORD} cannot be read"
    value, flaw = open_document(raw)
    files = value.pop("files", {})
    try:
        record = StageRecord.model_validate(value)
        flaw = flaw or _invalid_value(value, record)
    except (ValidationError, UnicodeEncodeError):
        return None, f"{RECORD} is not a valid record"
    try:
        if not all(map(_TENSOR_FILE.fullmatch, files)):
            return None, f"{RECORD} lists files that no stage writes"
        flaws = (entry_flaw(folder / name, entry) for name, entry in files.items() if verify)
        return record, flaw or next((found for found in flaws if found is not None), None)
    except (AttributeError, KeyError, TypeError):
        return None, f"{RECORD} lists no files"


def _invalid_value(value: Any, record: StageRecord) -> str | None:
    """Which value is impossible though its type is right, in words, so that no result could be made; None if none is.

    Raises:
        UnicodeEncodeError: if a text cannot be encoded.
    """
    json.dumps(value, ensure_ascii=False).encode()
    if (number := impossible_number(value)) is not None:
        return f"{RECORD}: {number}"
    chosen = () if record.chosen_percent is None else (record.chosen_percent,)
    own = () if record.scale_percent is None else (record.scale_percent,)
    if not all(
        1 <= scale <= TEACHER_PERCENT for scale in (*own, *chosen, *record.chosen_chain, *record.selection_metrics)
    ):
        return f"{RECORD} has a scale that is not between 1 and 100 percent"
    metrics = [*record.selection_metrics.values(), record.validation_metrics]
    metrics += [scores for epoch in record.history for scores in epoch.metrics.values()]
    if any(abs(metric) > 1 + ROUNDING for scores in metrics for metric in bounded(scores)):
        return f"{RECORD} has a metric that is not between -1 and 1"
    if own and not (record.selection_metrics.get(own[0]) and record.validation_metrics):
        return f"{RECORD} lacks the metrics of its model"
    if not all(record.selection_metrics.values()):
        return f"{RECORD} lacks the metrics of a candidate"
    if (
        min(record.training_flops, record.evaluation_flops) < 0
        or (record.step_seconds or 0) < 0
        or (record.step_memory_bytes or 0) < 0
    ):
        return f"{RECORD} has a negative cost"
    return None
