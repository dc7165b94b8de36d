"""The README.md of a saved model's folder: what it is, and how it loads each way."""

from transformers import PreTrainedConfig, PreTrainedModel

from minidisc_ray.models.families import family_of
from minidisc_ray.models.problem_type import output_of
from minidisc_ray.models.pruned import structure_of
from minidisc_ray.models.registration import PRUNED_PREFIX

_LOADING = """\
With torch and transformers alone; this runs `modeling_minidisc.py`, so read it first:

    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline
    place = "{place}"
    classify = pipeline("text-classification", place, trust_remote_code=True)
    print(classify("a text", truncation=True{options}))
    model = AutoModelForSequenceClassification.from_pretrained(place, trust_remote_code=True)
    tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=True)

With minidisc_ray, which knows the classes; nothing that lies beside the weights is run:

    import minidisc_ray
    model = AutoModelForSequenceClassification.from_pretrained(place)

Without either transformers stops, asks whether to run the custom code, or says that it does not recognise the model
type: use one of the two ways above. `AutoModel` and `AutoModelForTokenClassification` load the same encoder.
"""

_LOADING_DENSE = """\
With torch and transformers:

    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline
    place = "{place}"
    classify = pipeline("text-classification", place)
    print(classify("a text", truncation=True{options}))
    model = AutoModelForSequenceClassification.from_pretrained(place)
    tokenizer = AutoTokenizer.from_pretrained(place)
"""

_TEXT = """\
# A pruned {family} model

{percent}% of the encoder of the {family} model that it was cut from; by layer, heads: {heads}; feed-forward neurons:
{neurons}. {gives} Its layers have sizes of their own, which transformers alone does not build, so
`modeling_minidisc.py` lies beside the weights.

{loading}"""


def predicts(config: PreTrainedConfig) -> str:
    """What a classifier predicts, in a sentence."""
    names = ", ".join(str(name) for name in (config.id2label or {}).values())
    match output_of(config):
        case "value":
            return "It gives a number."
        case "labels":
            return f"Labels, any number for each text: {names}; those whose sigmoid is above 0.5."
        case "class":
            return f"Classes: {names}."


def loading_text(config: PreTrainedConfig, place: str) -> str:
    """How a model's folder loads, with code; ``place`` is its path or name there."""
    text = _LOADING if config.model_type.startswith(PRUNED_PREFIX) else _LOADING_DENSE
    options = ', top_k=None, function_to_apply="sigmoid"' if output_of(config) == "labels" else ""
    return text.format(place=place, options=options)


def folder_readme(model: PreTrainedModel) -> str | None:
    """The README.md of a pruned model; None for a dense model, which needs none."""
    if not model.config.model_type.startswith(PRUNED_PREFIX):
        return None
    structure = structure_of(model.config)
    return _TEXT.format(
        family=family_of(model.config.model_type).name,
        percent=structure.scale_percent,
        heads=", ".join(map(str, structure.heads)),
        neurons=", ".join(map(str, structure.neurons)),
        gives=predicts(model.config),
        loading=loading_text(model.config, "THIS FOLDER"),
    )
