"""Compares copies of a model: bytes, latency, throughput and metric, with all copies timed in turns.

B rows, L tokens, N rows of a split, C outputs.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors.torch import save as tensors_as_bytes
from transformers import PreTrainedModel

from minidisc_ray.configs.base import first_line
from minidisc_ray.evaluation import score
from minidisc_ray.export.graphs import save_onnx, silence, without_empty_linears
from minidisc_ray.export.runtimes import Feed, Forward, logits_over, onnx_forward, torch_forward
from minidisc_ray.export.source import ExportSource
from minidisc_ray.models.inference_cost import milliseconds_in_turns, random_inputs, thread_count

BATCH_ROWS = 32
LENGTH = 128
ONNX_RUNTIME = "ONNX Runtime"
MEASURED = "measured"
Precision = Literal["float32", "float16", "int8", "int8 dynamic", "int8 static"]


@dataclass(frozen=True)
class SpeedRow:
    """One row of the speed table; its numbers are None if the copy could not be made or run.

    Attributes:
        status: ``measured``, or the reason why not.
        bytes: of all files that the copy needs: weights or graph, config and tokenizer.
        points: the primary metric on the validation rows, times 100.
        rows_per_second: from the median latency of 32 rows.
    """

    runtime: str
    precision: Precision
    status: str
    bytes: int | None = None
    points: float | None = None
    p50_ms_1_row: float | None = None
    p95_ms_1_row: float | None = None
    p50_ms_32_rows: float | None = None
    p95_ms_32_rows: float | None = None
    rows_per_second: float | None = None


@dataclass(frozen=True, eq=False)
class Variant:
    """A copy that can be run, with the bytes of its files."""

    runtime: str
    precision: Precision
    forward: Forward
    bytes: int


def torch_variants(source: ExportSource, other_bytes: int) -> list[Variant | SpeedRow]:
    """The model in PyTorch in float32, in float16 and with int8 Linears; a ``SpeedRow`` for a copy that fails."""
    makers: dict[Precision, Callable[[PreTrainedModel], PreTrainedModel]] = {
        "float32": lambda model: model,
        "float16": lambda model: copy.deepcopy(model).half(),
        "int8": _with_int8_linears,
    }

    def build(precision: Precision) -> tuple[Forward, int]:
        model = makers[precision](source.model)
        return torch_forward(model), _weight_bytes(model) + other_bytes

    return [_variant("torch", precision, source, build) for precision in makers]


def onnx_variants(
    source: ExportSource, files: Mapping[Precision, Path], graph: Any, folder: Path, other_bytes: int, num_threads: int
) -> list[Variant | SpeedRow]:
    """The graph in ONNX Runtime: the given files, and a float16 copy made only for the measurement."""

    def build(precision: Precision) -> tuple[Forward, int]:
        path = files.get(precision) or _save_float16(graph, folder)
        return onnx_forward(path, num_threads), path.stat().st_size + other_bytes

    precisions: list[Precision] = ["float32", "float16", *(name for name in files if name != "float32")]
    return [_variant(ONNX_RUNTIME, precision, source, build) for precision in precisions]


def _variant(
    runtime: str, precision: Precision, source: ExportSource, build: Callable[[Precision], tuple[Forward, int]]
) -> Variant | SpeedRow:
    """A copy that has run once, or a row with the reason why it cannot run."""
    try:
        with silence():
            forward, num_bytes = build(precision)
            forward(_random_feed(source, 1))
    except Exception as error:  # noqa: BLE001 - runtimes raise many classes for a missing kernel
        return SpeedRow(runtime, precision, f"not measured: {first_line(error)}")
    return Variant(runtime, precision, forward, num_bytes)


def measure(
    source: ExportSource, variants: Sequence[Variant | SpeedRow], repeats: int, num_threads: int
) -> list[SpeedRow]:
    """Time all copies in turns at 1 and at 32 rows, and score each on the validation rows.

    Args:
        source: the model and its rows.
        variants: the copies; a ``SpeedRow`` among them is returned unchanged.
        repeats: timed passes of each copy and batch.
        num_threads: CPU threads of PyTorch; ONNX Runtime's sessions have their own setting.
    """
    runnable = [variant for variant in variants if isinstance(variant, Variant)]
    with thread_count(num_threads):
        one, many = (_timed(runnable, _random_feed(source, rows), repeats) for rows in (1, BATCH_ROWS))
        points = [_points(source, variant) for variant in runnable]
    rows = []
    for variant, of_one, of_many, point in zip(runnable, one, many, points, strict=True):
        (p50, p95), (many_p50, many_p95) = (np.quantile(taken, (0.5, 0.95)).tolist() for taken in (of_one, of_many))
        speed = BATCH_ROWS / many_p50 * 1000
        rows.append(
            SpeedRow(
                variant.runtime,
                variant.precision,
                MEASURED,
                variant.bytes,
                point,
                p50,
                p95,
                many_p50,
                many_p95,
                speed,
            )
        )
    measured = iter(rows)
    return [next(measured) if isinstance(variant, Variant) else variant for variant in variants]


def _timed(variants: Sequence[Variant], feed: Feed, repeats: int) -> list[list[float]]:
    one_row = {name: array[:1] for name, array in feed.items()}

    def passes(forward: Forward) -> tuple[Callable[[], object], Callable[[], object]]:
        return (lambda: forward(one_row)), (lambda: forward(feed))

    return milliseconds_in_turns([passes(variant.forward) for variant in variants], repeats)


def _points(source: ExportSource, variant: Variant) -> float:
    found = logits_over(variant.forward, source.model, source.validation, source.pad_token_id)
    primary, rows = next(iter(source.validation.items()))
    return 100 * score(source.task, found[primary], rows.labels.numpy())[source.task.primary_metric]


def _random_feed(source: ExportSource, rows: int) -> Feed:
    model = source.model
    length = min(LENGTH, source.max_length)
    inputs = random_inputs(rows, length, int(model.config.vocab_size))
    feed = {name: tensor.numpy() for name, tensor in inputs.items()}
    if source.has_token_types:
        feed["token_type_ids"] = np.zeros_like(feed["input_ids"])
    return feed


def _weight_bytes(model: PreTrainedModel) -> int:
    """The bytes of a model's weights as a file; computed for int8 ones, as safetensors lacks their type."""
    tensors = {name: tensor for name, tensor in model.state_dict().items() if isinstance(tensor, torch.Tensor)}
    packed = [module for module in model.modules() if isinstance(module, torch.ao.nn.quantized.dynamic.Linear)]
    if not packed:
        return len(tensors_as_bytes(tensors))
    # One byte for a weight, and four for the bias of an output.
    sizes = sum(int(module.in_features) * int(module.out_features) + 4 * int(module.out_features) for module in packed)
    return sizes + sum(tensor.nbytes for tensor in tensors.values())


def _with_int8_linears(model: PreTrainedModel) -> PreTrainedModel:
    quantize: Callable[..., PreTrainedModel] = torch.ao.quantization.quantize_dynamic
    return quantize(without_empty_linears(model), {torch.nn.Linear}, dtype=torch.qint8)


def _save_float16(graph: Any, folder: Path) -> Path:
    """Write a float16 copy of a graph, with inputs and outputs of unchanged types."""
    import onnx_ir
    from onnxruntime.transformers.float16 import convert_float_to_float16

    half = convert_float_to_float16(onnx_ir.to_proto(graph), keep_io_types=True)
    path = folder / "float16.onnx"
    save_onnx(onnx_ir.from_proto(half), path)
    return path
