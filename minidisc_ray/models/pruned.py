"""Pruned models: their configs from structures, and their classes registered with the Auto classes."""

from typing import cast

from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    PreTrainedConfig,
    PreTrainedModel,
)

from minidisc_ray.core.grid import TEACHER_PERCENT
from minidisc_ray.core.structure import Structure
from minidisc_ray.models import modeling_minidisc as modeling
from minidisc_ray.models.families import family_of
from minidisc_ray.models.modeling_minidisc import auto_map_of, layer_sizes
from minidisc_ray.models.registration import CONFIG_CLASSES

_AUTO_CLASSES = {
    "Model": AutoModel,
    "ForSequenceClassification": AutoModelForSequenceClassification,
    "ForTokenClassification": AutoModelForTokenClassification,
}

PRUNED_CLASSES: dict[str, type[PreTrainedModel]] = {
    family: getattr(modeling, name.removesuffix("Config") + "ForSequenceClassification")
    for family, name in CONFIG_CLASSES.items()
}


def pruned_config(config: PreTrainedConfig, structure: Structure) -> PreTrainedConfig:
    """A dense or pruned model's config with a structure recorded in ``minidisc_layers``.

    A structure of fewer layers gives the config of a model of fewer layers. ``auto_map`` names the classes in the copy
    of ``modeling_minidisc.py`` that is saved with the model.
    """
    family = family_of(config.model_type)
    values = {key: value for key, value in config.to_dict().items() if key != "model_type"}
    values["minidisc_layers"] = [list(sizes) for sizes in zip(structure.heads, structure.neurons, strict=True)]
    values[config.attribute_map.get("num_hidden_layers", "num_hidden_layers")] = len(structure.heads)
    model_class = PRUNED_CLASSES[family.name]
    values["architectures"] = [model_class.__name__]
    values["auto_map"] = auto_map_of(model_class.config_class)
    values["minidisc_scale_percent"] = structure.scale_percent
    return cast(type[PreTrainedConfig], model_class.config_class)(**values)


def structure_of(config: PreTrainedConfig) -> Structure:
    """The structure that a pruned config records; a dense one keeps everything."""
    sizes = layer_sizes(config, family_of(config.model_type))
    return Structure(
        scale_percent=int(getattr(config, "minidisc_scale_percent", TEACHER_PERCENT)),
        heads=tuple(heads for heads, _ in sizes),
        neurons=tuple(neurons for _, neurons in sizes),
    )


def _register() -> None:
    """Register the pruned classes with the Auto classes, in place of the package's proxies."""
    for config_name in CONFIG_CLASSES.values():
        config_class = getattr(modeling, config_name)
        AutoConfig.register(config_class.model_type, config_class, exist_ok=True)
        for suffix, auto in _AUTO_CLASSES.items():
            model_class = getattr(modeling, config_name.removesuffix("Config") + suffix)
            auto.register(config_class, model_class, exist_ok=True)
            # Makes save_pretrained copy the file with the class.
            model_class.register_for_auto_class(auto.__name__)


_register()
