"""The model card of a finished run's student, made from the files of the run."""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]
from transformers import PreTrainedConfig

from minidisc_ray.configs.base import UserError, first_line
from minidisc_ray.configs.data import FilesDataConfig, HubDataConfig
from minidisc_ray.configs.model import PretrainedTeacherConfig
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.evaluation import Interval
from minidisc_ray.export.interval import student_interval
from minidisc_ray.inference.profile import BATCH_ROWS, TEACHER, ProfileRow
from minidisc_ray.models.folder_readme import loading_text, predicts
from minidisc_ray.models.problem_type import output_of
from minidisc_ray.models.registration import PRUNED_PREFIX
from minidisc_ray.run_files.result import RunResult

_TEMPLATE = Path(__file__).with_name("card.md.jinja")
_NOT_STATED = "not stated"
_MINIDISC = (
    " MiniDisc (Minimal Distillation Schedule) trains nested models of many sizes together, chooses one of them as the "
    "teacher's assistant, and distils it to the student."
)


@dataclass(frozen=True)
class CardFacts:
    """The input of a model card.

    Attributes:
        run_folder: of the finished run.
        config: its recipe, with the licences that it gives.
        result: its result.
        student: the config of the student.
        text_columns: the columns that the student reads.
        max_length: tokens of a row that the student reads.
        speed: measured on this machine: the teacher's row first, if it still exists, and the student's last.
    """

    run_folder: Path
    config: RunConfig
    result: RunResult
    student: PreTrainedConfig
    text_columns: tuple[str, ...]
    max_length: int
    speed: Sequence[ProfileRow]

    @property
    def is_pruned(self) -> bool:
        """Whether the student needs the modelling file beside its weights."""
        return bool(self.student.model_type.startswith(PRUNED_PREFIX))


def model_card(facts: CardFacts, name: str) -> ModelCard:
    """The card of a run's student, with ``name`` as its title and in the code that loads it.

    Raises:
        UserError: if the run's predictions are damaged, or its result lacks a needed value.
    """
    versions = ", ".join(f"{key} {value}" for key, value in facts.result.versions.items())
    interval = student_interval(facts.run_folder, facts.result)
    try:
        rows = [*_score_rows(facts, interval), *_size_rows(facts), *_speed_rows(facts)]
        card: ModelCard = ModelCard.from_template(
            _card_data(facts, name),
            template_path=str(_TEMPLATE),
            name=_line(name),
            what=_line(_summary(facts)),
            table=[tuple(map(_line, row)) for row in rows],
            notes=[_line(note) for note in _notes(facts)],
            origin=[_line(entry) for entry in _origin(facts)],
            loading=loading_text(facts.student, name),
            limits=[_line(limit) for limit in _limits(facts.result, interval)],
            versions=_line(versions),
        )
    except (KeyError, ZeroDivisionError) as error:
        raise UserError(
            f"{facts.run_folder}: result.json lacks a value for the card ({first_line(error)}); run its recipe again"
        ) from error
    return card


def _line(text: str) -> str:
    """A text as one line of Markdown, with HTML and Markdown in it escaped."""
    plain = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\|\[\]*])", r"\\\1", plain)


def _card_data(facts: CardFacts, name: str) -> ModelCardData:
    result, config = facts.result, facts.config
    teacher = config.teacher.path if isinstance(config.teacher, PretrainedTeacherConfig) else None
    is_on_hub = teacher is not None and is_repository(teacher) and not Path(teacher).exists()
    data = config.data.path if isinstance(config.data, HubDataConfig) else None
    found = EvalResult(
        task_type="text-classification",
        dataset_type=data or result.task,
        dataset_name=result.task,
        metric_type=result.primary_metric,
        metric_value=round(result.student.validation_metrics[result.primary_metric], 6),
    )
    return ModelCardData(
        base_model=teacher if is_on_hub else None,
        datasets=data,
        eval_results=[found],
        library_name="transformers",
        metrics=[result.primary_metric],
        model_name=name.split("/")[-1],
        pipeline_tag="text-classification",
        tags=["minidisc_ray", "distillation", *(["pruning", "custom_code"] if facts.is_pruned else [])],
    )


