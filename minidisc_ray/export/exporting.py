"""Exports a model: its graph, checked on every validation row, an int8 copy if it loses little, and a speed table.

N rows of a split, C outputs.
"""

import copy
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from minidisc_ray.accounting.processor import processor_name
from minidisc_ray.configs.base import UserError
from minidisc_ray.evaluation.metrics import predictions_from
from minidisc_ray.export.folder import dense_config, write_output
from minidisc_ray.export.graphs import EXTRAS, onnx_graph, save_onnx, save_openvino
from minidisc_ray.export.quantization import Drop, Int8Copy, Int8Kind, int8_copies
from minidisc_ray.export.readme import export_readme
from minidisc_ray.export.runtimes import logits_over, onnx_forward, openvino_forward, torch_forward
from minidisc_ray.export.source import ExportSource
from minidisc_ray.export.speed import (
    LENGTH,
    MEASURED,
    ONNX_RUNTIME,
    Precision,
    SpeedRow,
    measure,
    onnx_variants,
    torch_variants,
)
from minidisc_ray.log import logger

Target = Literal["onnx", "openvino"]
# Rounding makes logits of two runtimes differ by less than this; a wrong graph makes them differ by more.
TOLERANCE = 1e-3
_CHECKING = "export: checking the graph on every validation row"


@dataclass(frozen=True)
class Check:
    """The graph compared with PyTorch on every validation row.

    Attributes:
        rows: number of rows compared.
        equal_labels: rows with the same label or labels; of a regression, rows within the tolerance.
        largest_difference: between two logits.
    """

    rows: int
    equal_labels: int
    largest_difference: float


@dataclass(frozen=True)
class Int8Report:
    """The int8 copy that was kept and its loss, and the loss of the other one, if there is one."""

    kind: Int8Kind
    drop: Drop
    other_drop: Drop | None


@dataclass(frozen=True)
class ExportReport:
    """What was exported, and its measurements; saved as ``export.json``."""

    target: Target
    output: str
    metric: str
    check: Check
    int8: Int8Report | None
    speed: tuple[SpeedRow, ...]
    length: int
    threads: int
    repeats: int
    machine: str
    versions: dict[str, str]


@dataclass(frozen=True)
class Request:
    """The options of an export.

    Attributes:
        target: the runtime.
        int8: whether to make an int8 copy, and to measure the speed of all copies.
        max_drop: points of the primary metric that the int8 copy may lose.
        repeats: timed passes of each copy; 0 measures no speed.
        num_threads: CPU threads of each runtime.
    """

    target: Target
    int8: bool
    max_drop: float
    repeats: int
    num_threads: int


def export_model(source: ExportSource, request: Request, output: Path) -> ExportReport:
    """Export a model to a folder, which appears whole or not at all.

    Raises:
        UserError: if the graph does not compute what the model does, the int8 copy loses too much, or the folder
            cannot be written.
    """
    logger.info("export: PyTorch's answers on %s validation rows", f"{source.num_rows:,}")
    reference = logits_over(torch_forward(source.model), source.model, source.validation, source.pad_token_id)

    def fill(folder: Path) -> ExportReport:
        if request.target == "onnx":
            check, int8, speed = _fill_onnx(folder, source, request, reference)
        else:
            path = folder / "openvino_model.xml"
            logger.info("export: writing the OpenVINO graph")
            save_openvino(source, path)
            logger.info(_CHECKING)
            forward = openvino_forward(path, request.num_threads)
            copied = logits_over(forward, source.model, source.validation, source.pad_token_id)
            check, int8, speed = compare_logits(source, reference, copied), None, []
        dense_config(source.model.config).save_pretrained(folder)
        tokenizer = copy.deepcopy(source.tokenizer)
        # Other tools truncate rows to this length; `minidisc predict` and training used it too.
        tokenizer.model_max_length = source.max_length
        tokenizer.save_pretrained(folder)
        report = ExportReport(
            target=request.target,
            output=output.name,
            metric=source.task.primary_metric,
            check=check,
            int8=int8,
            speed=tuple(speed),
            length=min(LENGTH, source.max_length),
            threads=request.num_threads,
            repeats=request.repeats,
            machine=processor_name(),
            versions={name: version(name) for name in ("torch", "transformers", *EXTRAS[request.target])},
        )
        (folder / "README.md").write_text(
            export_readme(source, output.name, request.target, check, int8 is not None), encoding="utf-8"
        )
        (folder / "export.json").write_text(json.dumps(asdict(report), indent=2) + "\n", encoding="utf-8")
        return report

    return write_output(output, fill)


