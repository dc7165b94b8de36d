"""The README.md of an export: what the model does, and how to load it."""

from typing import TYPE_CHECKING, Literal

from minidisc_ray.export.source import ExportSource
from minidisc_ray.models.loading import position_limit

if TYPE_CHECKING:
    from minidisc_ray.export.exporting import Check

_ONNX = """\
# {name}, for ONNX Runtime

{what}

`onnx/model.onnx` is the float32 graph{int8}: any batch size, up to {positions} tokens. `config.json` has the class
names, `tokenizer.json` the tokenizer, `export.json` the measurements of the export.

Python, in this folder, with onnxruntime, tokenizers and numpy only:

    import json, numpy, onnxruntime, tokenizers
    tokenizer = tokenizers.Tokenizer.from_file("tokenizer.json")
    tokenizer.enable_truncation({max_length})
    session = onnxruntime.InferenceSession("onnx/model.onnx"){or_int8}
    found = tokenizer.encode({sample})
    given = {{"input_ids": found.ids, "attention_mask": found.attention_mask, "token_type_ids": found.type_ids}}
    feed = {{i.name: numpy.array([given[i.name]], dtype=numpy.int64) for i in session.get_inputs()}}
    logits = session.run(["logits"], feed)[0]
    print({answer})

JavaScript, with Transformers.js, in node or a browser:

    import {{ env, pipeline }} from "@huggingface/transformers";
    env.localModelPath = "THE FOLDER THAT HOLDS THIS ONE"; env.allowRemoteModels = false;
    const classify = await pipeline("text-classification", "{name}", {{ dtype: {dtypes} }});
    console.log(await classify("a text"{all_labels}));
"""
_OPENVINO = """\
# {name}, for OpenVINO

{what}

`openvino_model.xml` and `openvino_model.bin`: any batch size, up to {positions} tokens. `config.json` has the class
names, `tokenizer.json` the tokenizer, `export.json` the measurements of the export.

Python, in this folder, with openvino, tokenizers and numpy only:

    import json, numpy, openvino, tokenizers
    tokenizer = tokenizers.Tokenizer.from_file("tokenizer.json")
    tokenizer.enable_truncation({max_length})
    model = openvino.Core().compile_model("openvino_model.xml", "CPU")
    found = tokenizer.encode({sample})
    given = {{"input_ids": found.ids, "attention_mask": found.attention_mask, "token_type_ids": found.type_ids}}
    feed = {{i.any_name: numpy.array([given[i.any_name]], dtype=numpy.int64) for i in model.inputs}}
    logits = model(feed)[0]
    print({answer})
"""


def export_readme(
    source: ExportSource, name: str, target: Literal["onnx", "openvino"], check: "Check", has_int8: bool
) -> str:
    """The text of the README.

    Args:
        source: the model that was exported.
        name: of the exported folder.
        target: the runtime.
        check: the comparison of the graph with PyTorch.
        has_int8: whether there is an int8 copy.
    """
    task = source.task
    names = ", ".join(task.label_names)
    kinds = {
        "class": f"classes {names}",
        "labels": f"labels, any number for each text: {names}",
        "value": "it predicts a number",
    }
    answers = {
        "class": 'json.load(open("config.json"))["id2label"][str(logits[0].argmax())]',
        "labels": '[name for place, name in json.load(open("config.json"))["id2label"].items() '
        "if logits[0][int(place)] > 0]",
        "value": "logits[0]",
    }
    return (_ONNX if target == "onnx" else _OPENVINO).format(
        name=name,
        what=(
            f"A model for {task.name} ({kinds[task.output]}). It reads {' and '.join(task.text_columns)}, truncated to "
            f"{source.max_length} tokens. Its logits differ from PyTorch's by at most "
            f"{check.largest_difference:.1g} on {check.rows:,} validation rows."
        ),
        positions=position_limit(source.model.config),
        max_length=source.max_length,
        sample='"a text"' if len(task.text_columns) == 1 else '"a text", "another text"',
        answer=answers[task.output],
        all_labels=", { top_k: null }" if task.is_multilabel else "",
        int8=", `onnx/model_quantized.onnx` the int8 one" if has_int8 else "",
        or_int8='  # or "onnx/model_quantized.onnx"' if has_int8 else "",
        dtypes='"fp32" /* or "q8" */' if has_int8 else '"fp32"',
    )