def is_repository(name: str) -> bool:
    """Whether a text is a valid name of a repository on the hub; an absolute path is not."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def _summary(facts: CardFacts) -> str:
    result = facts.result
    share = 100 * result.student.encoder_parameters / result.teacher.encoder_parameters
    return (
        f"A text classifier for {result.task}, distilled from a larger one; its encoder's layers have {share:.0f}% of "
        f"the teacher's parameters. {predicts(facts.student)} It reads {' and '.join(facts.text_columns)}, truncated "
        f"to {facts.max_length} tokens."
    )


def _score_rows(facts: CardFacts, interval: Interval | None) -> list[tuple[str, str, str]]:
    result, metric = facts.result, facts.result.primary_metric
    own = _points(result.student.validation_metrics[metric])
    if interval is not None:
        own += f" (95% interval {_points(interval.low)} to {_points(interval.high)})"
    rows = [(f"{metric}, in points", own, _points(result.teacher.validation_metrics[metric]))]
    if result.majority_metrics:
        is_multilabel = output_of(facts.student) == "labels"
        constant = "the commoner answer to each label" if is_multilabel else "the commonest class"
        rows.append((f"{metric} of always predicting {constant}", _points(result.majority_metrics[metric]), ""))
    return rows


def _size_rows(facts: CardFacts) -> list[tuple[str, str, str]]:
    student, teacher = facts.result.student, facts.result.teacher
    weights = sum(path.stat().st_size for path in (facts.run_folder / "student").glob("*.safetensors"))
    return [
        ("Parameters of the encoder's layers", f"{student.encoder_parameters:,}", f"{teacher.encoder_parameters:,}"),
        ("All parameters", f"{student.total_parameters:,}", f"{teacher.total_parameters:,}"),
        ("Weights' file, MiB", _mebibytes(weights), f"{_mebibytes(4 * teacher.total_parameters)} in float32"),
    ]


def _speed_rows(facts: CardFacts) -> list[tuple[str, str, str]]:
    if not facts.speed:
        return []
    student = facts.speed[-1]
    teacher = facts.speed[0] if facts.speed[0].model == TEACHER else None
    return [
        (
            f"Latency of {rows}, ms (median)",
            _milliseconds(getattr(student, key)),
            _milliseconds(getattr(teacher, key)) if teacher is not None else "",
        )
        for rows, key in (("1 row", "latency_ms_1_row"), (f"{BATCH_ROWS} rows", "latency_ms_32_rows"))
    ]


def _notes(facts: CardFacts) -> list[str]:
    result = facts.result
    sets = {name: split.rows for name, split in result.splits.items() if name not in ("train", "selection")}
    notes = [f"Scored on {', '.join(f'{rows:,} rows of {name}' for name, rows in sets.items())}; seed {result.seed}."]
    if facts.speed:
        row = facts.speed[-1]
        notes.append(
            f"Latency: rows of {row.length} tokens, {row.device_name}, {row.threads} CPU "
            f"thread{'s' if row.threads != 1 else ''}, torch "
            f"{row.torch_version}, {row.dtype}, {row.repeats} repeats, models in turns."
        )
    return notes


def _origin(facts: CardFacts) -> list[str]:
    result, config, cost = facts.result, facts.config, facts.result.cost
    data = config.data
    rows = f"{result.task}, from local files" if isinstance(data, FilesDataConfig) else "generated by minidisc_ray"
    if isinstance(data, HubDataConfig):
        rows = data.path
    chain = " to ".join(f"{model.scale_percent}%" for model in (*result.assistants, result.student))
    teraflops = (cost.flops or cost.training_flops) / 1e12
    kind = "of training and evaluation" if cost.flops else "of training"
    return [
        f"Teacher: {result.teacher_source}; licence: {getattr(config.teacher, 'license', None) or _NOT_STATED}.",
        f"Data: {rows}, {result.splits['train'].rows:,} training rows; licence: {data.license or _NOT_STATED}.",
        f"Method: {result.label}, loss {result.objective}; from the teacher to models with {chain} of its attention "
        "heads and feed-forward neurons." + (_MINIDISC if result.method == "minidisc" or result.race else ""),
        f"Cost, without the teacher's: {cost.device_hours:.3g} {cost.device_unit}, {teraflops:.3g} TFLOPs {kind}.",
        "Licence of this model: for its owner to state, as `license:` in the metadata above.",
    ]


def _limits(result: RunResult, interval: Interval | None) -> list[str]:
    over_rows = "The interval is over validation rows alone: " if interval is not None else "It was scored once: "
    limits = [
        f"{over_rows}another seed, or another kind of text, may give another score.",
        "The student learned its teacher's mistakes too. Only the metric above was checked.",
    ]
    if cut := sum(split.truncated_rows for split in result.splits.values()):
        limits.append(f"{cut:,} rows were longer than the model reads, and were truncated.")
    if result.protocol == "paper":
        limits.append("Choices were made on the rows of the score, as in the paper, so the score is optimistic.")
    if result.teacher_may_have_seen_selection:
        limits.append("The teacher may have been trained on the rows that choices were made on.")
    if result.teacher_warning:
        limits.append(f"{result.teacher_warning[:1].upper()}{result.teacher_warning[1:]}.")
    return limits


def _points(metric: float) -> str:
    return f"{100 * metric:.1f}"


def _milliseconds(value: float) -> str:
    return f"{value:,.0f}" if value >= 99.95 else f"{value:#.3g}"


def _mebibytes(count: int) -> str:
    return f"{count / 2**20:.1f}"
