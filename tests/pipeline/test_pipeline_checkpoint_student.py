"""Students with a checkpoint of their own: narrower and shallower than the teacher, and not cut from it."""

import io
import json
import re
import shutil

import pytest
import torch
from checkpoint_kit import ENCODER_PARAMETERS, OTHER_SCHEDULES, SCALE, TASK, prepared_student, save_encoder, student_at
from pipeline_kit import numbers, prepared_run, random_teacher, stages_of
from reports_builder import report_page
from rich.console import Console
from safetensors.torch import load_file
from slow_kit import mostly_slow
from storage_kit import LOCAL
from tiny_models import tiny_config
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from minidisc_ray import api
from minidisc_ray.configs import UserError, resolve
from minidisc_ray.configs.model import PretrainedTeacherConfig
from minidisc_ray.core.structure import Structure
from minidisc_ray.data import builtin_tokenizer, builtin_vocabulary
from minidisc_ray.data.tasks import BUILTIN_LABEL_NAMES
from minidisc_ray.evaluation import score
from minidisc_ray.models.checkpoint import load_model, save_model
from minidisc_ray.models.families import encoder_layers, shape_of
from minidisc_ray.models.loading import load_teacher
from minidisc_ray.models.pruned import PRUNED_CLASSES, pruned_config, structure_of
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.pipeline.observer import StageObserver
from minidisc_ray.pipeline.stages._build import load_checkpoint_student
from minidisc_ray.preparation.closed_form import Estimator
from minidisc_ray.ray_backend.items import items_of
from minidisc_ray.reports.comparison.table import compare
from minidisc_ray.reports.figures.structure import structure_data
from minidisc_ray.reports.run.plan import plan_report
from minidisc_ray.run_files.result import load_result
from minidisc_ray.training.score import score_model
from minidisc_ray.training.workers import Workers

SCHEDULES = ("conventional", "assistant", "minidisc", "maxidisc", *OTHER_SCHEDULES)
WITHOUT_ASSISTANT = ("conventional", "matched")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="module")
def storage(tmp_path_factory, encoder):
    """One storage in which every schedule distilled to the same checkpoint."""
    root = tmp_path_factory.mktemp("storage")
    for kind in SCHEDULES:
        run_in_process(prepared_student(root, kind, encoder))
    return root


@pytest.fixture(scope="module")
def small_storage(tmp_path_factory):
    """One storage for runs on half of the rows, which share their teacher."""
    return tmp_path_factory.mktemp("small")


@pytest.fixture(params=SCHEDULES)
def kind(request):
    return request.param


@pytest.fixture
def prepared(storage, kind, encoder):
    return prepared_student(storage, kind, encoder)


@pytest.fixture
def result(prepared):
    return load_result(prepared.run_folder)


def metrics_of(prepared, model, rows):
    logits = score_model(model, rows, prepared.pad_token_id, Workers(), "float32")
    return score(prepared.task, logits, rows.labels.numpy())


def test_the_student_has_its_own_sizes_everywhere(prepared, result):
    student, record = load_model(prepared.run_folder / "student"), result.student
    shape = shape_of(student)
    assert (shape.num_layers, shape.hidden_size, shape.num_heads, shape.intermediate_size) == (1, 16, 2, 32)
    in_layers = sum(p.numel() for layer in encoder_layers(student) for p in layer.parameters())
    assert record.encoder_parameters == in_layers == ENCODER_PARAMETERS
    assert record.total_parameters == sum(p.numel() for p in student.parameters())
    assert record.scale_percent == prepared.config.student_percent == SCALE
    assert (record.heads, record.neurons, record.source_layers, record.kept_share) == ((2,), (32,), (), {})
    linears = sum(m.weight.numel() for m in encoder_layers(student)[0].modules() if isinstance(m, torch.nn.Linear))
    assert record.macs_at_128 == 128 * linears + 2 * 128 * 128 * 16 + 16 * 16 + 16 * 2
    assert structure_of(student.config) == Structure(SCALE, (2,), (32,))
    assert result.student_source == "small, a new head"
    assert result.teacher.encoder_parameters == 17_088


def test_the_loaded_student_is_an_ordinary_model_that_scores_what_the_result_says(prepared, result, tmp_path):
    folder = prepared.run_folder / "student"
    student = AutoModelForSequenceClassification.from_pretrained(folder)
    assert type(student).__name__ == "BertForSequenceClassification"
    assert AutoTokenizer.from_pretrained(folder).get_vocab() == prepared.tokenizer.get_vocab()
    assert tuple(student.config.id2label.values()) == BUILTIN_LABEL_NAMES
    model = load_model(folder)
    assert metrics_of(prepared, model, prepared.validation["validation"]) == result.student.validation_metrics
    assert metrics_of(prepared, model, prepared.selection) == result.student.selection_metrics
    assert api.evaluate(folder, prepared.config) == result.student.validation_metrics
    (tmp_path / "texts.csv").write_text("text\nthe plot was not good\na fine film\n", encoding="utf-8")
    assert set(api.predict(folder, tmp_path / "texts.csv")["prediction"]) <= set(BUILTIN_LABEL_NAMES)


def test_training_moved_the_checkpoints_weights(prepared):
    start = dict(load_checkpoint_student(prepared).named_parameters())
    moved = [
        bool((parameter != start[name]).any())
        for name, parameter in load_model(prepared.run_folder / "student").named_parameters()
    ]
    assert all(moved)


