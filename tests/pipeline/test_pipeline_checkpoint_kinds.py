"""Which checkpoints can be students, how each is loaded, and by which objectives and schedules it learns."""

import pytest
import torch
from checkpoint_kit import ENCODER_PARAMETERS, TASK, prepared_student, save_encoder, student_at
from pipeline_kit import Interrupted, interrupt, metrics_of, numbers, prepared_run, random_teacher
from safetensors.torch import load_file
from storage_kit import LOCAL
from tiny_models import tiny_config
from transformers import AutoModel

from minidisc_ray import api
from minidisc_ray.configs import UserError
from minidisc_ray.core.structure import Structure
from minidisc_ray.data import builtin_tokenizer, builtin_vocabulary
from minidisc_ray.models.checkpoint import load_model, save_model
from minidisc_ray.models.families import encoder_layers
from minidisc_ray.models.pruned import PRUNED_CLASSES, pruned_config, structure_of
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.pipeline.stages._build import load_checkpoint_student
from minidisc_ray.ray_backend.items import items_of
from minidisc_ray.reports.run.plan import plan_report


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="module")
def small_storage(tmp_path_factory):
    """One storage for runs on half of the rows, which share their teacher."""
    return tmp_path_factory.mktemp("small")


def test_of_several_runs_one_that_needs_importance_makes_what_they_share(tmp_path, encoder):
    runs = [prepared_student(tmp_path, kind, encoder) for kind in ("conventional", "minidisc")]
    items = items_of(runs)
    assert [(item.run.config.schedule.kind, item.trial) for item in items] == [
        ("minidisc", "shared"),
        ("minidisc", "main"),
        ("conventional", "main"),
    ]
    assert items[2].needs == {items[0].title}


def test_a_student_smaller_than_any_pruned_one_needs_no_slice_of_its_size(tmp_path, encoder):
    large = ("teacher.hidden_size=48", "teacher.num_heads=6", "teacher.intermediate_size=96")
    prepared = prepared_student(tmp_path, "conventional", encoder, *large)
    assert prepared.config.student_percent == 6
    with pytest.raises(UserError, match=r"^student\.scale_percent: at 6 percent no attention head is left"):
        prepared_student(tmp_path, "minidisc", encoder, *large, "pruning.ranking=local")


