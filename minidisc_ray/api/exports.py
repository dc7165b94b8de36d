"""Finished models for use elsewhere: ONNX and OpenVINO, sizes of a nested family, a model card, the hub."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from minidisc_ray.api.recipes import Recipe, config_of
from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.loader import load_recipe
from minidisc_ray.export.card import CardFacts, is_repository
from minidisc_ray.export.exporting import ExportReport, Request, Target, export_model
from minidisc_ray.export.family import Family
from minidisc_ray.export.family import open_family as open_family_folder
from minidisc_ray.export.folder import check_output, output_path
from minidisc_ray.export.graphs import EXTRAS, require_extra
from minidisc_ray.export.push import HUB, push_to_folder, push_to_hub
from minidisc_ray.export.source import load_source
from minidisc_ray.export.speed import LENGTH
from minidisc_ray.inference.profile import ProfileRow, profile_folder
from minidisc_ray.models.checkpoint import load_model
from minidisc_ray.models.loading import position_limit
from minidisc_ray.run_files.family import FAMILY, FamilySize
from minidisc_ray.run_files.fetching import fetch_folders, fetch_models
from minidisc_ray.run_files.result import load_result

_LICENSES = ("teacher.license", "data.license")


def export(
    run: str | Path,
    output: str | Path,
    to: Target = "onnx",
    int8: bool = False,
    max_drop: float = 0.5,
    recipe: Recipe | None = None,
    threads: int | None = None,
    repeats: int = 20,
) -> ExportReport:
    """Export a student to another runtime, and check it against PyTorch on every validation row.

    Args:
        run: folder or URI of a finished run, or of a model, which needs a recipe.
        output: a new folder; it appears whole or not at all.
        to: ``onnx`` or ``openvino``.
        int8: add an int8 copy (ONNX only), and time all copies in turns.
        max_drop: points of the primary metric that the int8 copy may lose; the one-sided 95% bound of the loss may be
            twice that.
        recipe: its validation rows are used for the check; by default the run's.
        threads: CPU threads of each runtime; by default PyTorch's number.
        repeats: timed passes of each copy; 0 times none.

    Raises:
        UserError: if run, rows or packages are missing, the output exists, or a copy fails its check.

    Example:
        >>> report = export("runs/first", "first-onnx", repeats=0)
        >>> report.check.equal_labels, report.check.rows
        (200, 200)
    """
    output = output_path(output)
    check_output(output)
    if to not in EXTRAS:
        raise UserError(f"--to: {to} is not a target; use {' or '.join(EXTRAS)}")
    if int8 and to != "onnx":
        raise UserError(f"--int8: only onnx has an int8 copy, not {to}; use --to onnx, or leave --int8 out")
    if not max_drop >= 0:
        raise UserError(f"--max-drop: {max_drop:g} is not a number of points from 0")
    if repeats < 0:
        raise UserError(f"--repeats: {repeats} is below 0; use 20, or 0 to measure nothing")
    num_cpus = os.cpu_count() or 1
    if threads is not None and not 1 <= threads <= num_cpus:
        raise UserError(f"--threads: {threads} is not between 1 and {num_cpus}, the CPUs of this machine")
    require_extra(to)
    config = None if recipe is None else config_of(recipe, ())
    source = load_source(fetch_folders(run, "student"), config)
    return export_model(source, Request(to, int8, max_drop, repeats, threads or torch.get_num_threads()), output)


def open_family(run: str | Path) -> Family:
    """Open the nested family of a finished MiniDisc run; ``open_family(RUN)[25]`` is its model at 25%.

    Raises:
        UserError: if the run is not finished, or has no family.

    Example:
        >>> family = open_family("runs/first")
        >>> list(family)
        [60, 30, 10]
        >>> family[30].config.num_labels
        2
    """
    return open_family_folder(fetch_folders(run, FAMILY))


def extract(run: str | Path, scale_percent: int, output: str | Path) -> FamilySize:
    """Save one size of a run's nested family as a student's folder, and return its entry in the family's index.

    Raises:
        UserError: if the run has no family, the family has no such size, or the output exists.

    Example:
        >>> extract("runs/first", 30, "first-30").scale_percent
        30
        >>> list(evaluate("first-30", recipe))
        ['accuracy']
    """
    output = output_path(output)
    check_output(output)
    return open_family(run).save(scale_percent, output)


def push(
    run: str | Path,
    to: str,
    overrides: Sequence[str] = (),
    is_private: bool = False,
    threads: int | None = None,
    repeats: int = 20,
) -> str:
    """Copy a finished run's student with a model card to a folder or the Hugging Face hub, and return the place.

    Args:
        run: the run's folder or URI.
        to: ``hub:NAME``, or a new folder.
        overrides: licences that the run's recipe does not have, for instance ``teacher.license=apache-2.0``.
        is_private: whether a new repository is private.
        threads: CPU threads for timing; by default PyTorch's number.
        repeats: timed passes of teacher and student; 0 times none.

    Raises:
        UserError: if the run is not finished, the folder exists, or the hub refuses.

    Example:
        >>> push("runs/first", "first-card", repeats=0)
        'first-card'
    """
    name = to[len(HUB) :] if to.lower().startswith(HUB) else None
    if name is None:
        check_output(output_path(to), "--to")
    elif not is_repository(name):
        raise UserError(f"--to: {to[:100]} is not a repository's name on the hub; use hub:NAME or hub:OWNER/NAME")
    for override in overrides:
        if override.partition("=")[0].strip() not in _LICENSES:
            raise UserError(f"--set: {override[:100]} is not a licence; only {' and '.join(_LICENSES)} can be set")
    if repeats < 0:
        raise UserError(f"--repeats: {repeats} is below 0; use 20, or 0 to measure nothing")
    folder = fetch_models(run)
    result = load_result(folder)
    config = load_recipe(folder / "config.yaml", overrides)
    student = load_model(folder / "student")
    facts = CardFacts(
        run_folder=folder,
        config=config,
        result=result,
        student=student.config,
        text_columns=tuple(getattr(student.config, "minidisc_text_columns", None) or ("a text",)),
        max_length=config.data.max_length,
        speed=_speed(folder, threads, repeats, min(LENGTH, position_limit(student.config))) if repeats else (),
    )
    if name is not None:
        return push_to_hub(facts, name, is_private)
    push_to_folder(facts, output_path(to))
    return to


def _speed(folder: Path, threads: int | None, repeats: int, length: int) -> list[ProfileRow]:
    """CPU timings of student and teacher; of the student alone if the teacher's folder is gone."""
    try:
        rows = profile_folder(folder, threads, repeats, length)
    except UserError:
        rows = profile_folder(folder / "student", threads, repeats, length)
    return [row for row in rows if row.device == "cpu"]
