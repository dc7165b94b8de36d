"""What a classifier's outputs mean, as its config says it (``problem_type`` of transformers)."""

from transformers import PreTrainedConfig

from minidisc_ray.core.task import Output, Task

PROBLEM_TYPES: dict[Output, str] = {
    "class": "single_label_classification",
    "labels": "multi_label_classification",
    "value": "regression",
}
_OUTPUTS = {name: output for output, name in PROBLEM_TYPES.items()}


def output_of(config: PreTrainedConfig) -> Output:
    """What a classifier's outputs mean; classes where its config does not say it."""
    return _OUTPUTS.get(str(config.problem_type), "class")


def set_labels(config: PreTrainedConfig, task: Task) -> None:
    """Give a config the names and the kind of a task's labels, in place."""
    names = task.label_names or ("value",)
    config.id2label = dict(enumerate(names))
    config.label2id = {name: index for index, name in enumerate(names)}
    config.problem_type = PROBLEM_TYPES[task.output]


def output_flaw(config: PreTrainedConfig, task: Task) -> str | None:
    """Why a trained head cannot be a task's, in words, where one gives one class and the other any number of labels."""
    is_multilabel = output_of(config) == "labels"
    if config.problem_type is None or is_multilabel == task.is_multilabel:
        return None
    kinds = ("any number of labels of a row", "one class of a row")
    gives, needs = kinds if is_multilabel else reversed(kinds)
    return f"gives {gives} ({config.problem_type}), but {task.name} needs {needs}"
