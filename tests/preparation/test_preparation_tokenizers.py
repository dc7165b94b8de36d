"""The tokenizer is part of a run: what it reads, what a model must embed, and texts that it does not know."""

import io
import json
import re

import pytest
import torch
from pipeline_kit import prepared_run, run
from rich.console import Console
from storage_kit import LOCAL
from tiny_models import tiny_config
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

from minidisc_ray.cli.display import show_run
from minidisc_ray.configs import UserError
from minidisc_ray.core.task import Task
from minidisc_ray.data import builtin_tokenizer, builtin_vocabulary
from minidisc_ray.data.tasks import BUILTIN_LABEL_NAMES
from minidisc_ray.models.checkpoint import save_model
from minidisc_ray.reports.run.plan import plan_report

TASK = Task("tiny", ("text",), "label", BUILTIN_LABEL_NAMES, ("accuracy",))


def save(folder, family="bert", tokenizer=None, **sizes):
    config = tiny_config(family, TASK, layers=2)
    config.vocab_size = len(builtin_vocabulary())
    for key, value in sizes.items():
        setattr(config, key, value)
    torch.manual_seed(0)
    save_model(LOCAL, AutoModelForSequenceClassification.from_config(config), tokenizer or builtin_tokenizer(), folder)
    (folder / "seal.json").unlink()
    return (f"teacher={{kind: pretrained, path: {folder}, fine_tuned: false, allow_at_chance: true}}",)


def names_of(storage, overrides):
    """A run, its teacher, its importance and its encodings, by name."""
    prepared = prepared_run(storage, "minidisc", overrides)
    prepared.shared_folder.mkdir(parents=True, exist_ok=True)
    before = set(prepared.shared_folder.glob("encodings/*"))
    assert len(prepared.train)
    (encoding,) = set(prepared.shared_folder.glob("encodings/*")) - before or before
    return prepared.name, prepared.teacher_folder.name, prepared.importance_folder.name, encoding.name


