"""int8 copies of an ONNX graph, and what each loses on the validation rows.

N rows, C outputs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from minidisc_ray.configs.base import UserError, first_line
from minidisc_ray.core.task import Task
from minidisc_ray.data import evaluation_batches
from minidisc_ray.evaluation import LabelledRows, Resampling, bootstrap
from minidisc_ray.export.graphs import save_onnx, silence
from minidisc_ray.export.runtimes import feed_of, logits_over, onnx_forward
from minidisc_ray.export.source import ExportSource

Int8Kind = Literal["dynamic", "static"]
# Computed in int8: products with weights and in attention, and embedding look-ups, which have most of the bytes.
_OPERATORS = ["MatMul", "Gemm", "Gather"]
_CALIBRATION_BATCH = 16
# 5% of the replicates lie above a two-sided 90% interval, so its upper end is a one-sided 95% bound.
_ONE_SIDED = Resampling(level=0.9)


@dataclass(frozen=True)
class Drop:
    """The loss of a copy against the float32 model on the same rows, in points of the primary metric.

    Attributes:
        points: on all rows; below 0 if the copy is better.
        bound: one-sided 95% upper bound over rows (paired bootstrap).
    """

    points: float
    bound: float

    def passes(self, max_drop: float) -> bool:
        """Whether the drop is within ``max_drop`` points, and its bound within twice that."""
        return self.points <= max_drop and self.bound <= 2 * max_drop


@dataclass(frozen=True, eq=False)
class Int8Copy:
    """An int8 graph on disk, its logits and its loss."""

    kind: Int8Kind
    path: Path
    logits: Mapping[str, np.ndarray]  # split -> (N, C)
    drop: Drop


def int8_copies(
    graph: Any, source: ExportSource, reference: Mapping[str, np.ndarray], folder: Path, num_threads: int
) -> list[Int8Copy]:
    """A dynamic and a static int8 copy (with ranges from training rows), of which those that work; smallest loss first.

    Args:
        graph: from ``onnx_graph``.
        source: the model and its rows.
        reference: the float32 model's logits by split, (N, C) each.
        folder: where the copies are written.
        num_threads: of the runtime.

    Raises:
        UserError: if neither can be made and run.
    """
    copies, errors = list[Int8Copy](), list[UserError]()
    kinds: tuple[Int8Kind, ...] = ("dynamic", "static")
    for kind in kinds:
        try:
            copies.append(_copy(kind, graph, source, reference, folder, num_threads))
        except UserError as error:
            errors.append(error)
    if not copies:
        raise errors[0]
    return sorted(copies, key=lambda copy: (copy.drop.points, copy.drop.bound))


def drop_of(
    task: Task, labels: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray], copied: Mapping[str, np.ndarray]
) -> Drop:
    """The loss of a copy, from labels (N,) and both models' logits (N, C) by split."""
    rows = LabelledRows(task, labels)
    both = bootstrap(
        rows, {"float32": {0: rows.predictions(reference)}, "copy": {0: rows.predictions(copied)}}, _ONE_SIDED
    )
    lost = (both["float32"] - both["copy"]).interval()
    return Drop(100 * lost.mean, 100 * lost.high)


def _copy(
    kind: Int8Kind,
    graph: Any,
    source: ExportSource,
    reference: Mapping[str, np.ndarray],
    folder: Path,
    num_threads: int,
) -> Int8Copy:
    path = folder / f"{kind}.onnx"
    save_onnx(_quantized(kind, graph, source), path)
    forward = onnx_forward(path, num_threads)
    logits = logits_over(forward, source.model, source.validation, source.pad_token_id)
    if not all(np.isfinite(array).all() for array in logits.values()):
        raise UserError(f"--int8: the {kind} copy gives logits that are not finite on this machine")
    labels = {name: rows.labels.numpy() for name, rows in source.validation.items()}
    return Int8Copy(kind, path, logits, drop_of(source.task, labels, reference, logits))


def _quantized(kind: Int8Kind, graph: Any, source: ExportSource) -> Any:
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass
    from transformers.exporters import OnnxRuntimeDynamicConfig, OnnxRuntimeQuantizer, OnnxRuntimeStaticConfig
    from transformers.exporters.configs import ExportFormat

    if kind == "dynamic":
        quantizer = OnnxRuntimeQuantizer(OnnxRuntimeDynamicConfig(op_types_to_quantize=_OPERATORS, per_channel=True))
    else:
        config = OnnxRuntimeStaticConfig(op_types_to_quantize=_OPERATORS, per_channel=True)
        quantizer = OnnxRuntimeQuantizer(config, calibration_dataset=_calibration_feeds(source))
    try:
        with silence():
            quantized = quantizer.quantize(graph, {}, ExportFormat.ONNX)
    except Exception as error:
        raise UserError(f"--int8: ONNX Runtime cannot make a {kind} int8 copy ({first_line(error)})") from error
    ClearMetadataAndDocStringPass()(quantized)
    return quantized


def _calibration_feeds(source: ExportSource) -> list[dict[str, Any]]:
    rows = source.calibration
    batches = evaluation_batches(rows.lengths, _CALIBRATION_BATCH)
    feeds = [feed_of(source.model, rows, indices, source.pad_token_id) for indices in batches]
    return [{name: torch.from_numpy(array) for name, array in feed.items()} for feed in feeds]
