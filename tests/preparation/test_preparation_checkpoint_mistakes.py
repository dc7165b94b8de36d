"""Checkpoints that cannot be the student of a teacher are refused before anything starts, in one sentence."""

import json

import pytest
from checkpoint_kit import prepared_student, save_encoder
from storage_kit import LOCAL
from tiny_models import tiny_model
from transformers import PreTrainedTokenizerFast

from minidisc_ray.configs import UserError
from minidisc_ray.core.task import Task
from minidisc_ray.data import builtin_tokenizer, builtin_vocabulary
from minidisc_ray.data.tasks import BUILTIN_LABEL_NAMES
from minidisc_ray.models.checkpoint import save_model


def other_vocabulary():
    tokenizer = builtin_tokenizer()
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    vocab = backend["model"]["vocab"]
    vocab["good"], vocab["bad"] = vocab["bad"], vocab["good"]
    tokens = {name: getattr(tokenizer, name) for name in ("pad_token", "unk_token", "cls_token", "sep_token")}
    return PreTrainedTokenizerFast(
        tokenizer_object=type(tokenizer.backend_tokenizer).from_str(json.dumps(backend)), **tokens
    )


def save_other_kind(folder):
    save_encoder(folder)
    described = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(described | {"model_type": "gpt2"}))


def save_classifier(folder, names):
    model = tiny_model("bert", Task("tiny", ("text",), "label", names, ("accuracy",)), layers=1)
    model.resize_token_embeddings(len(builtin_vocabulary()))
    save_model(LOCAL, model, builtin_tokenizer(), folder)


# Name: what makes the folder, overrides after the student's, and how the sentence begins.
MISTAKES = {
    "no folder": (lambda folder: None, (), r"student\.path: '.*/model' is no folder"),
    "an empty folder": (lambda folder: folder.mkdir(), (), r"student\.path: no model could be loaded from .*/model"),
    "another kind of model": (save_other_kind, (), r"student\.path: a model of type 'gpt2' is not supported; use one"),
    "another vocabulary": (
        lambda folder: save_encoder(folder, tokenizer=other_vocabulary()),
        (),
        r"student\.path: the vocabulary of .*/model is not the teacher's \(2 tokens differ, 'bad' for one\)",
    ),
    "too few embeddings": (
        lambda folder: save_encoder(folder, vocab_size=60),
        (),
        r"student\.path: the tokenizer's largest token id is \d+, but .*/model embeds 60 tokens, from 0",
    ),
    "too few positions": (
        lambda folder: save_encoder(folder, max_position_embeddings=64),
        ("data.max_length=65",),
        r"data\.max_length: 65 is more than the student's 64 positions",
    ),
    "as large as the teacher": (
        lambda folder: save_encoder(folder, width=32, layers=2, heads=4, neurons=64),
        (),
        r"student\.path: the encoder of .*/model has 17,088 parameters, which is not smaller than the teacher's",
    ),
    "hardly anything": (
        save_encoder,
        ("teacher.num_layers=12", "teacher.hidden_size=256", "teacher.intermediate_size=1024"),
        r"student\.path: the encoder of .* is 0 percent of the teacher's 9,\d+,\d+; scales lie between 1 and 99",
    ),
    "too many layers": (
        save_encoder,
        ("student.num_layers=2",),
        r"student\.num_layers: 2 is more than the model's 1 layers",
    ),
    "another scale": (save_encoder, ("student.scale_percent=10",), r"student\.scale_percent: 10 .* or write 13$"),
    "an assistant below": (
        save_encoder,
        ("schedule={kind: assistant, assistant_percent: 13}",),
        r"schedule\.assistant_percent: 13 is not above the student's own scale of 13 percent; use a value between 14",
    ),
    "a head of other size": (
        lambda folder: save_classifier(folder, ("a", "b", "c")),
        (),
        r"student\.path: the head of .*/model has 3 outputs, .* student\.fine_tuned=false to train a new head",
    ),
    "a head of other order": (
        lambda folder: save_classifier(folder, BUILTIN_LABEL_NAMES[::-1]),
        (),
        r"student\.path: the head of .*/model has its labels in the order .* use another student",
    ),
    "no weights": (
        lambda folder: (save_encoder(folder), (folder / "model.safetensors").unlink()),
        (),
        r"student\.path: .*/model has no model\.safetensors",
    ),
    "maps where widths differ": (
        save_encoder,
        ("objective={kind: hs, linear_map: false}",),
        r"objective\.linear_map: false, but the student \(student at 13%\) is 16 wide and the teacher \(.*\) 32",
    ),
    "relation heads": (
        save_encoder,
        ("objective={kind: minilmv2, num_relation_heads: 32}",),
        r"objective\.num_relation_heads: 32 does not divide 16",
    ),
    "layers to map to": (
        lambda folder: save_encoder(folder, layers=3),
        ("objective={kind: pkd}",),
        r"objective\.mapping: .*the student has 3 layers, the teacher only 2; use an objective without a layer mapping",
    ),
    "no path": (save_encoder, ("student={kind: checkpoint}",), r"student\.path: missing"),
}


def test_one_mark_for_two_texts_is_refused(tmp_path):
    folder = save_encoder(tmp_path / "model", type_vocab_size=1)
    for split, word in (("train", "plot"), ("dev", "film")):
        (tmp_path / f"{split}.csv").write_text("one,two,label\n" + f"good {word},bad,a\nbad {word},good,b\n" * 10)
    pairs = "task={kind: classification, text: [one, two], label: label, metric: accuracy}"
    files = f"data={{kind: files, train: {tmp_path}/train.csv, validation: {tmp_path}/dev.csv}}"
    with pytest.raises(UserError, match=r"^student\.path: .* gives the two texts of .* different token types, but"):
        prepared_student(tmp_path / "storage", "conventional", folder, pairs, files)
    single = pairs.replace("[one, two]", "[one]")
    prepared_student(tmp_path / "storage", "conventional", folder, single, files)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_before_anything_starts(tmp_path, mistake):
    make, overrides, sentence = MISTAKES[mistake]
    make(tmp_path / "model")
    with pytest.raises(UserError, match=f"^{sentence}") as caught:
        prepared_student(tmp_path / "storage", "conventional", tmp_path / "model", *overrides)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "storage").exists()
