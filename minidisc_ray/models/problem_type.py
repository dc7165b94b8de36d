"""What a classifier's outputs mean, as its config says it (``problem_type`` of transformers)."""

from transformers import PreTrainedConfig

from minidisc_ray.core.task import Output

PROBLEM_TYPES: dict[Output, str] = {
    "class": "single_label_classification",
    "labels": "multi_label_classification",
    "value": "regression",
}
_OUTPUTS = {name: output for output, name in PROBLEM_TYPES.items()}


def output_of(config: PreTrainedConfig) -> Output:
    """What a classifier's outputs mean; classes where its config does not say it."""
    return _OUTPUTS.get(str(config.problem_type), "class")
