"""Checks that a classifier's labels are those of a task."""

from transformers import PreTrainedConfig

from minidisc_ray.configs.base import UserError
from minidisc_ray.core.labels import label_key
from minidisc_ray.core.task import Task
from minidisc_ray.models.problem_type import output_flaw


def check_labels(config: PreTrainedConfig, task: Task, where: str, section: str = "teacher") -> None:
    """Refuse a trained head that cannot be the task's.

    Args:
        config: of the model.
        task: what it is to predict.
        where: the model's path, for messages.
        section: of the recipe that names it.

    Raises:
        UserError: if the number of outputs, what they mean, or the label names differ.
    """
    found = int(config.num_labels)
    if (flaw := output_flaw(config, task)) is not None:
        raise UserError(
            f"{section}.path: the head of {where} {flaw}; use another {section}, or {section}.fine_tuned=false to "
            "train a new head"
        )
    if found != task.num_labels:
        raise UserError(
            f"{section}.path: the head of {where} has {found} outputs, but {task.name} needs {task.num_labels}; use "
            f"another {section}, or {section}.fine_tuned=false to train a new head"
        )
    names = [str((config.id2label or {}).get(i, f"LABEL_{i}")) for i in range(found)]
    wanted = list(task.label_names)
    keys, wanted_keys = [label_key(name) for name in names], [label_key(name) for name in wanted]
    # Other names (LABEL_0, yes, ...) are accepted; the task's own names in another order cannot be right.
    if any(key in wanted_keys and wanted_keys.index(key) != place for place, key in enumerate(keys)):
        raise UserError(
            f"{section}.path: the head of {where} has its labels in the order {names}, but {task.name} has {wanted}; "
            f"use another {section}, or {section}.fine_tuned=false"
        )


def check_classes(config: PreTrainedConfig, task: Task, where: str) -> None:
    """Refuse a finished model whose classes are not the task's, by number, name and order.

    Raises:
        UserError: naming both.
    """
    found = int(config.num_labels)
    if found != task.num_labels:
        raise UserError(
            f"student: {where} has {found} output{'s' if found > 1 else ''}, but {task.name} needs {task.num_labels}; "
            "use the student's own recipe"
        )
    names = [str(name) for name in (config.id2label or {}).values()]
    if not task.is_regression and names != list(task.label_names):
        raise UserError(
            f"student: the classes of {where} are {', '.join(names)}; the recipe's are {', '.join(task.label_names)}; "
            "use the student's own recipe"
        )
