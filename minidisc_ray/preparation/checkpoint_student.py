"""A student with its own checkpoint: it is trained by the model above it, not cut from it."""

from dataclasses import dataclass, replace
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.model import CheckpointStudentConfig
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.core.flops import EncoderShape, encoder_parameters
from minidisc_ray.core.structure import Structure
from minidisc_ray.core.task import Task
from minidisc_ray.data.tokenizer import gives_token_types, largest_id
from minidisc_ray.models.contents import check_all_used, content_digest
from minidisc_ray.models.families import family_of, num_token_types, shape_of
from minidisc_ray.models.loading import is_fine_tuned, load_tokenizer, position_limit
from minidisc_ray.models.pruned import structure_of
from minidisc_ray.models.unfilled import build_unfilled
from minidisc_ray.preparation.student_scale import checkpoint_percent
from minidisc_ray.schedules import Plan, build_plan
from minidisc_ray.schedules.plan import DistilStep, ImportanceStep


@dataclass(frozen=True)
class CheckpointStudent:
    """A student with its own checkpoint, as known before its weights are read.

    Attributes:
        shape: the student's sizes.
        structure: the student's heads and neurons; its scale is the student's size relative to the teacher's.
        has_trained_head: whether the checkpoint has a trained head for the task.
        source: the checkpoint's name, the layers taken and the head, in words.
        digest: a hash of the checkpoint's files.
    """

    shape: EncoderShape
    structure: Structure
    has_trained_head: bool
    source: str
    digest: str

    @property
    def encoder_parameters(self) -> int:
        """Parameters of the student's encoder layers."""
        return encoder_parameters(self.shape, self.structure)


def with_checkpoint_student(
    config: RunConfig, task: Task, tokenizer: PreTrainedTokenizerBase, teacher: EncoderShape
) -> tuple[RunConfig, CheckpointStudent | None]:
    """The recipe with its student's scale filled in, and the student; the recipe unchanged and None for other kinds.

    Args:
        config: the recipe.
        task: the resolved task.
        tokenizer: the teacher's; the student reads the same encoded rows.
        teacher: the teacher's sizes.

    Raises:
        UserError: if the checkpoint cannot be the student of this teacher on this task.
    """
    student = config.student
    if not isinstance(student, CheckpointStudentConfig):
        return config, None
    model = build_unfilled(student, task)
    _check_vocabulary(student, model, tokenizer)
    _check_inputs(config, model, task, tokenizer)
    shape, kept = shape_of(model), structure_of(model.config)
    percent = checkpoint_percent(student, encoder_parameters(shape, kept), encoder_parameters(teacher, teacher.full()))
    config = config.with_student_scale(percent)
    has_trained_head = is_fine_tuned(student)
    digest = content_digest(student)
    check_all_used(student, model)
    return config, CheckpointStudent(
        shape=shape,
        structure=Structure(percent, kept.heads, kept.neurons),
        has_trained_head=has_trained_head,
        source=_describe(student, has_trained_head),
        digest=digest,
    )


def plan_for(config: RunConfig, checkpoint_student: CheckpointStudent | None) -> Plan:
    """The plan of a recipe, without the importance step if no model of it is pruned.

    Cost ratios compare with the conventional schedule, which must not be charged for a step that it does not need.
    """
    plan = build_plan(config)
    is_unpruned = all(isinstance(step, DistilStep) and step.makes_student for _, step in plan.own_steps())
    if checkpoint_student is None or not is_unpruned:
        return plan
    return replace(plan, shared=tuple(step for step in plan.shared if not isinstance(step, ImportanceStep)))


def _check_vocabulary(
    student: CheckpointStudentConfig, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    """Refuse another vocabulary than the teacher's: both models read the same encoded rows."""
    ours, theirs = load_tokenizer(student).get_vocab(), tokenizer.get_vocab()
    different = [token for token in ours.keys() | theirs.keys() if ours.get(token) != theirs.get(token)]
    if different:
        raise UserError(
            f"student.path: the vocabulary of {student.path} is not the teacher's ({len(different):,} tokens differ, "
            f"{min(different)[:40]!r} for one), but both read the same rows; use a checkpoint with the teacher's "
            "vocabulary"
        )
    embeddings = int(model.config.vocab_size)
    if (largest := largest_id(tokenizer)) >= embeddings:
        raise UserError(
            f"student.path: the tokenizer's largest token id is {largest}, but {student.path} embeds {embeddings} "
            "tokens, from 0; use another checkpoint"
        )


def _check_inputs(config: RunConfig, model: PreTrainedModel, task: Task, tokenizer: PreTrainedTokenizerBase) -> None:
    limit = position_limit(model.config)
    if config.data.max_length > limit:
        raise UserError(f"data.max_length: {config.data.max_length} is more than the student's {limit} positions")
    marks_two = len(task.text_columns) > 1 and gives_token_types(tokenizer)
    if marks_two and family_of(model.config.model_type).has_token_types and num_token_types(model.config) < 2:
        raise UserError(
            f"student.path: the teacher's tokenizer gives the two texts of {task.name} different token types, but the "
            "checkpoint embeds only one type; use another checkpoint"
        )


def _describe(student: CheckpointStudentConfig, has_trained_head: bool) -> str:
    layers = "" if student.num_layers is None else f", its first {student.num_layers} layers"
    return f"{Path(student.path).name}{layers}, {'its own head' if has_trained_head else 'a new head'}"
