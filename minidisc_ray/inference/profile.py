"""Parameters, multiply-adds, latency and throughput of a run's models, teacher beside student (MiniDisc, table 11)."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from transformers import AutoConfig, PreTrainedModel

from minidisc_ray.accounting.processor import processor_name
from minidisc_ray.configs.base import UserError
from minidisc_ray.core.flops import forward_macs
from minidisc_ray.core.structure import Structure
from minidisc_ray.files.places import place_of
from minidisc_ray.files.writing import read_json
from minidisc_ray.models.checkpoint import load_model
from minidisc_ray.models.families import shape_of
from minidisc_ray.models.inference_cost import (
    WARM_UP_ROUNDS,
    counted_macs,
    parameter_counts,
    random_inputs,
    thread_count,
    time_in_turns,
)
from minidisc_ray.models.loading import position_limit
from minidisc_ray.models.pruned import structure_of
from minidisc_ray.models.registration import PRUNED_PREFIX
from minidisc_ray.models.surgery import cut
from minidisc_ray.run_files.result import ModelRecord, load_result
from minidisc_ray.run_files.unfinished import unfinished_error

BATCH_ROWS = 32  # table 11's batch
MEASURED = "measured"
NO_GPU = "not measured: no GPU"
TEACHER = "teacher"
_TEACHER = re.compile(r"teacher-[0-9a-z]+")  # a stage in the shared folder


@dataclass(frozen=True)
class ProfiledModel:
    """A model and what it is called: teacher, assistant, sparse teacher, student, or just model."""

    name: str
    model: PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class ProfileRow:
    """One model on one device; latencies are None where there is no such device.

    Attributes:
        status: whether the row was measured.
        other_parameters: of pooler and classifier; encoder, embedding and other sum to the total.
        closed_form_encoder_macs: multiply-adds of the encoder's layers for one row of ``length`` tokens.
        closed_form_macs: those of the whole forward pass, which ``counted_macs`` counts.
        latency_ms_1_row: the median; ``p10`` and ``p90`` are percentiles of the repeats.
        tokens_per_ms_32_rows: of the median latency.
        speedup_1_row: the teacher's median latency over this model's; None without a teacher.
        load_average: of the machine, over the last minute before measuring; None where the system has none.
    """

    run: str
    model: str
    scale_percent: int
    device: str = ""
    device_name: str = ""
    status: str = NO_GPU
    encoder_parameters: int
    embedding_parameters: int
    other_parameters: int
    total_parameters: int
    length: int
    closed_form_encoder_macs: int
    closed_form_macs: int
    counted_macs: int
    latency_ms_1_row: float | None = None
    latency_ms_1_row_p10: float | None = None
    latency_ms_1_row_p90: float | None = None
    latency_ms_32_rows: float | None = None
    latency_ms_32_rows_p10: float | None = None
    latency_ms_32_rows_p90: float | None = None
    tokens_per_ms_32_rows: float | None = None
    speedup_1_row: float | None = None
    speedup_32_rows: float | None = None
    repeats: int
    warm_up_rounds: int
    threads: int
    dtype: str
    attention: str
    torch_version: str
    load_average: float | None


def profile_folder(folder: Path, threads: int | None, repeats: int, length: int) -> list[ProfileRow]:
    """Measure a finished run's models, or the one model of a plain folder.

    Args:
        folder: a run's folder or a model's.
        threads: CPU threads of PyTorch; as many as it has by default.
        repeats: timed forward passes of each model and batch.
        length: tokens of each row.

    Raises:
        UserError: if the run is not finished, a model is missing, or a number is out of range.
    """
    num_cpus = os.cpu_count() or 1
    if repeats < 1:
        raise UserError(f"repeats: {repeats} is not above 0; use 20, or more where the machine is noisy")
    if threads is not None and not 1 <= threads <= num_cpus:
        raise UserError(f"threads: {threads} is not between 1 and {num_cpus}, the CPUs of this machine")
    models = models_in(folder)
    limit = min(position_limit(entry.model.config) for entry in models)
    if not 1 <= length <= limit:
        raise UserError(f"length: {length} is not between 1 and {limit}, the tokens that the model has positions for")
    with thread_count(threads or torch.get_num_threads()):
        return profile_models(folder.resolve().name, models, repeats, length)


def models_in(folder: Path) -> list[ProfiledModel]:
    """The models of a finished run that are on disk, teacher first, student last; or the model of a model's folder.

    Raises:
        UserError: if there is neither, or the teacher or the student is gone.
    """
    if (folder / "result.json").is_file():
        return _models_of_run(folder)
    if (unfinished := unfinished_error(folder)) is not None:
        raise unfinished
    if not (folder / "config.json").is_file():
        raise UserError(
            f"{place_of(folder)}: no run and no model there; give the folder of a finished run, or a student's"
        )
    model = load_model(folder)
    return [ProfiledModel("student" if model.config.model_type.startswith(PRUNED_PREFIX) else "model", model)]


def profile_models(run: str, models: Sequence[ProfiledModel], repeats: int, length: int) -> list[ProfileRow]:
    """Measure models against each other, on the CPU and on a GPU where there is one; the CPU's rows come first."""
    load_average = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    vocabulary_size = min(int(entry.model.config.vocab_size) for entry in models)
    one, batch = (random_inputs(rows, length, vocabulary_size) for rows in (1, BATCH_ROWS))
    for entry in models:
        entry.model.eval()
    sizes = [
        _row_of_sizes(run, entry, length, repeats, counted_macs(entry.model, one), load_average) for entry in models
    ]
    rows = _measured(sizes, models, one, batch, torch.device("cpu"))
    if not torch.cuda.is_available():
        return rows + [replace(row, device="cuda") for row in sizes]
    return rows + _measured(sizes, models, one, batch, torch.device("cuda"))


