"""Students of fewer layers, in every schedule, and the teacher that is pruned and not trained again."""

import io

import pytest
import torch
import yaml
from pipeline_kit import metrics_of, numbers, prepared_run, stages_of
from reports_builder import report_page
from rich.console import Console
from slow_kit import mostly_slow
from storage_kit import LOCAL
from tiny_models import gates_of
from transformers import AutoModelForSequenceClassification

from minidisc_ray.api import evaluate, predict
from minidisc_ray.configs import UserError, resolve
from minidisc_ray.core.structure import Structure
from minidisc_ray.data import collate
from minidisc_ray.models.checkpoint import load_model
from minidisc_ray.models.families import encoder_layers, shape_of
from minidisc_ray.models.forward import run_model
from minidisc_ray.models.gates import gated
from minidisc_ray.models.pruned import structure_of
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.pipeline.structures import load_rankings, load_shared_teacher, structures_of, student_structure
from minidisc_ray.preparation.closed_form import Estimator
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.reports.comparison.render import render
from minidisc_ray.reports.comparison.table import compare
from minidisc_ray.reports.run.plan import plan_report
from minidisc_ray.run_files.clean import clean
from minidisc_ray.run_files.records import read_record
from minidisc_ray.run_files.result import RunResult, load_result

LAYERS = ("teacher.num_layers=4", "student.kind=layers", "pruning.ranking=local")
SPARSE = ("schedule.kind=sparse_teacher", "schedule.teacher_percent=80")
# Name: the schedule to start from, the overrides, the student's scale and the teacher's layers that it is made of.
RUNS: dict[str, tuple[str, tuple[str, ...], int, tuple[int, ...]]] = {
    "conventional": ("conventional", (*LAYERS, "student.num_layers=2"), 50, (1, 3)),
    "narrow": (
        "conventional",
        (*LAYERS, "student.num_layers=3", "student.take=last", "student.width_percent=50"),
        38,
        (1, 2, 3),
    ),
    "all layers": ("conventional", (*LAYERS, "student.num_layers=4", "student.width_percent=50"), 50, (0, 1, 2, 3)),
    "global": (
        "conventional",
        (*LAYERS, "student.num_layers=2", "student.width_percent=50", "pruning.ranking=global"),
        25,
        (1, 3),
    ),
    "assistant": (
        "assistant",
        (*LAYERS, "student.num_layers=2", "student.take=first", "schedule.assistant_percent=75"),
        50,
        (0, 1),
    ),
    "minidisc": ("minidisc", (*LAYERS, "student.num_layers=1"), 25, (3,)),
    "maxidisc": ("maxidisc", (*LAYERS, "student.num_layers=1", "student.width_percent=50"), 13, (3,)),
    "sparse teacher": ("conventional", SPARSE, 10, ()),
    "sparse teacher, layers": ("conventional", (*LAYERS, *SPARSE, "student.num_layers=2"), 50, (1, 3)),
}
SHALLOW = tuple(name for name in RUNS if name not in ("sparse teacher", "all layers"))
SPARSE_RUNS = ("sparse teacher", "sparse teacher, layers")


def prepared_of(storage, name) -> PreparedRun:
    kind, overrides, _, _ = RUNS[name]
    return prepared_run(storage, kind, overrides)


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    """One storage with every run finished."""
    root = tmp_path_factory.mktemp("storage")
    for name in RUNS:
        run_in_process(prepared_of(root, name))
    return root


@pytest.fixture(params=RUNS)
def name(request):
    return request.param


@pytest.fixture
def prepared(storage, name) -> PreparedRun:
    return prepared_of(storage, name)


@pytest.fixture
def result(prepared) -> RunResult:
    return load_result(prepared.run_folder)


def student_of(prepared):
    return AutoModelForSequenceClassification.from_pretrained(prepared.run_folder / "student").eval()


