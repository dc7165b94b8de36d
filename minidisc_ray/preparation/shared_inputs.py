"""What several recipes read alike: rows, a teacher's sizes and tokenizer, encoded rows. Each is read once."""

from dataclasses import dataclass, field

import torch
from transformers import PreTrainedTokenizerBase

from minidisc_ray.configs.model import BuiltinTeacherConfig
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.core.flops import EncoderShape
from minidisc_ray.core.task import Task
from minidisc_ray.data import (
    EncodedRows,
    Splits,
    builtin_tokenizer,
    builtin_vocabulary,
    load_splits,
    tokenizer_digest,
)
from minidisc_ray.models.contents import check_all_used, content_digest
from minidisc_ray.models.families import shape_of
from minidisc_ray.models.loading import build_teacher, is_fine_tuned, load_tokenizer, position_limit
from minidisc_ray.models.unfilled import build_unfilled
from minidisc_ray.preparation.tokenizer import check_tokenizer


@dataclass(frozen=True)
class TeacherParts:
    """A recipe's teacher, as known before its weights are read.

    Attributes:
        tokenizer: the teacher's.
        shape: its sizes.
        is_fine_tuned: whether it came with a trained head.
        max_length: the longest row, in tokens, that it has positions for.
        digest: a hash of its config and weights.
        tokenizer_digest: a hash of its tokenizer's state.
    """

    tokenizer: PreTrainedTokenizerBase
    shape: EncoderShape
    is_fine_tuned: bool
    max_length: int
    digest: str
    tokenizer_digest: str


@dataclass(frozen=True)
class SharedInputs:
    """Inputs that were read so far, by the sections of the recipes that name them."""

    _splits: dict[str, Splits] = field(default_factory=dict)
    _teachers: dict[str, TeacherParts] = field(default_factory=dict)
    _encoded: dict[str, dict[str, EncodedRows]] = field(default_factory=dict)

    def splits(self, config: RunConfig) -> Splits:
        """The rows of a recipe.

        Raises:
            UserError: if they cannot be read or used.
        """
        key = config.model_dump_json(include={"task", "data", "protocol"})
        if key not in self._splits:
            self._splits[key] = load_splits(config)
        return self._splits[key]

    def teacher(self, config: RunConfig, task: Task) -> TeacherParts:
        """The teacher of a recipe, for a task.

        Raises:
            UserError: if it cannot be loaded, or its tokenizer does not fit it.
        """
        # The task's classes are part of the teacher's head.
        key = config.model_dump_json(include={"task", "data", "teacher"})
        if key not in self._teachers:
            self._teachers[key] = _read_teacher(config, task)
        return self._teachers[key]

    def encoded(self, config: RunConfig) -> dict[str, EncodedRows]:
        """The splits of a recipe that were encoded so far, by name; what is added is there for the next recipe."""
        key = config.model_dump_json(include={"task", "data", "protocol", "teacher", "storage"})
        return self._encoded.setdefault(key, {})


def _read_teacher(config: RunConfig, task: Task) -> TeacherParts:
    teacher = config.teacher
    if isinstance(teacher, BuiltinTeacherConfig):
        tokenizer: PreTrainedTokenizerBase = builtin_tokenizer()
        with torch.device("meta"):
            model = build_teacher(teacher, task, len(builtin_vocabulary()), config.seed)
        fine_tuned, limit, digest = False, 128, "builtin"
    else:
        tokenizer = load_tokenizer(teacher)
        model = build_unfilled(teacher, task)
        fine_tuned, limit, digest = is_fine_tuned(teacher), position_limit(model.config), content_digest(teacher)
        check_all_used(teacher, model)
    check_tokenizer(tokenizer, model)
    return TeacherParts(tokenizer, shape_of(model), fine_tuned, limit, digest, tokenizer_digest(tokenizer))