def _measured(
    sizes: Sequence[ProfileRow],
    models: Sequence[ProfiledModel],
    one: dict[str, torch.Tensor],
    batch: dict[str, torch.Tensor],
    device: torch.device,
) -> list[ProfileRow]:
    on_device = [entry.model.to(device) for entry in models]
    repeats = sizes[0].repeats
    of_one, of_batch = (time_in_turns(on_device, inputs, repeats) for inputs in (one, batch))
    for entry in models:
        entry.model.to("cpu")
    has_teacher = models[0].name == TEACHER
    device_name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()
    return [
        replace(
            row,
            device=device.type,
            device_name=device_name,
            status=MEASURED,
            latency_ms_1_row=single.median_ms,
            latency_ms_1_row_p10=single.p10_ms,
            latency_ms_1_row_p90=single.p90_ms,
            latency_ms_32_rows=many.median_ms,
            latency_ms_32_rows_p10=many.p10_ms,
            latency_ms_32_rows_p90=many.p90_ms,
            tokens_per_ms_32_rows=BATCH_ROWS * row.length / many.median_ms,
            speedup_1_row=of_one[0].median_ms / single.median_ms if has_teacher else None,
            speedup_32_rows=of_batch[0].median_ms / many.median_ms if has_teacher else None,
        )
        for row, single, many in zip(sizes, of_one, of_batch, strict=True)
    ]


def _row_of_sizes(
    run: str, entry: ProfiledModel, length: int, repeats: int, macs: int, load_average: float | None
) -> ProfileRow:
    """A row without its times and its device."""
    model = entry.model
    shape, structure, counts = shape_of(model), structure_of(model.config), parameter_counts(model)
    layers_alone = replace(shape, embedding_projection=0, head_macs_per_row=0)
    return ProfileRow(
        run=run,
        model=entry.name,
        scale_percent=structure.scale_percent,
        encoder_parameters=counts.encoder,
        embedding_parameters=counts.embedding,
        other_parameters=counts.other,
        total_parameters=counts.total,
        length=length,
        closed_form_encoder_macs=forward_macs(layers_alone, structure, 1, length),
        closed_form_macs=forward_macs(shape, structure, 1, length),
        counted_macs=macs,
        repeats=repeats,
        warm_up_rounds=WARM_UP_ROUNDS,
        threads=torch.get_num_threads(),
        dtype=str(model.dtype).removeprefix("torch."),
        attention=str(model.config._attn_implementation),
        torch_version=str(torch.__version__),
        load_average=load_average,
    )


def _models_of_run(folder: Path) -> list[ProfiledModel]:
    result = load_result(folder)
    models = [ProfiledModel(TEACHER, load_model(_teacher_folder(folder)))]
    name = "sparse teacher" if result.method == "sparse_teacher" else "assistant"
    for record in result.assistants:
        model = _assistant(folder, record)
        if model is not None:
            models.append(ProfiledModel(name, model))
    return [*models, ProfiledModel("student", load_model(folder / "student"))]


def _teacher_folder(folder: Path) -> Path:
    uses = read_json(folder / "shared.json")
    names = [use for use in uses if _TEACHER.fullmatch(str(use))] if isinstance(uses, list) else []
    alone = f"give {place_of(folder / 'student')} to measure the student alone"
    if not names:
        raise UserError(f"{place_of(folder)}: its shared.json does not say which teacher it used; {alone}")
    teacher = folder.resolve().parent / "_shared" / str(names[0]) / "model"
    if not (teacher / "config.json").is_file():
        raise UserError(f"{place_of(folder)}: its teacher is gone (looked in {place_of(teacher)}); {alone}")
    return teacher


def _assistant(folder: Path, record: ModelRecord) -> PreTrainedModel | None:
    """An assistant from the stage that made it, or cut from a sandwich; None where it was freed or is damaged."""
    wanted = Structure(record.scale_percent, record.heads, record.neurons)
    for model in sorted([*folder.glob("stages/*/model"), *folder.glob("trials/*/stages/*/model")]):
        if _structure_in(model) == wanted:
            return load_model(model)
    sandwich = folder / "stages" / "sandwich" / "model"
    try:
        return cut(load_model(sandwich), wanted) if (sandwich / "config.json").is_file() else None
    except UserError:
        return None


def _structure_in(folder: Path) -> Structure | None:
    """The structure in a saved model's config; None if it is damaged, since another stage may have the same model."""
    try:
        return structure_of(AutoConfig.from_pretrained(folder, trust_remote_code=False))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
