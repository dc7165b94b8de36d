"""The README.md of an export: how each runtime loads it."""

from typing import Literal

_ONNX = """\
# An ONNX export of a text classifier

`onnx/model.onnx` is the float32 graph{int8}; any batch size, any length. `config.json` has the class names,
`tokenizer.json` the tokenizer, `export.json` what was measured when this was made.

Python, with onnxruntime, tokenizers and numpy alone:

    import json, numpy, onnxruntime, tokenizers
    tokenizer = tokenizers.Tokenizer.from_file("tokenizer.json")
    session = onnxruntime.InferenceSession("onnx/model.onnx")
    found = tokenizer.encode("a text")
    given = {{"input_ids": found.ids, "attention_mask": found.attention_mask, "token_type_ids": found.type_ids}}
    feed = {{i.name: numpy.array([given[i.name]], dtype=numpy.int64) for i in session.get_inputs()}}
    logits = session.run(["logits"], feed)[0]
    print(json.load(open("config.json"))["id2label"][str(logits[0].argmax())])

JavaScript, with Transformers.js, in node or a browser:

    import {{ env, pipeline }} from "@huggingface/transformers";
    env.localModelPath = "FOLDER THAT HOLDS THIS ONE"; env.allowRemoteModels = false;
    const classify = await pipeline("text-classification", "NAME OF THIS FOLDER", {{ dtype: "fp32" }});
"""
_OPENVINO = """\
# An OpenVINO export of a text classifier

`openvino_model.xml` and `openvino_model.bin`; any batch size, any length. `config.json` has the class names,
`tokenizer.json` the tokenizer, `export.json` what was measured when this was made.

    import openvino, transformers
    tokenizer = transformers.AutoTokenizer.from_pretrained(FOLDER)
    model = openvino.Core().compile_model(FOLDER + "/openvino_model.xml", "CPU")
    logits = model(dict(tokenizer(["a text"], return_tensors="np")))[0]
"""


def export_readme(target: Literal["onnx", "openvino"], has_int8: bool) -> str:
    """Its text."""
    if target == "openvino":
        return _OPENVINO
    return _ONNX.format(int8=', `onnx/model_quantized.onnx` the int8 one (`dtype: "q8"`)' if has_int8 else "")
