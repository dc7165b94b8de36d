"""The README.md of a saved model's folder: what it is, and how it loads each way."""

from transformers import PreTrainedConfig, PreTrainedModel

from minidisc_ray.models.families import family_of
from minidisc_ray.models.pruned import structure_of
from minidisc_ray.models.registration import PRUNED_PREFIX

LOADING = """\
With torch and transformers alone; this runs `modeling_minidisc.py`, so read it first:

    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline
    place = "{place}"
    classify = pipeline("text-classification", place, trust_remote_code=True)
    print(classify("a text", truncation=True))
    model = AutoModelForSequenceClassification.from_pretrained(place, trust_remote_code=True)
    tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=True)

With minidisc_ray, which knows the classes; nothing that lies beside the weights is run:

    import minidisc_ray
    model = AutoModelForSequenceClassification.from_pretrained(place)

Without either transformers stops, asks whether to run the custom code, or says that it does not recognise the model
type: use one of the two ways above. `AutoModel` and `AutoModelForTokenClassification` load the same encoder.
"""

LOADING_DENSE = """\
With torch and transformers:

    from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline
    place = "{place}"
    classify = pipeline("text-classification", place)
    print(classify("a text", truncation=True))
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
    if config.problem_type == "regression":
        return "It gives a number."
    return f"Classes: {', '.join(str(name) for name in (config.id2label or {}).values())}."


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
        loading=LOADING.format(place="THIS FOLDER"),
    )
