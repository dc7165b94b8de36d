"""Students with a checkpoint of their own: narrower and shallower than the teacher, and not cut from it."""

import io
import json
import re
import shutil

import pytest
import torch
from checkpoint_kit import ENCODER_PARAMETERS, OTHER_SCHEDULES, SCALE, TASK, prepared_student, save_encoder
from pipeline_kit import metrics_of, numbers, prepared_run, stages_of
from reports_builder import report_page
from rich.console import Console
from slow_kit import mostly_slow
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from minidisc_ray import api
from minidisc_ray.configs import resolve
from minidisc_ray.configs.model import PretrainedTeacherConfig
from minidisc_ray.core.structure import Structure
from minidisc_ray.data.tasks import BUILTIN_LABEL_NAMES
from minidisc_ray.models.checkpoint import load_model
from minidisc_ray.models.families import encoder_layers, shape_of
from minidisc_ray.models.loading import load_teacher
from minidisc_ray.models.pruned import structure_of
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.pipeline.stages._build import load_checkpoint_student
from minidisc_ray.preparation.closed_form import Estimator
from minidisc_ray.reports.comparison.table import compare
from minidisc_ray.reports.figures.structure import structure_data
from minidisc_ray.reports.run.plan import plan_report
from minidisc_ray.run_files.result import load_result

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


@pytest.fixture(params=SCHEDULES)
def kind(request):
    return request.param


@pytest.fixture
def prepared(storage, kind, encoder):
    return prepared_student(storage, kind, encoder)


@pytest.fixture
def result(prepared):
    return load_result(prepared.run_folder)


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


def test_the_resolved_recipe_is_the_same_run_again(prepared, result):
    assert resolve(prepared.config.model_dump(mode="json")) == prepared.config
    attempts = stages_of(prepared)
    assert numbers(run_in_process(prepared)) == numbers(result)
    assert stages_of(prepared) == attempts


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


def test_a_distilled_student_may_be_a_teacher_that_stands_for_itself(storage, encoder):
    folder = prepared_student(storage, "conventional", encoder).run_folder / "student"
    teacher = load_teacher(PretrainedTeacherConfig(path=str(folder)), TASK, seed=0)
    assert structure_of(teacher.config).scale_percent == 100
