"""Forward passes of PyTorch, ONNX Runtime and OpenVINO, each a function from padded rows to logits.

B rows, L tokens, C outputs, N rows of a split.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from minidisc_ray.configs.base import UserError, first_line
from minidisc_ray.data import EncodedRows, collate, evaluation_batches
from minidisc_ray.models.forward import model_inputs
from minidisc_ray.training.predict import EVALUATION_BATCH_SIZE

Feed = Mapping[str, np.ndarray]  # (B, L) int64 each
Forward = Callable[[Feed], np.ndarray]  # (B, C) float32


def torch_forward(model: PreTrainedModel) -> Forward:
    """A forward pass in PyTorch, in the model's precision."""

    @torch.inference_mode()
    def run(feed: Feed) -> np.ndarray:
        inputs = {name: torch.from_numpy(array) for name, array in feed.items()}
        logits: np.ndarray = model(**inputs).logits.float().numpy()
        return logits

    return run


def onnx_forward(path: Path, num_threads: int) -> Forward:
    """A forward pass in ONNX Runtime on the CPU.

    Raises:
        UserError: if the runtime cannot load the graph.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.log_severity_level = 3
    # Threads that spin after a pass would slow down the model that is timed next.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise UserError(
            f"{path.name}: ONNX Runtime {onnxruntime.__version__} cannot run it ({first_line(error)})"
        ) from error
    names = [each.name for each in session.get_inputs()]

    def run(feed: Feed) -> np.ndarray:
        logits: np.ndarray = session.run(["logits"], {name: feed[name] for name in names})[0]
        return logits.astype(np.float32, copy=False)

    return run


def openvino_forward(path: Path, num_threads: int) -> Forward:
    """A forward pass in OpenVINO on the CPU, in float32; its default is bfloat16 on CPUs that have it.

    Raises:
        UserError: if the runtime cannot load the graph.
    """
    import openvino

    hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": num_threads}
    try:
        compiled: Any = openvino.Core().compile_model(str(path), "CPU", hints)
    except Exception as error:
        raise UserError(f"{path.name}: OpenVINO cannot run it ({first_line(error)})") from error
    names = [each.get_any_name() for each in compiled.inputs]

    def run(feed: Feed) -> np.ndarray:
        return np.array(compiled({name: feed[name] for name in names})[compiled.output(0)], dtype=np.float32)

    return run


def feed_of(
    model: PreTrainedModel, rows: EncodedRows, indices: torch.Tensor, pad_token_id: int
) -> dict[str, np.ndarray]:
    """The padded inputs of a forward pass for the rows at ``indices`` (B,): (B, L) int64 each."""
    inputs = model_inputs(model, collate(rows, indices, pad_token_id))
    return {name: tensor.numpy() for name, tensor in inputs.items()}


def logits_over(
    forward: Forward, model: PreTrainedModel, splits: Mapping[str, EncodedRows], pad_token_id: int
) -> dict[str, np.ndarray]:  # split -> (N, C)
    """The logits of one model on every row, by split."""
    found = {}
    for name, rows in splits.items():
        logits = np.zeros((len(rows), int(model.config.num_labels)), dtype=np.float32)
        for indices in evaluation_batches(rows.lengths, EVALUATION_BATCH_SIZE):
            logits[indices.numpy()] = forward(feed_of(model, rows, indices, pad_token_id))
        found[name] = logits
    return found
