"""Everything that is checked and known before anything starts."""

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.identity import digest, run_identity, run_name, without_student
from minidisc_ray.configs.model import BuiltinTeacherConfig
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.configs.student import with_student_scale
from minidisc_ray.core.flops import EncoderShape
from minidisc_ray.core.structure import Structure
from minidisc_ray.core.task import Task
from minidisc_ray.data import EncodedRows, Rows, Splits, builtin_tokenizer, builtin_vocabulary, encode, load_splits
from minidisc_ray.models.families import shape_of
from minidisc_ray.models.loading import (
    build_teacher,
    content_digest,
    is_fine_tuned,
    load_tokenizer,
    position_limit,
)
from minidisc_ray.models.unfilled import build_unfilled
from minidisc_ray.pipeline.own_student import OwnStudent, shared_steps_needed, with_own_student
from minidisc_ray.pipeline.planned import check_objective
from minidisc_ray.pipeline.sizes import WHOLE, check_structures, kept_layers, planned_structure, planned_student
from minidisc_ray.schedules import Plan, build_plan
from minidisc_ray.schedules.plan import CHOSEN, TEACHER, DistilStep


@dataclass(frozen=True)
class Prepared:
    """A checked recipe with its rows, names and places.

    Attributes:
        config: the resolved recipe.
        splits: rows to train, to select and to score on.
        tokenizer: the teacher's.
        plan: the schedule's steps.
        shape: sizes of the teacher.
        identity: everything that can change the numbers.
        name: of the run.
        teacher_is_fine_tuned: whether the teacher came with a trained head.
        own_student: the student where it has a checkpoint of its own; None where it is cut from the model above it.
    """

    config: RunConfig
    splits: Splits
    tokenizer: PreTrainedTokenizerBase
    plan: Plan
    shape: EncoderShape
    identity: dict[str, object]
    name: str
    teacher_is_fine_tuned: bool
    own_student: OwnStudent | None = None

    @property
    def task(self) -> Task:
        """The resolved task."""
        return self.splits.task

    @property
    def storage(self) -> Path:
        """The storage root."""
        return Path(self.config.storage).expanduser().resolve()

    @property
    def run_folder(self) -> Path:
        """Where this run's files go."""
        return self.storage / self.name

    @property
    def shared_folder(self) -> Path:
        """Where artifacts lie that several runs use."""
        return self.storage / "_shared"

    @property
    def pad_token_id(self) -> int:
        """The tokenizer's padding token."""
        return int(self.tokenizer.pad_token_id)

    @property
    def teacher_key(self) -> str:
        """Names the teacher: everything that can change it."""
        parts = ("numerics", "contents", "task", "data", "teacher", "finetune", "protocol", "precision", "seed")
        return digest(without_student({part: self.identity[part] for part in parts}))

    @property
    def importance_key(self) -> str:
        """Names the importance scores; how they are ranked comes after."""
        return digest([self.teacher_key, self.config.pruning.importance_rows])

    @cached_property
    def train(self) -> EncodedRows:
        """The encoded training split."""
        return self.encode(self.splits.train)

    @cached_property
    def selection(self) -> EncodedRows:
        """The encoded selection split."""
        return self.encode(self.splits.selection)

    @cached_property
    def validation(self) -> dict[str, EncodedRows]:
        """The encoded validation sets."""
        return {name: self.encode(rows) for name, rows in self.splits.validation.items()}

    def encode(self, rows: Rows) -> EncodedRows:
        """Encode rows; encodings are cached under the storage root once a run has made it."""
        cache = self.shared_folder / "encodings" if self.shared_folder.is_dir() else None
        return encode(rows, self.tokenizer, self.config.data.max_length, cache)

    def structure(self, scale_percent: int) -> Structure:
        """A structure of the right size for counting, before importance says which layers lose what."""
        return planned_structure(self.config, self.shape, scale_percent)

    @property
    def student_shape(self) -> EncoderShape:
        """Sizes of the student before any pruning: the teacher's, unless it has a checkpoint of its own."""
        return self.shape if self.own_student is None else self.own_student.shape

    @property
    def kept_layers(self) -> tuple[int, ...]:
        """The teacher's layers that the student is made of; all of them for a pruned student."""
        return kept_layers(self.config, self.shape)

    def source_percent(self, step: DistilStep) -> int:
        """The scale of the model that a step distils from; before the choice, the middle of the grid."""
        if step.source == CHOSEN:
            scales = self.config.candidate_scales()
            return scales[len(scales) // 2]
        return WHOLE if step.source == TEACHER else step.source

    def made_structure(self, step: DistilStep) -> Structure:
        """Of the model that a step makes, likewise of the right size for counting."""
        if step.makes_student and self.own_student is not None:
            return self.own_student.structure
        if step.makes_student:
            return planned_student(self.config, self.shape, self.source_percent(step))
        return self.structure(step.scale_percent)


def prepare(config: RunConfig) -> Prepared:
    """Check a recipe against its data, model and storage; starts nothing.

    Raises:
        UserError: for the first mistake found.
    """
    splits = load_splits(config)
    if isinstance(config.teacher, BuiltinTeacherConfig):
        tokenizer: PreTrainedTokenizerBase = builtin_tokenizer()
        fine_tuned, teacher_digest = False, "builtin"
        with torch.device("meta"):
            model = build_teacher(config.teacher, splits.task, len(builtin_vocabulary()), config.seed)
        limit = 128
    else:
        tokenizer = load_tokenizer(config.teacher)
        model = build_unfilled(config.teacher, splits.task)
        fine_tuned = is_fine_tuned(config.teacher)
        limit = position_limit(model.config)
        teacher_digest = content_digest(config.teacher)
    _check_tokenizer(tokenizer, model)
    if config.data.max_length > limit:
        raise UserError(f"data.max_length: {config.data.max_length} is more than the teacher's {limit} positions")
    shape = shape_of(model)
    config = with_student_scale(config, shape.num_layers)
    config, own_student = with_own_student(config, splits.task, tokenizer, shape)
    check_structures(config, shape)
    contents = {"data": splits.digest, "teacher": teacher_digest}
    identity = run_identity(config, contents if own_student is None else {**contents, "student": own_student.digest})
    prepared = Prepared(
        config=config,
        splits=splits,
        tokenizer=tokenizer,
        plan=shared_steps_needed(build_plan(config), own_student),
        shape=shape,
        identity=identity,
        name=run_name(config, identity),
        teacher_is_fine_tuned=fine_tuned,
        own_student=own_student,
    )
    check_objective(prepared)
    check_storage(prepared)
    return prepared


def check_storage(prepared: Prepared) -> None:
    """Refuse a storage that cannot be written and a run directory that another config made.

    Raises:
        UserError: saying which.
    """
    if "://" in prepared.config.storage:
        raise UserError(
            f"storage: {prepared.config.storage} is not a folder; give a path that every worker can reach (a shared "
            "file system on a cluster)"
        )
    existing = prepared.storage
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"storage: {prepared.config.storage} cannot be written ({existing} is not a writable folder)")
    folder = prepared.run_folder
    if folder.resolve().parent != prepared.storage:
        raise UserError(f"name: {prepared.name!r} leaves the storage root {prepared.storage}; choose another name")
    marker = folder / "identity.json"
    if not folder.exists():
        return
    try:
        found = json.loads(marker.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if any(folder.iterdir()):
            raise UserError(f"name: {folder} exists and is not a run's folder; choose another name") from None
        return
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"name: {marker} cannot be read ({error}); choose another name or remove {folder}") from error
    if not isinstance(found, dict):
        raise UserError(f"name: {marker} is not a run's; choose another name or remove {folder}")
    if found != json.loads(json.dumps(prepared.identity)):
        changed = sorted(key for key in prepared.identity if found.get(key) != prepared.identity[key])
        raise UserError(
            f"name: {folder} was made by another config (different: {', '.join(changed) or 'keys'}); choose another "
            "name or remove it"
        )


def _check_tokenizer(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> None:
    if tokenizer.pad_token_id is None:
        raise UserError("teacher.path: the tokenizer has no padding token; use a teacher whose tokenizer has one")
    if not tokenizer.is_fast:
        raise UserError("teacher.path: the tokenizer has no fast (tokenizer.json) version; use a teacher that has one")
    embeddings = int(model.config.vocab_size)
    if len(tokenizer) > embeddings:
        raise UserError(f"teacher.path: the tokenizer has {len(tokenizer)} tokens, but the model embeds {embeddings}")