def test_the_result_tells_the_sizes_that_the_loaded_student_has(prepared, name, result):
    student, record = student_of(prepared), result.student
    layers = encoder_layers(student)
    scale, kept = RUNS[name][2:]
    assert record.scale_percent == prepared.config.student_percent == scale
    assert len(layers) == len(record.heads) == len(record.neurons) == (len(kept) or 2)
    assert record.source_layers == (kept if name in SHALLOW else ())
    counted = [parameter.numel() for parameter in student.parameters()]
    in_layers = [parameter.numel() for layer in layers for parameter in layer.parameters()]
    assert (record.total_parameters, record.encoder_parameters) == (sum(counted), sum(in_layers))
    found = structure_of(student.config)
    assert (found.scale_percent, found.heads, found.neurons) == (scale, record.heads, record.neurons)
    # Linears alone multiply, but for attention itself: 128 x 128 scores, and as many weights, for each head's width.
    head_width = shape_of(student).head_size
    linears = sum(m.weight.numel() for layer in layers for m in layer.modules() if isinstance(m, torch.nn.Linear))
    attention = 2 * 128 * 128 * head_width * sum(record.heads)
    assert record.macs_at_128 == 128 * linears + attention + prepared.shape.head_macs_per_row
    assert record.kept_share["heads"] == sum(record.heads) / (prepared.shape.num_layers * 4)


def test_the_student_scores_what_the_result_says(prepared, result, tmp_path):
    student = load_model(prepared.run_folder / "student")
    assert metrics_of(prepared, student, prepared.validation["validation"]) == result.student.validation_metrics
    assert metrics_of(prepared, student, prepared.selection) == result.student.selection_metrics
    assert evaluate(prepared.run_folder / "student", prepared.config) == result.student.validation_metrics
    (tmp_path / "texts.csv").write_text("text\nthe plot was not good\na fine film\n", encoding="utf-8")
    assert len(predict(prepared.run_folder / "student", tmp_path / "texts.csv", ["text"])) == 2


def test_the_resolved_recipe_holds_the_scale_and_is_the_same_run_again(storage, prepared, name, result):
    written = yaml.safe_load((prepared.run_folder / "config.yaml").read_text())
    assert written["student"]["scale_percent"] == RUNS[name][2]
    assert resolve(written) == prepared.config
    assert f"-{RUNS[name][2]}pc-" in prepared.name
    attempts = stages_of(prepared)
    assert numbers(run_in_process(prepared)) == numbers(result)
    assert stages_of(prepared) == attempts


def test_the_closed_form_is_what_was_counted(prepared, name, result):
    for stage in Estimator(prepared).stages():
        found = [s for s in result.cost.stages if s.stage == stage.stage and s.trial in (stage.trial, "shared")]
        chosen = name == "minidisc" and stage.stage == "student"
        assert found[0].training_flops == pytest.approx(stage.training_flops, rel=0.25 if chosen else 0.02), stage


# By default with an assistant, with less of every layer, and with a sparse teacher.
@pytest.mark.parametrize("name", mostly_slow(RUNS, ("narrow", "assistant", "sparse teacher, layers")))
def test_plan_table_and_page_tell_the_student(prepared, name, result):
    console = Console(file=io.StringIO(), width=160)
    plan_report(prepared).show(console)
    layers = ", ".join(str(layer + 1) for layer in RUNS[name][3])
    message = f"student {RUNS[name][2]}% (layers {layers})" if name in SHALLOW else f"student {RUNS[name][2]}%"
    assert message in console.file.getvalue()
    if name in SPARSE_RUNS:
        assert "sparse teacher 80%" in console.file.getvalue()
    row = compare([result]).iloc[1]
    assert (row["student_scale_percent"], row["total_parameters"]) == (RUNS[name][2], result.student.total_parameters)
    page = report_page(result)
    assert (f"in {len(RUNS[name][3])} of its 4 layers" in page) == (name in SHALLOW)


def test_a_student_through_an_assistant_keeps_the_smaller_of_both_widths(storage):
    for name in ("assistant", "minidisc", "sparse teacher, layers"):
        result = load_result(prepared_of(storage, name).run_folder)
        (above,) = result.assistants
        kept = RUNS[name][3]
        assert result.student.heads == tuple(above.heads[layer] for layer in kept)
        assert result.student.neurons == tuple(above.neurons[layer] for layer in kept)
    narrow = load_result(prepared_of(storage, "maxidisc").run_folder)
    assert narrow.student.heads == (min(2, narrow.assistants[0].heads[3]),)


def test_global_ranking_lets_the_taken_layers_compete(storage):
    student = load_result(prepared_of(storage, "global").run_folder).student
    assert sum(student.heads) == 4
    assert sum(student.neurons) == 64


