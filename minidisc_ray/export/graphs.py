"""Models as ONNX and OpenVINO graphs for any batch size and length, by transformers' exporters."""

import contextlib
import copy
import importlib
import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from minidisc_ray.configs.base import UserError, first_line
from minidisc_ray.export.runtimes import feed_of
from minidisc_ray.export.source import ExportSource
from minidisc_ray.models.checkpoint import quiet
from minidisc_ray.models.loading import position_limit

# Packages that each target's extra installs, of those that this module and its neighbours import.
EXTRAS = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("openvino", "onnx", "onnxscript")}
_DIMENSIONS = ("batch_size", "sequence_length")
_MIN_LENGTH = 2  # a row has at least its first and last special token


def require_extra(target: str) -> None:
    """Refuse a target whose packages are not installed, or do not work.

    Raises:
        UserError: with the command that installs them.
    """
    for name in EXTRAS[target]:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise UserError(
                f"--to: {target} needs {name}, which cannot be imported here ({first_line(error)}); pip install "
                f"{' '.join(EXTRAS[target])}"
            ) from error


def onnx_graph(source: ExportSource) -> Any:
    """The model as an ``onnx_ir.Model``: inputs (batch_size, sequence_length), output ``logits``, no metadata.

    Raises:
        UserError: if transformers cannot export it.
    """
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass
    from transformers.exporters import OnnxConfig, OnnxExporter

    program = _exported(OnnxExporter, OnnxConfig, source)
    ClearMetadataAndDocStringPass()(program)
    _name_dimensions(program)
    return program


def save_onnx(program: Any, path: Path) -> None:
    """Write a graph and its weights as one file."""
    import onnx_ir

    path.parent.mkdir(parents=True, exist_ok=True)
    onnx_ir.save(program, str(path))


def save_openvino(source: ExportSource, path: Path) -> None:
    """Write the model as OpenVINO's ``.xml`` with its ``.bin``.

    Raises:
        UserError: if transformers cannot export it.
    """
    import openvino
    from transformers.exporters import OpenVINOConfig, OpenVINOExporter

    path.parent.mkdir(parents=True, exist_ok=True)
    program = _exported(OpenVINOExporter, OpenVINOConfig, source)
    try:
        openvino.save_model(program, str(path), compress_to_fp16=False)
    except RuntimeError as error:
        raise OSError(f"OpenVINO could not write {path.name}: {first_line(error)}") from error


class _BiasOnly(nn.Module):
    """Replaces a Linear without inputs: returns its bias."""

    def __init__(self, bias: nn.Parameter) -> None:
        super().__init__()
        self.bias = bias

    def forward(self, values: Tensor) -> Tensor:
        """The bias (B, L, D), for ``values`` (B, L, 0)."""
        return self.bias.expand(*values.shape[:-1], -1)


def without_empty_linears(model: PreTrainedModel) -> PreTrainedModel:
    """A copy that computes the same without Linears of zero inputs, for which runtimes give wrong int8 results.

    A layer that kept no head or no neuron has one.
    """
    copied = copy.deepcopy(model)
    for path, module in list(copied.named_modules()):
        if isinstance(module, nn.Linear) and module.in_features == 0:
            parent, _, name = path.rpartition(".")
            setattr(copied.get_submodule(parent), name, _BiasOnly(module.bias))
    return copied


def _exported(exporter_class: Any, config_class: Any, source: ExportSource) -> Any:
    model = without_empty_linears(source.model)
    sample = _trace_inputs(model, source)
    dimensions = (
        torch.export.Dim(_DIMENSIONS[0]),
        torch.export.Dim(_DIMENSIONS[1], min=_MIN_LENGTH, max=position_limit(model.config)),
    )
    shapes = {name: dict(enumerate(dimensions)) for name in sample}
    try:
        with silence(), quiet():
            return exporter_class().export(model, sample, config_class(dynamic_shapes=shapes)).program
    except Exception as error:
        raise UserError(f"{source.folder.name}: transformers could not export it ({first_line(error)})") from error


def _trace_inputs(model: PreTrainedModel, source: ExportSource) -> dict[str, torch.Tensor]:
    """The inputs to trace the graph with: the shortest row, padded, and the longest."""
    lengths = source.calibration.lengths
    indices = torch.stack([lengths.argmin(), lengths.argmax()])
    feed = feed_of(model, source.calibration, indices, source.pad_token_id)
    return {name: torch.from_numpy(array) for name, array in feed.items()}


def _name_dimensions(program: Any) -> None:
    """Replace the tracer's names of the free dimensions by plain ones."""
    import onnx_ir

    found = [str(dimension) for dimension in program.graph.inputs[0].shape]
    names = dict(zip(found, _DIMENSIONS, strict=True))
    for value in (*program.graph.inputs, *program.graph.outputs):
        value.shape = onnx_ir.Shape([names.get(str(d), d) if not isinstance(d, int) else d for d in value.shape])


@contextmanager
def silence() -> Iterator[None]:
    """Suppress logs, warnings and prints of tracing and quantization, which mean nothing to a user; not errors."""
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
