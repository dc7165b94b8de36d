"""Checkpoints with weights that would be left out without a word, and those with a head of their own."""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file
from slow_kit import mostly_slow
from storage_kit import LOCAL
from tiny_models import FAMILY_NAMES, ODD, TASK, rankings, structures, tiny_model
from transformers import AutoModel, AutoModelForMaskedLM

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.model import CheckpointStudentConfig, PretrainedTeacherConfig
from minidisc_ray.data import builtin_tokenizer
from minidisc_ray.models.checkpoint import load_model, save_model
from minidisc_ray.models.contents import check_all_used, content_digest
from minidisc_ray.models.families import encoder_layers, family_of
from minidisc_ray.models.loading import load_teacher
from minidisc_ray.models.surgery import cut, reorder_
from minidisc_ray.models.unfilled import build_unfilled

CHECKPOINTS = {"teacher": PretrainedTeacherConfig, "student": CheckpointStudentConfig}


@pytest.fixture
def folder(family, tmp_path):
    save_model(LOCAL, tiny_model(family), builtin_tokenizer(), tmp_path / "model")
    (tmp_path / "model" / "seal.json").unlink()
    return tmp_path / "model"


def rename(folder, change):
    weights = load_file(folder / "model.safetensors")
    save_file(
        {change(name): tensor for name, tensor in weights.items()}, folder / "model.safetensors", {"format": "pt"}
    )


def add(folder, **tensors):
    weights = load_file(folder / "model.safetensors")
    save_file(weights | tensors, folder / "model.safetensors", {"format": "pt"})