def test_the_closed_form_is_what_was_counted(prepared, kind, result):
    for stage in Estimator(prepared).stages():
        found = [s for s in result.cost.stages if s.stage == stage.stage and s.trial in (stage.trial, "shared")]
        chosen = kind in ("minidisc", "residual") and stage.stage in ("student", "first_student")
        # A few batches an epoch are other rows in each: the plan counts the first epoch's padding for all.
        near = 0.25 if chosen else 0.04
        assert found[0].training_flops == pytest.approx(stage.training_flops, rel=near), stage
        assert found[0].evaluation_flops == pytest.approx(stage.evaluation_flops, rel=0.25 if chosen else 1e-9), stage


# By default without an assistant and with one; what is written does not depend on more of the schedule.
@pytest.mark.parametrize("kind", mostly_slow(SCHEDULES, ("conventional", "minidisc")))
def test_plan_table_and_page_tell_the_student(prepared, result):
    console = Console(file=io.StringIO(), width=160)
    plan_report(prepared).show(console)
    (line,) = [line for line in console.file.getvalue().splitlines() if line.startswith("student 13%")]
    assert line.startswith("student 13% (small, a new head)")
    assert line.split()[6:9] == ["2", "32", "2.22K"]
    row = compare([result]).iloc[1]
    assert (row["student_scale_percent"], row["encoder_parameters"]) == (SCALE, ENCODER_PARAMETERS)
    page = report_page(result)
    assert "distilled into a smaller model with its own checkpoint (small, a new head)" in page
    # Its only layer's neurons stand without a bar: they are a share of nothing.
    assert len(re.findall(r'<td data-value="32(?:\.0)?">32</td>', page)) == 1
    # The figure of what was kept of the teacher has nothing of the student.
    drawn = structure_data(result)
    assert (drawn is None) == (not result.assistants)
    assert drawn is None or "S" not in [column.heading for column in drawn.columns]


def test_importance_is_measured_only_where_something_is_pruned(tmp_path, kind, result, encoder):
    stages = {stage.stage for stage in result.cost.stages}
    assert ("importance" in stages) == (kind not in WITHOUT_ASSISTANT)
    alone = prepared_student(tmp_path, "conventional", encoder)
    assert [step.name for step in alone.plan.shared] == ["teacher"]
    if kind == "conventional":
        # Without importance anywhere in the storage, too.
        assert numbers(run_in_process(alone)) == numbers(result)
        assert not list((tmp_path / "_shared").glob("importance-*"))


def test_assistants_are_pruned_from_the_teacher_as_ever(storage, encoder):
    for kind in (kind for kind in SCHEDULES if kind not in WITHOUT_ASSISTANT):
        (above,) = load_result(prepared_student(storage, kind, encoder).run_folder).assistants
        assert len(above.heads) == 2
        assert above.scale_percent > SCALE
    sandwich = prepared_student(storage, "minidisc", encoder).run_folder / "stages" / "sandwich" / "record.json"
    assert sorted(map(int, json.loads(sandwich.read_text())["selection_metrics"])) == [SCALE, 30, 60]


def test_the_law_and_the_matched_epochs_count_the_students_own_sizes(storage, encoder):
    # 2.5 times 2,224 parameters are 5,560, and 30 percent of the teacher's are 5,140.
    assert prepared_student(storage, "law", encoder).config.schedule.assistant_percent == 30
    one, matched, minidisc = (
        sum(stage.training_flops for stage in Estimator(prepared).stages() if stage.in_ratio)
        for prepared in (prepared_student(storage, kind, encoder) for kind in ("conventional", "matched", "minidisc"))
    )
    assert minidisc <= matched < minidisc + one


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


def test_the_resolved_recipe_is_the_same_run_again(prepared, result):
    assert resolve(prepared.config.model_dump(mode="json")) == prepared.config
    attempts = stages_of(prepared)
    assert numbers(run_in_process(prepared)) == numbers(result)
    assert stages_of(prepared) == attempts


class Interrupted(Exception):  # noqa: N818 - stands for whatever ends a process
    pass


def test_an_interrupted_student_goes_on_to_the_same_numbers(tmp_path, monkeypatch, encoder):
    twice = ("distil.num_epochs=2",)
    whole = run_in_process(prepared_student(tmp_path / "whole", "conventional", encoder, *twice))
    stopped = prepared_student(tmp_path / "stopped", "conventional", encoder, *twice)
    original = StageObserver.on_epoch

    def on_epoch(self, record, folder):
        original(self, record, folder)
        if (self.stage, record.epoch) == ("student", 1):
            self.close()
            raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(StageObserver, "on_epoch", on_epoch)
        with pytest.raises(Interrupted):
            run_in_process(stopped)
    assert numbers(run_in_process(stopped)) == numbers(whole)
    first, second = (
        load_file(tmp_path / place / stopped.name / "student" / "model.safetensors") for place in ("whole", "stopped")
    )
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_contents_name_the_run_and_places_do_not(tmp_path, storage, encoder):
    here = prepared_student(storage, "conventional", encoder)
    moved = shutil.copytree(encoder, tmp_path / "moved")
    assert prepared_student(storage, "conventional", moved).name == here.name
    other = save_encoder(tmp_path / "other", seed=2)
    assert prepared_student(storage, "conventional", other).name != here.name
    assert set(here.identity["contents"]) == {"data", "teacher", "student", "tokenizer"}
    # The teacher is made once, whatever its students are.
    pruned = prepared_run(storage, "conventional")
    assert set(pruned.identity["contents"]) == {"data", "teacher", "tokenizer"}
    assert here.teacher_folder == pruned.teacher_folder
    assert len(list((storage / "_shared").glob("teacher-*"))) == 1


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


def test_a_distilled_student_may_be_a_teacher_that_stands_for_itself(storage, encoder):
    folder = prepared_student(storage, "conventional", encoder).run_folder / "student"
    teacher = load_teacher(PretrainedTeacherConfig(path=str(folder)), TASK, seed=0)
    assert structure_of(teacher.config).scale_percent == 100


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
