"""Registers pruned students with Hugging Face's Auto classes, without importing transformers or torch.

The registry gets a proxy for each config class, which imports the real classes when a student is loaded.
"""

import importlib
from typing import Any

import wrapt

PRUNED_PREFIX = "minidisc_"
# Classes in `models/modeling_minidisc.py` by the dense model's model_type.
CONFIG_CLASSES = {
    "bert": "PrunedBertConfig",
    "roberta": "PrunedRobertaConfig",
    "electra": "PrunedElectraConfig",
    "distilbert": "PrunedDistilBertConfig",
}


def register_when_imported() -> None:
    """Register the students' configs as soon as transformers' Auto classes are imported, now or later."""
    wrapt.register_post_import_hook(_register, "transformers.models.auto.configuration_auto")


def _register(configuration_auto: Any) -> None:
    for family, class_name in CONFIG_CLASSES.items():
        configuration_auto.CONFIG_MAPPING.register(PRUNED_PREFIX + family, _proxy(class_name), exist_ok=True)


def _proxy(class_name: str) -> Any:
    return wrapt.LazyObjectProxy(
        lambda: getattr(importlib.import_module("minidisc_ray.models.pruned").modeling, class_name)
    )