def change_config(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def flaw(folder, section="teacher", **values):
    checkpoint = CHECKPOINTS[section](path=str(folder), **values)
    with pytest.raises(UserError) as caught:
        check_all_used(checkpoint, build_unfilled(checkpoint, TASK))
    assert str(caught.value).startswith(f"{section}.path: {folder} ")
    return str(caught.value).removeprefix(f"{section}.path: {folder} ")


def assert_all_used(folder, **values):
    checkpoint = PretrainedTeacherConfig(path=str(folder), **values)
    check_all_used(checkpoint, build_unfilled(checkpoint, TASK))


class TestUsed:
    @pytest.mark.parametrize("num_layers", [None, 1])
    def test_a_plain_checkpoint(self, folder, num_layers):
        assert_all_used(folder, num_layers=num_layers)

    def test_other_heads_buffers_and_old_names(self, family, tmp_path):
        """What the hub is full of: a language model's head, buffers that were saved once, gamma and beta."""
        config = tiny_model(family).config
        AutoModelForMaskedLM.from_config(config).save_pretrained(tmp_path)
        add(tmp_path, **{f"{family}.embeddings.position_ids": torch.arange(160).unsqueeze(0)})
        old = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
        rename(tmp_path, lambda name: re.sub("LayerNorm[.](weight|bias)$", lambda found: old[found.group(0)], name))
        builtin_tokenizer().save_pretrained(tmp_path)
        assert_all_used(tmp_path)
        load_teacher(PretrainedTeacherConfig(path=str(tmp_path)), TASK, seed=0)

    @pytest.mark.parametrize("prefix", ["ema.", "teacher.", "span_head."])
    def test_a_second_copy_beside_the_weights(self, folder, prefix):
        """All that the model has is loaded; to strip this prefix would put the copy in its place."""
        weights = load_file(folder / "model.safetensors")
        add(folder, **{prefix + name: torch.zeros_like(tensor) for name, tensor in weights.items()})
        assert_all_used(folder)

    @pytest.mark.parametrize("name", ["head.encoder.weight", "classifier.transformer.weight", "cls.embeddings.weight"])
    def test_heads_whose_parts_are_called_so(self, folder, name):
        add(folder, **{name: torch.zeros(2)})
        assert_all_used(folder)

    def test_the_encoder_alone(self, family, tmp_path):
        AutoModel.from_config(tiny_model(family).config).save_pretrained(tmp_path)
        assert_all_used(tmp_path)

    def test_a_pruned_model_with_layers_without_heads(self, family, tmp_path):
        model = tiny_model(family)
        reorder_(model, *rankings())
        save_model(LOCAL, cut(model, ODD), builtin_tokenizer(), tmp_path / "student")
        assert_all_used(tmp_path / "student")


class TestUnused:
    @pytest.mark.parametrize("section", ["teacher", "student"])
    @pytest.mark.parametrize("place", ["{layers}.0.attention.distance_embedding.weight", "embeddings.extra.weight"])
    def test_inside_encoder_or_embeddings(self, family, folder, place, section):
        name = f"{family}.{place.format(layers=family_of(family).layers)}"
        add(folder, **{name: torch.zeros(3, 4)})
        assert flaw(folder, section) == (
            f"has weights inside the encoder or the embeddings that a {family} of transformers does not use ({name}), "
            "so that it would be another model; use a checkpoint of the plain architecture"
        )
        with pytest.raises(UserError, match=re.escape(name)):
            load_teacher(PretrainedTeacherConfig(path=str(folder)), TASK, seed=0)
        with pytest.raises(UserError, match=re.escape(name)):  # for predict, evaluate and profile
            load_model(folder)

    def test_layers_beyond_those_of_the_config(self, family, folder):
        key = "n_layers" if family == "distilbert" else "num_hidden_layers"
        change_config(folder, **{key: 2})
        assert "has layers beyond the 2 that its config.json says (" in flaw(folder)
        assert flaw(folder, num_layers=1).endswith(
            "correct num_hidden_layers there, and keep fewer by teacher.num_layers"
        )

    @pytest.mark.parametrize(
        ("family", "prefix"),
        [
            pytest.param(family, prefix, marks=() if family == "bert" or prefix == "module." else pytest.mark.slow)
            for family in FAMILY_NAMES
            for prefix in ("module.", "_orig_mod.", "module._orig_mod.", "model.encoder_part.")
        ],
    )
    def test_prefixes_are_named_and_the_command_strips_them(self, family, folder, prefix):
        whole = load_file(folder / "model.safetensors")
        rename(folder, lambda name: prefix + name)
        message = flaw(folder)
        assert message.startswith(f"has the prefix {prefix!r} before the names of its weights (")
        run_printed(message, folder, as_a_user=(family, prefix) == ("bert", "module."))
        assert load_file(folder / "model.safetensors").keys() == whole.keys()
        assert_all_used(folder)

    @pytest.mark.parametrize("prefix", ["", "base_model.model."])
    def test_adapters_that_were_not_merged(self, family, folder, prefix):
        layers = family_of(family).layers
        names = [f"{family}.{layers}.1.attention.x.{part}" for part in ("lora_A.default.weight", "base_layer.weight")]
        rename(folder, lambda name: prefix + name)
        add(folder, **{prefix + name: torch.zeros(2, 2) for name in names})
        assert flaw(folder).startswith("has an adapter that was not merged into its weights (2 of them, ")

    def test_an_adapter_beside_the_weights(self, folder):
        (folder / "adapter_config.json").write_text("{}")
        assert flaw(folder).startswith("has an adapter beside its weights (adapter_config.json); merge it")

    @pytest.mark.parametrize("kind", ["relative_key", "relative_key_query", "rotary"])
    @pytest.mark.parametrize("section", ["teacher", "student"])
    def test_positions_that_are_not_absolute(self, folder, kind, section):
        change_config(folder, position_embedding_type=kind)
        assert flaw(folder, section) == (
            f"has position_embedding_type {kind!r}, which is not supported; use a model with absolute positions"
        )

    @pytest.mark.parametrize("family", mostly_slow(FAMILY_NAMES, ("bert",)))
    @pytest.mark.parametrize("is_sharded", [False, True])
    def test_pickled_weights_come_with_the_command_that_converts_them(self, family, folder, is_sharded):
        weights = load_file(folder / "model.safetensors")
        (folder / "model.safetensors").unlink()
        names = sorted(weights)
        parts = [names[:5], names[5:]] if is_sharded else [names]
        for place, part in enumerate(parts, start=1):
            ending = f"-{place:05d}-of-{len(parts):05d}" if is_sharded else ""
            torch.save({name: weights[name] for name in part}, folder / f"pytorch_model{ending}.bin")
        if is_sharded:
            (folder / "pytorch_model.bin.index.json").write_text('{"weight_map": {}}')
        with pytest.raises(UserError) as caught:
            content_digest(PretrainedTeacherConfig(path=str(folder)))
        assert "has no model.safetensors; weights are read as safetensors only; convert them: python -c" in str(
            caught.value
        )
        run_printed(str(caught.value), folder, as_a_user=(family, is_sharded) == ("bert", True))
        again = load_file(folder / "model.safetensors")
        assert again.keys() == weights.keys()
        assert all(torch.equal(again[name], weights[name]) for name in names)
        assert_all_used(folder)


def run_printed(message, folder, as_a_user):
    """Run the command that a message ends with: as a user pastes it, or, as that takes seconds, its code here."""
    command = re.search(r'python -c "(.*)" in its folder', message)
    assert command is not None
    if as_a_user:
        subprocess.run([sys.executable, "-c", command.group(1)], cwd=folder, check=True, env=dict(os.environ))
    else:
        with contextlib.chdir(folder):
            exec(command.group(1), {})


class TestNewHead:
    def classifier(self, folder, seed, section="teacher", fine_tuned=False):
        checkpoint = CHECKPOINTS[section](path=str(folder), fine_tuned=fine_tuned)
        model = load_teacher(checkpoint, TASK, seed)
        heads = {
            n: p.detach().clone() for n, p in model.named_parameters() if n.startswith(("classifier", "pre_class"))
        }
        rest = {n: p.detach().clone() for n, p in model.named_parameters() if n not in heads}
        return heads, rest

    @pytest.mark.parametrize("section", ["teacher", "student"])
    def test_not_fine_tuned_draws_it_from_the_seed(self, family, folder, section):
        saved = dict(tiny_model(family).named_parameters())
        heads, rest = self.classifier(folder, 0, section)
        again, _ = self.classifier(folder, 0, section)
        other, _ = self.classifier(folder, 1, section)
        assert all(torch.equal(tensor, saved[name]) for name, tensor in rest.items())
        for name, tensor in heads.items():
            assert not torch.equal(tensor, saved[name])
            assert torch.equal(tensor, again[name])
            if name.endswith("weight"):
                assert not torch.equal(tensor, other[name])
                assert 0.01 < float(tensor.std()) < 0.03  # as transformers draws it

    def test_the_same_seed_draws_the_same_with_a_head_there_or_not(self, family, folder, tmp_path):
        headless = shutil.copytree(folder, tmp_path / "headless")
        weights = load_file(headless / "model.safetensors")
        kept = {n: t for n, t in weights.items() if not n.startswith(("classifier", "pre_class"))}
        save_file(kept, headless / "model.safetensors", {"format": "pt"})
        ours, _ = self.classifier(folder, 3)
        theirs, _ = self.classifier(headless, 3)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)

    def test_fine_tuned_keeps_it(self, family, folder):
        saved = dict(tiny_model(family).named_parameters())
        heads, _ = self.classifier(folder, 0, fine_tuned=True)
        assert all(torch.equal(tensor, saved[name]) for name, tensor in heads.items())


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("structure", [ODD, structures((40,))[40]])
def test_attentions_have_one_entry_a_layer(family, structure, implementation, tmp_path):
    """Also where a layer kept no head, so that the index of a layer's attentions is the layer's."""
    model = tiny_model(family)
    reorder_(model, *rankings())
    save_model(LOCAL, cut(model, structure), builtin_tokenizer(), tmp_path / "student")
    student = load_model(tmp_path / "student")
    student.set_attn_implementation(implementation)
    ids = torch.randint(5, 60, (2, 7))
    found = student(input_ids=ids, output_attentions=True).attentions
    if implementation == "sdpa":  # has no attentions of any layer
        assert not found
        return
    assert [tuple(each.shape) for each in found] == [(2, heads, 7, 7) for heads in structure.heads]
    assert len(found) == len(encoder_layers(student))
    for each in found:
        if each.shape[1]:
            assert torch.allclose(each.sum(-1), torch.ones(()))
