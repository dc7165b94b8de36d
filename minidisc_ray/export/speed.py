"""Copies of one model against each other: bytes, latency, throughput and points, models in turns on one machine.

B rows, L tokens, N rows of a split, C outputs.
"""

import contextlib
import copy
import warnings
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
from minidisc_ray.export.graphs import save_onnx, without_empty_products
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
    """One copy; its numbers are empty where the runtime has no such copy.

    Attributes:
        status: ``measured``, or why not.
        bytes: of all files that the copy needs: weights or graph, config, tokenizer.
        points: the primary metric on the validation rows, times 100.
        rows_per_second: of the median latency of 32 rows.
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
    """A copy at work: how it runs, and what it weighs."""

    runtime: str
    precision: Precision
    forward: Forward
    bytes: int


def torch_variants(source: ExportSource, other_bytes: int) -> list[Variant | SpeedRow]:
    """The model in PyTorch: as it is, in float16, and with its Linears in int8; a row where there is no such copy."""
    makers: dict[Precision, Callable[[PreTrainedModel], PreTrainedModel]] = {
        "float32": lambda model: model,
        "float16": lambda model: copy.deepcopy(model).half(),
        "int8": _with_int8_linears,
    }

    def made(precision: Precision) -> tuple[Forward, int]:
        model = makers[precision](source.model)
        return torch_forward(model), _weight_bytes(model) + other_bytes

    return [_variant("torch", precision, source, made) for precision in makers]


def onnx_variants(
    source: ExportSource, files: Mapping[Precision, Path], graph: Any, folder: Path, other_bytes: int, num_threads: int
) -> list[Variant | SpeedRow]:
    """The graph in ONNX Runtime: the files there are, and one in float16 that is made to be measured."""

    def made(precision: Precision) -> tuple[Forward, int]:
        path = files.get(precision) or _half(graph, folder)
        return onnx_forward(path, num_threads), path.stat().st_size + other_bytes

    precisions: list[Precision] = ["float32", "float16", *(name for name in files if name != "float32")]
    return [_variant(ONNX_RUNTIME, precision, source, made) for precision in precisions]


def _variant(
    runtime: str, precision: Precision, source: ExportSource, made: Callable[[Precision], tuple[Forward, int]]
) -> Variant | SpeedRow:
    """A copy that has run once, or why there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            forward, num_bytes = made(precision)
            forward(_random_feed(source, 1))
    except Exception as error:  # noqa: BLE001 - a runtime may lack a kernel in any way; the others are measured
        return SpeedRow(runtime, precision, f"not measured: {first_line(error)}")
    return Variant(runtime, precision, forward, num_bytes)


def measure(
    source: ExportSource, variants: Sequence[Variant | SpeedRow], repeats: int, num_threads: int
) -> list[SpeedRow]:
    """Score each copy on the validation rows, then time all of them in turns, at one row and at 32.

    Args:
        source: the model and its rows.
        variants: what there is; a row stays as it is.
        repeats: timed passes of each copy and batch.
        num_threads: CPU threads of PyTorch; ONNX Runtime's were set with its sessions.
    """
    there = [variant for variant in variants if isinstance(variant, Variant)]
    with thread_count(num_threads):
        one, many = (_timed(there, _random_feed(source, rows), repeats) for rows in (1, BATCH_ROWS))
        points = [_points(source, variant) for variant in there]
    rows = []
    for variant, of_one, of_many, point in zip(there, one, many, points, strict=True):
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
    """Of the weights as a file; quantized ones are counted, as safetensors has no such type."""
    tensors = {name: tensor for name, tensor in model.state_dict().items() if isinstance(tensor, torch.Tensor)}
    if not any(isinstance(module, torch.ao.nn.quantized.dynamic.Linear) for module in model.modules()):
        return len(tensors_as_bytes(tensors))
    packed = [m for m in model.modules() if isinstance(m, torch.ao.nn.quantized.dynamic.Linear)]
    # A byte a weight, and of each output a bias in float32.
    sizes = sum(int(module.in_features) * int(module.out_features) + 4 * int(module.out_features) for module in packed)
    return sizes + sum(tensor.nbytes for tensor in tensors.values())


def _with_int8_linears(model: PreTrainedModel) -> PreTrainedModel:
    whole = without_empty_products(model)
    quantize: Callable[..., PreTrainedModel] = torch.ao.quantization.quantize_dynamic
    return quantize(whole, {torch.nn.Linear}, dtype=torch.qint8)


def _half(graph: Any, folder: Path) -> Path:
    """A float16 copy of a graph on disk, its inputs and outputs as they are."""
    import onnx_ir
    from onnxruntime.transformers.float16 import convert_float_to_float16

    with contextlib.redirect_stdout(None), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        half = convert_float_to_float16(onnx_ir.to_proto(graph), keep_io_types=True)
    path = folder / "float16.onnx"
    save_onnx(onnx_ir.from_proto(half), path)
    return path