def test_a_sandwichs_lower_end_is_a_slice_of_every_layer(storage):
    prepared = prepared_of(storage, "minidisc")
    shared = load_model(prepared.run_folder / "stages" / "sandwich" / "model")
    record = read_record(LOCAL, prepared.run_folder / "stages" / "sandwich")
    assert sorted(record.selection_metrics) == [25, 30, 60]
    assert len(structures_of(prepared, (25,))[25].heads) == len(encoder_layers(shared)) == 4


@pytest.mark.parametrize("name", SPARSE_RUNS)
def test_a_sparse_teacher_is_the_teacher_with_gates_closed(storage, name):
    prepared = prepared_of(storage, name)
    result = load_result(prepared.run_folder)
    sparse = load_model(prepared.run_folder / "stages" / "sparse_teacher" / "model")
    structure = structures_of(prepared, (80,))[80]
    assert structure_of(sparse.config) == structure
    teacher, rows = load_shared_teacher(prepared), prepared.validation["validation"]
    batch = collate(rows, torch.arange(8), prepared.pad_token_id)
    with torch.no_grad(), gated(teacher, gates_of(structure, *load_rankings(prepared))):
        expected = run_model(teacher, batch).logits
    with torch.no_grad():
        assert (run_model(sparse, batch).logits - expected).abs().max() < 1e-5
    (record,) = result.assistants
    assert record.scale_percent == 80
    assert record.validation_metrics == metrics_of(prepared, sparse, rows)
    assert record.selection_metrics == metrics_of(prepared, sparse, prepared.selection)
    (stage,) = [stage for stage in result.cost.stages if stage.stage == "sparse_teacher"]
    assert (stage.training_flops, stage.num_epochs, stage.in_ratio) == (0.0, None, True)


def test_a_sparse_teacher_stands_in_tables_and_pages_under_its_name(storage):
    runs = [load_result(prepared_of(storage, name).run_folder) for name in ("sparse teacher, layers", "conventional")]
    frame = compare(runs)
    assert list(frame["method"])[1:3] == ["Conventional", "StarK (80%)"]
    # Pruning costs nothing, a narrower teacher teaches for less, and it makes a narrower student.
    assert 0.7 < frame["training_flops_ratio"][2] < frame["training_flops_ratio"][1] == 1.0
    assert "StarK (80%)" in render(frame, "md")
    page = report_page(runs[0], runs[1:])
    assert "The teacher pruned to 80% and not trained again stood between them." in page
    assert "Sparse teacher (80%): heads" in page


@pytest.mark.parametrize("name", ["assistant", "sparse teacher"])
def test_the_same_seed_gives_the_same_numbers_elsewhere_and_after_cleaning(tmp_path, storage, name):
    whole = load_result(prepared_of(storage, name).run_folder)
    prepared = prepared_of(tmp_path, name)
    assert numbers(run_in_process(prepared)) == numbers(whole)
    clean(tmp_path)
    assert not (prepared.run_folder / "stages").exists()
    assert numbers(run_in_process(prepared)) == numbers(whole)


def test_a_student_that_its_assistant_left_no_head_is_refused(tmp_path):
    prepared = prepared_of(tmp_path, "assistant")
    run_in_process(prepared)
    with pytest.raises(UserError, match=r"^student\.take: the model at 60 percent kept no .*head in layers 1, 2;"):
        student_structure(prepared, Structure(60, (0, 0, 4, 4), (64, 64, 64, 64)))


def test_the_scale_may_be_written_if_it_is_right(tmp_path):
    written = (*LAYERS, "student.num_layers=2", "student.scale_percent=50")
    assert prepared_run(tmp_path, "conventional", written).name == prepared_of(tmp_path, "conventional").name


def test_other_layers_are_another_run(tmp_path):
    names = {
        prepared_run(tmp_path, "conventional", (*LAYERS, "student.num_layers=2", f"student.take={take}")).name
        for take in ("uniform", "first", "last")
    }
    assert len(names) == 3


@pytest.mark.parametrize("objective", ["kd", "pkd", "ckd"])
def test_a_student_of_fewer_layers_learns_by_objectives_that_match_layers(storage, objective):
    overrides = (*LAYERS, "student.num_layers=2", f"objective.kind={objective}")
    result = run_in_process(prepared_run(storage, "conventional", overrides))
    assert len(result.student.heads) == 2
    assert result.cost.training_flops == pytest.approx(result.closed_form_training_flops, rel=0.02)