def compare_logits(
    source: ExportSource, reference: Mapping[str, np.ndarray], copied: Mapping[str, np.ndarray]
) -> Check:
    """Compare two models' logits by split, (N, C) each.

    Raises:
        UserError: if they differ by more than rounding; within that, a label can differ only at a tie.
    """
    largest, equal = 0.0, 0
    for name, wanted in reference.items():
        difference = np.abs(wanted - copied[name]).max(axis=1)
        # Not max(), which can drop a NaN.
        found = float(difference.max())
        largest = largest if found <= largest else found
        if source.task.is_regression:
            equal += int((difference <= TOLERANCE).sum())
        else:
            same = predictions_from(source.task, wanted) == predictions_from(source.task, copied[name])
            equal += int((same.all(axis=1) if source.task.is_multilabel else same).sum())
    if not largest <= TOLERANCE:
        raise UserError(
            f"{source.folder.name}: its graph differs from PyTorch by {largest:.2g} on a validation row, more than the "
            f"{TOLERANCE:g} that rounding can cause, so nothing was written; please report this model's config.json"
        )
    return Check(source.num_rows, equal, largest)


def _fill_onnx(
    folder: Path, source: ExportSource, request: Request, reference: Mapping[str, np.ndarray]
) -> tuple[Check, Int8Report | None, list[SpeedRow]]:
    logger.info("export: writing the ONNX graph")
    graph, path = onnx_graph(source), folder / "onnx" / "model.onnx"
    save_onnx(graph, path)
    logger.info(_CHECKING)
    forward = onnx_forward(path, request.num_threads)
    check = compare_logits(
        source, reference, logits_over(forward, source.model, source.validation, source.pad_token_id)
    )
    if not request.int8:
        return check, None, []
    work = folder / ".work"
    logger.info("export: making int8 copies, each checked on every validation row")
    try:
        copies = int8_copies(graph, source, reference, work, request.num_threads)
        passing = [each for each in copies if each.drop.passes(request.max_drop)]
        if not passing:
            raise UserError(_refusal(copies[0], source, request))
        files: dict[Precision, Path] = {"float32": path, **{_precision(each.kind): each.path for each in copies}}
        speed = _speed(source, request, graph, files, work)
        kept = min(passing, key=lambda each: _latency(speed, each.kind))
        kept.path.rename(path.with_name("model_quantized.onnx"))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    other = next((each for each in copies if each is not kept), None)
    report = Int8Report(kept.kind, kept.drop, None if other is None else other.drop)
    return check, report, speed


def _precision(kind: Int8Kind) -> Precision:
    return "int8 dynamic" if kind == "dynamic" else "int8 static"


def _latency(speed: Sequence[SpeedRow], kind: Int8Kind) -> float:
    """The geometric mean of a copy's median milliseconds at 1 and at 32 rows; infinite if it was not measured."""
    wanted = (ONNX_RUNTIME, _precision(kind), MEASURED)
    row = next((row for row in speed if (row.runtime, row.precision, row.status) == wanted), None)
    if row is None:
        return math.inf
    return math.sqrt((row.p50_ms_1_row or math.inf) * (row.p50_ms_32_rows or math.inf))


def _refusal(best: Int8Copy, source: ExportSource, request: Request) -> str:
    return (
        f"--int8: the better of the int8 copies ({best.kind}) loses {best.drop.points:.2f} points of "
        f"{source.task.primary_metric} on {source.num_rows} validation rows, and with 95% probability at most "
        f"{best.drop.bound:.2f}; --max-drop {request.max_drop:g} allows a loss of {request.max_drop:g} with a bound of "
        f"{2 * request.max_drop:g}, so nothing was written; raise --max-drop, or leave --int8 out"
    )


def _speed(
    source: ExportSource, request: Request, graph: Any, files: Mapping[Precision, Path], work: Path
) -> list[SpeedRow]:
    if not request.repeats:
        return []
    logger.info("export: timing every copy, %d passes each", request.repeats)
    names = ("config.json", "tokenizer.json", "tokenizer_config.json")
    other_bytes = sum(path.stat().st_size for name in names if (path := source.folder / name).is_file())
    variants = torch_variants(source, other_bytes)
    variants += onnx_variants(source, files, graph, work, other_bytes, request.num_threads)
    return measure(source, variants, request.repeats, request.num_threads)
