"""Teachers whose files do not fit each other are refused before anything starts, in one sentence."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from storage_kit import LOCAL
from tiny_models import TASK, tiny_model
from transformers import BertModel

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.model import PretrainedTeacherConfig
from minidisc_ray.data import builtin_tokenizer
from minidisc_ray.models.checkpoint import load_model, save_model
from minidisc_ray.models.contents import content_digest
from minidisc_ray.models.loading import load_teacher, load_tokenizer


@pytest.fixture
def folder(tmp_path):
    save_model(LOCAL, tiny_model("bert"), builtin_tokenizer(), tmp_path / "teacher")
    return tmp_path / "teacher"


def teacher_at(folder, **values) -> PretrainedTeacherConfig:
    return PretrainedTeacherConfig(path=str(folder), **values)


def change_config(folder, **values) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_whole_teacher_loads_as_it_was_saved(folder):
    loaded = load_teacher(teacher_at(folder), TASK, seed=0)
    saved = dict(tiny_model("bert").named_parameters())
    assert all(torch.equal(parameter, saved[name]) for name, parameter in loaded.named_parameters())


@pytest.mark.parametrize("values", [{"num_hidden_layers": 5}, {"intermediate_size": 48}, {"vocab_size": 60}])
@pytest.mark.parametrize("fine_tuned", [True, False])
def test_weights_that_do_not_fit_their_config_are_never_drawn_at_random(folder, values, fine_tuned):
    change_config(folder, **values)
    with pytest.raises(UserError, match=r"teacher.path: the weights of .* do not fit its config.json"):
        load_teacher(teacher_at(folder, fine_tuned=fine_tuned), TASK, seed=0)


def test_a_checkpoint_without_a_head_is_not_taken_for_a_fine_tuned_one(tmp_path):
    model = tiny_model("bert")
    assert isinstance(model.base_model, BertModel)
    save_model(LOCAL, model.base_model, builtin_tokenizer(), tmp_path)
    change_config(tmp_path, id2label=dict(enumerate(TASK.label_names)))
    with pytest.raises(UserError, match=r"classifier\.\w+ for one; .* needs teacher.fine_tuned=false"):
        load_teacher(teacher_at(tmp_path, fine_tuned=True), TASK, seed=0)
    with pytest.raises(UserError, match=r"the model is damaged \(config\.json has \d+ bytes instead of \d+\)"):
        load_model(tmp_path)
    (tmp_path / "seal.json").unlink()  # as the sentence says, since the change was meant
    with pytest.raises(UserError, match="not a trained classifier"):
        load_model(tmp_path)
    assert load_teacher(teacher_at(tmp_path, fine_tuned=False), TASK, seed=0).config.num_labels == 3


def test_values_that_are_not_finite_are_refused(folder):
    weights = load_file(folder / "model.safetensors")
    weights["classifier.bias"][0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"classifier\.bias of .* not finite"):
        load_teacher(teacher_at(folder), TASK, seed=0)


def test_a_weights_file_cut_short_is_refused_by_its_header(folder):
    path = folder / "model.safetensors"
    whole = content_digest(teacher_at(folder))
    assert whole == content_digest(teacher_at(folder))
    path.write_bytes(path.read_bytes()[:-64])
    with pytest.raises(UserError, match=r"model\.safetensors of .* is damaged"):
        content_digest(teacher_at(folder))


def test_a_folder_without_a_vocabulary_is_refused(folder):
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(UserError, match=r"teacher\.path: "):
        load_tokenizer(teacher_at(folder))


@pytest.mark.parametrize("path", ["/nowhere/model", "./nowhere", ""])
def test_a_path_that_is_no_folder_is_not_asked_of_the_hub(path):
    with pytest.raises(UserError, match="is no folder"):
        load_tokenizer(PretrainedTeacherConfig(path=path))
