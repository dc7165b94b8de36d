"""Observations of our own runs, from the files of their folders."""

from pathlib import Path
from typing import Any, Final

from minidisc_ray.autodistiller.tables.observation import Observation
from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.identity import digest
from minidisc_ray.configs.loader import load_recipe
from minidisc_ray.configs.model import (
    BuiltinTeacherConfig,
    CheckpointStudentConfig,
    LayersStudentConfig,
    StudentConfig,
    TeacherConfig,
)
from minidisc_ray.configs.objective import (
    DistillerConfig,
    KDConfig,
    LabelsConfig,
    MIAlphaConfig,
    ObjectiveConfig,
    ODConfig,
)
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.files.places import place_of
from minidisc_ray.files.writing import read_json
from minidisc_ray.run_files.result import RunResult, load_result

SOURCE: Final = "run"
# What has to be equal for a fine-tuned student to be the same one, without its teacher.
_OF_STUDENT: Final = ("contents", "task", "data", "teacher", "student", "protocol")
_CORRELATIONS: Final = ("spearman", "pearson")


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run, finished or not."""
    return any((folder / name).exists() for name in ("identity.json", "result.json"))


def observe_run(folder: Path) -> tuple[Observation, RunConfig, str]:
    """The observation of a finished run, without dataset features; its recipe; and the digest of its rows.

    Raises:
        UserError: if a file of the run is missing or damaged, or its teacher scores 0.
    """
    result = load_result(folder)
    identity = read_json(folder / "identity.json")
    if not isinstance(identity, dict) or not _is_of(identity, result):
        raise UserError(f"{place_of(folder / 'identity.json')}: missing, damaged or of another run than result.json")
    config = load_recipe(folder / "config.yaml")
    metric = result.primary_metric
    teacher_score, score = result.teacher.validation_metrics[metric], result.student.validation_metrics[metric]
    if teacher_score == 0:
        raise UserError(f"{place_of(folder)}: its teacher's {metric} is 0, so that no score is a share of it")
    distil, teacher = config.distil_training, teacher_name(config.teacher)
    observation = Observation(
        key=digest(identity),
        source=SOURCE,
        run=result.name,
        task=result.task,
        student=student_name(config.student, teacher),
        teacher=teacher,
        **components(config.objective),
        schedule=result.label or result.method,
        objective=result.objective,
        num_assistants=len(result.assistants),
        scale_percent=result.student.scale_percent,
        learning_rate=distil.learning_rate,
        batch_size=distil.batch_size,
        num_epochs=distil.num_epochs,
        student_parameters=result.student.total_parameters,
        teacher_parameters=result.teacher.total_parameters,
        num_examples=result.splits["train"].rows if "train" in result.splits else None,
        num_labels=_num_labels(result),
        teacher_score=teacher_score,
        score=score,
        ratio_to_teacher=score / teacher_score,
        metric=metric,
        seed=result.seed,
        protocol=result.protocol,
        comparable=digest({part: identity.get(part) for part in _OF_STUDENT}),
        is_finetuned=isinstance(config.objective, LabelsConfig) and result.method == "conventional",
        training_tflops=result.cost.training_flops / 1e12,
        device_hours=result.cost.device_hours,
        device_unit=result.cost.device_unit,
    )
    return observation, config, result.data_digest


def components(objective: ObjectiveConfig) -> dict[str, Any]:
    """The components of Distiller's pipeline that an objective is made of; none for an objective that is none of it."""
    parts: dict[str, Any] = {"augmentation": "none", "mixup": False, "augmentation_repeats": 1}
    match objective:
        case DistillerConfig(intermediate=inter):
            if objective.beta1 or objective.beta2:
                parts["prediction_loss"] = objective.prediction
            if not objective.intermediate_weight:
                return {**parts, "intermediate_loss": "none"}
            alpha = inter.alpha if isinstance(inter, MIAlphaConfig) else None
            return {
                **parts,
                "intermediate_loss": inter.kind,
                "intermediate_strategy": objective.mapping,
                "alpha": alpha,
            }
        case LabelsConfig():
            return {**parts, "intermediate_loss": "none"}
        case KDConfig() | ODConfig():
            return {**parts, "intermediate_loss": "none", "prediction_loss": "ce"}
    return parts


def teacher_name(teacher: TeacherConfig) -> str:
    """The teacher's folder or name on the hub, without what is before its last slash."""
    if isinstance(teacher, BuiltinTeacherConfig):
        return f"builtin {teacher.num_layers}L {teacher.hidden_size}H"
    name = Path(teacher.path).name
    return name if teacher.num_layers is None else f"{name} {teacher.num_layers}L"


def student_name(student: StudentConfig, teacher: str) -> str:
    """The student: its own checkpoint's name, or its teacher's with what is kept of it."""
    if isinstance(student, CheckpointStudentConfig):
        name = Path(student.path).name
        return name if student.num_layers is None else f"{name} {student.num_layers}L"
    if isinstance(student, LayersStudentConfig):
        width = "" if student.width_percent == 100 else f" {student.width_percent}%"
        return f"{teacher} {student.num_layers}L{width}"
    return f"{teacher} {student.scale_percent}%"


def _num_labels(result: RunResult) -> int | None:
    """The width of the output; older results of classifications lack it."""
    if result.primary_metric in _CORRELATIONS:
        return 1
    return len(result.label_names) or None


def _is_of(identity: dict[str, Any], result: RunResult) -> bool:
    method = {name: value for name, value in identity.items() if name != "seed"}
    return digest(method) == result.method_digest and identity.get("seed") == result.seed