def test_an_interrupted_student_goes_on_to_the_same_numbers(tmp_path, monkeypatch, encoder):
    twice = ("distil.num_epochs=2",)
    whole = run_in_process(prepared_student(tmp_path / "whole", "conventional", encoder, *twice))
    stopped = prepared_student(tmp_path / "stopped", "conventional", encoder, *twice)
    with monkeypatch.context() as patch:
        interrupt(patch, "student", 1)
        with pytest.raises(Interrupted):
            run_in_process(stopped)
    assert numbers(run_in_process(stopped)) == numbers(whole)
    first, second = (
        load_file(tmp_path / place / stopped.name / "student" / "model.safetensors") for place in ("whole", "stopped")
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_relative_path_is_made_absolute(tmp_path, monkeypatch, encoder):
    monkeypatch.chdir(encoder.parent)
    teacher = {"kind": "builtin", "num_layers": 1, "hidden_size": 32, "intermediate_size": 64, "allow_at_chance": True}
    student = {"kind": "checkpoint", "path": "./small"}
    prepared = api.plan({"teacher": teacher, "student": student, "storage": str(tmp_path)})
    assert prepared.config.student.path == str(encoder)


def test_a_new_head_is_drawn_from_the_seed_and_the_rest_is_the_checkpoints(tmp_path, encoder):
    one, again, other = (
        dict(
            load_checkpoint_student(
                prepared_student(tmp_path, "conventional", encoder, f"seed={seed}")
            ).named_parameters()
        )
        for seed in (0, 0, 1)
    )
    saved = dict(AutoModel.from_pretrained(encoder).named_parameters())
    for name, parameter in one.items():
        assert torch.equal(parameter, again[name])
        assert torch.equal(parameter, other[name]) == (name != "classifier.weight")
        if name.startswith("bert."):
            assert torch.equal(parameter, saved[name.removeprefix("bert.")])


def test_a_student_that_comes_fine_tuned_keeps_its_head_unless_the_recipe_says_otherwise(tmp_path):
    random_teacher(tmp_path / "tuned")
    builtin = ("teacher.hidden_size=64", "teacher.intermediate_size=128")

    def prepared_with(**more):
        return prepared_run(tmp_path, "conventional", (*builtin, *student_at(tmp_path / "tuned", num_layers=1, **more)))

    prepared = prepared_with()
    saved = load_file(tmp_path / "tuned" / "model.safetensors")
    student = load_checkpoint_student(prepared)
    assert len(encoder_layers(student)) == 1
    assert all(torch.equal(parameter, saved[name]) for name, parameter in student.named_parameters())
    assert prepared.checkpoint_student.source == "tuned, its first 1 layers, its own head"
    fresh = prepared_with(fine_tuned="false")
    assert fresh.checkpoint_student.source.endswith("a new head")
    assert fresh.name != prepared.name
    assert run_in_process(prepared).student.heads == (4,)


@pytest.mark.parametrize("family", ["roberta", "electra", "distilbert"])
def test_a_student_of_another_family_learns_from_a_bert(small_storage, tmp_path, family):
    folder = save_encoder(tmp_path / family, family)
    prepared = prepared_student(small_storage, "conventional", folder, "data.train_rows=64")
    result = run_in_process(prepared)
    student = load_model(prepared.run_folder / "student")
    assert student.config.model_type == family
    assert result.student.encoder_parameters == ENCODER_PARAMETERS
    assert result.student.total_parameters == sum(p.numel() for p in student.parameters())
    assert metrics_of(prepared, student, prepared.validation["validation"]) == result.student.validation_metrics
    assert result.cost.training_flops == pytest.approx(result.closed_form_training_flops, rel=0.02)


def test_a_pruned_model_may_be_the_checkpoint_and_stays_pruned(tmp_path):
    config = tiny_config("bert", TASK)
    config.vocab_size = len(builtin_vocabulary())
    config.hidden_size = 16
    structure = Structure(70, (1, 3, 4), (5, 7, 9))
    save_model(
        LOCAL, PRUNED_CLASSES["bert"](pruned_config(config, structure)), builtin_tokenizer(), tmp_path / "pruned"
    )
    overrides = (*student_at(tmp_path / "pruned", num_layers=2), "data.train_rows=64")
    prepared = prepared_run(tmp_path, "conventional", overrides)
    result = run_in_process(prepared)
    student = load_model(prepared.run_folder / "student")
    assert student.config.model_type == "minidisc_bert"
    assert structure_of(student.config) == Structure(result.student.scale_percent, (1, 3), (5, 7))
    in_layers = sum(p.numel() for layer in encoder_layers(student) for p in layer.parameters())
    assert (result.student.heads, result.student.encoder_parameters) == ((1, 3), in_layers)
    assert metrics_of(prepared, student, prepared.validation["validation"]) == result.student.validation_metrics


@pytest.mark.parametrize("objective", ["ltsd", "hs", "tinybert", "pkd", "ckd", "minilmv2", "directminilm", "distiller"])
def test_objectives_map_to_the_students_own_width(small_storage, encoder, objective):
    options = {"minilmv2": ", num_relation_heads: 2", "directminilm": ", num_relation_heads: 2"}.get(objective, "")
    chosen = f"objective={{kind: {objective}{options}}}"
    result = run_in_process(prepared_student(small_storage, "conventional", encoder, "data.train_rows=64", chosen))
    assert result.student.encoder_parameters == ENCODER_PARAMETERS


def test_what_a_student_of_another_width_trained_for_itself_stays_out_of_it(tmp_path, encoder):
    prepared = prepared_student(tmp_path, "minidisc", encoder, "objective={kind: ltad, num_relation_heads: 4}")
    assert "a new classifier that nothing trains" in next(
        part for part in plan_report(prepared).parts if str(part).startswith("note: ")
    )
    run_in_process(prepared)
    saved = load_file(prepared.run_folder / "student" / "model.safetensors")
    assert not [name for name in saved if "source" in name]