def edit(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def lower(tokenizer):
    tokenizer["normalizer"] = None


def new_word(tokenizer):
    tokenizer["model"]["vocab"]["zebra"] = len(tokenizer["model"]["vocab"])


def added_token(tokenizer):
    token = {"id": 6, "content": tokenizer_word(tokenizer, 6), "special": True, "normalized": False}
    tokenizer["added_tokens"].append(token | {"single_word": False, "lstrip": False, "rstrip": False})


def tokenizer_word(tokenizer, index):
    return next(word for word, found in tokenizer["model"]["vocab"].items() if found == index)


def no_separator(tokenizer):
    tokenizer["post_processor"]["single"] = tokenizer["post_processor"]["single"][:-1]


SETTINGS = {
    "model_max_length": ("tokenizer_config.json", lambda found: found.update(model_max_length=8)),
    "truncation_side": ("tokenizer_config.json", lambda found: found.update(truncation_side="left")),
    "split_special_tokens": ("tokenizer_config.json", lambda found: found.update(split_special_tokens=True)),
    "model_input_names": (
        "tokenizer_config.json",
        lambda found: found.update(model_input_names=["input_ids", "attention_mask"]),
    ),
    "pad_token": ("tokenizer_config.json", lambda found: found.update(pad_token="[MASK]")),
    "normalizer": ("tokenizer.json", lower),
    "vocabulary": ("tokenizer.json", new_word),
    "added token": ("tokenizer.json", added_token),
    "special tokens around a text": ("tokenizer.json", no_separator),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_what_changes_an_encoding_is_another_run(tmp_path, setting):
    overrides = save(tmp_path / "model", vocab_size=len(builtin_vocabulary()) + 1)
    before = names_of(tmp_path / "runs", overrides)
    assert names_of(tmp_path / "runs", overrides) == before
    file, change = SETTINGS[setting]
    edit(tmp_path / "model" / file, change)
    after = names_of(tmp_path / "runs", overrides)
    assert [ours != theirs for ours, theirs in zip(before, after, strict=True)] == [True] * 4


def test_what_changes_none_is_the_same_run(tmp_path):
    overrides = save(tmp_path / "model")
    before = names_of(tmp_path / "runs", overrides)
    edit(tmp_path / "model" / "tokenizer_config.json", lambda found: found.update(name_or_path="elsewhere"))
    assert names_of(tmp_path / "runs", overrides) == before


def test_the_largest_id_needs_an_embedding(tmp_path):
    """Ids may have gaps: this tokenizer has no more tokens than the model has embeddings."""
    overrides = save(tmp_path / "model")
    edit(tmp_path / "model" / "tokenizer.json", lambda found: found["model"]["vocab"].update(zebra=900))
    message = (
        rf"teacher.path: the tokenizer's largest token id is 900, but the model embeds {len(builtin_vocabulary())} "
    )
    with pytest.raises(UserError, match=message):
        prepared_run(tmp_path / "runs", "conventional", overrides)


def test_more_types_of_tokens_than_the_model_embeds(tmp_path):
    overrides = save(tmp_path / "model")
    three = {"pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 2}}]}
    edit(tmp_path / "model" / "tokenizer.json", lambda found: found["post_processor"].update(three))
    with pytest.raises(UserError, match=r"teacher.path: the tokenizer gives 3 token types, but the model emb"):
        prepared_run(tmp_path / "runs", "conventional", overrides)


def test_settings_that_are_no_setting(tmp_path):
    overrides = save(tmp_path / "model")
    edit(tmp_path / "model" / "tokenizer_config.json", lambda found: found.update(model_max_length="10"))
    with pytest.raises(UserError, match=r"model_max_length of tokenizer_config.json is '10', which is no number"):
        prepared_run(tmp_path / "runs", "conventional", overrides)


@pytest.mark.parametrize("family", ["roberta", "bert"])
def test_a_teacher_of_one_token_type_gets_none(tmp_path, family):
    """RoBERTa's kind with a BERT tokenizer, on two texts: the second text's mark has no embedding."""
    rows = "".join(json.dumps({"a": "good", "b": "bad plot", "label": i % 2}) + "\n" for i in range(64))
    (tmp_path / "train.jsonl").write_text(rows)
    (tmp_path / "validation.jsonl").write_text(rows[: len(rows) // 2])
    overrides = (
        *save(tmp_path / "model", family, type_vocab_size=1),
        "task={kind: classification, text: [a, b]}",
        f"data={{kind: files, folder: {tmp_path}}}",
    )
    assert prepared_run(tmp_path / "runs", "conventional", overrides).train.token_types.max() == 1
    assert run(tmp_path / "runs", "conventional", overrides).student.validation_metrics


class TestUnknownTokens:
    def lines(self, storage, overrides):
        prepared = prepared_run(storage, "conventional", overrides)
        return [line for line in plan_report(prepared).parts if isinstance(line, str) and line.startswith("warning")]

    def test_wrong_casing_is_warned_of_by_split_and_share(self, tmp_path):
        """A tokenizer that does not lower texts, and a validation file that is written in capitals."""
        overrides = save(tmp_path / "model")
        edit(tmp_path / "model" / "tokenizer.json", lower)
        texts = {"train": "the plot was good", "validation": "The plot WAS good"}
        for split, text in texts.items():
            rows = [json.dumps({"text": text, "label": i % 2}) for i in range(40)]
            (tmp_path / f"{split}.jsonl").write_text("\n".join(rows))
        own = (*overrides, "task={kind: classification}", f"data={{kind: files, folder: {tmp_path}}}")
        expected = (
            "warning: 50.0% of the tokens of validation are unknown to the teacher's tokenizer; check its casing and "
            "language"
        )
        assert self.lines(tmp_path / "runs", own) == [expected]

        # A run that begins has the plan's warnings, one line each; a finished one only shows its result.
        prepared = prepared_run(tmp_path / "runs", "minidisc", own)
        few = "warning: 4 selection rows choose: metrics move in steps of 25.0 points; raise data.selection_fraction, "
        first = f"{prepared.name}: minidisc, in {prepared.run_folder}"
        assert self.begun(prepared) == [first, expected, f"{few}or take more rows"]
        prepared.run_folder.mkdir(parents=True)
        (prepared.run_folder / "result.json").write_text("{}")
        assert self.begun(prepared) == [first]

    def begun(self, prepared):
        out = io.StringIO()
        show_run(Console(file=out, width=80), prepared)
        return out.getvalue().splitlines()

    def test_known_texts_are_not(self, tmp_path):
        assert self.lines(tmp_path, ()) == []

    def test_a_tokenizer_that_knows_everything(self, tmp_path):
        tokenizer = builtin_tokenizer()
        silent = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, pad_token="[PAD]")
        assert silent.unk_token is None
        assert self.lines(tmp_path / "runs", save(tmp_path / "model", tokenizer=silent)) == []


def test_vocabularies_on_the_way_to_a_name_are_sorted(tmp_path):
    """The same files give the same name in every process, whatever order a vocabulary is read in."""
    overrides = save(tmp_path / "model")
    before = names_of(tmp_path / "runs", overrides)

    def turn(found):
        found["model"]["vocab"] = dict(reversed(found["model"]["vocab"].items()))

    edit(tmp_path / "model" / "tokenizer.json", turn)
    assert names_of(tmp_path / "runs", overrides) == before
    assert re.fullmatch(r"builtin-minidisc-10pc-seed0-\w{8}", before[0])
