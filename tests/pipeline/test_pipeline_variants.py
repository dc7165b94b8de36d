"""Whole tiny runs of the schedules between conventional and MaxiDisc."""

import shutil

import pytest
from pipeline_kit import SCHEDULES, numbers, prepared_run, random_teacher, run, stages_of
from safetensors.torch import load_file
from slow_kit import mostly_slow
from storage_kit import LOCAL

from minidisc_ray.configs import UserError
from minidisc_ray.core.flops import encoder_parameters
from minidisc_ray.core.tradeoff import best_chain, lambda_tradeoff
from minidisc_ray.evaluation import score
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.run_files.predictions import predictions_path, read_predictions
from minidisc_ray.run_files.records import read_record
from minidisc_ray.run_files.result import RunResult

GRID = {"kind": "list", "values": [80, 60, 40, 20]}
MINIDISC = {"kind": "minidisc", "scales": GRID, "num_sampled": 3}
VARIANTS = {
    "matched": {"kind": "conventional", "match": MINIDISC},
    "law": {"kind": "law", "scales": GRID},
    "two": {**MINIDISC, "num_assistants": 2},
    "three_per_step": {**MINIDISC, "num_assistants": 3, "sampling": "per_step"},
    "joint": {**MINIDISC, "num_assistants": 2, "chain": "joint"},
    "joint_derivative": {
        **MINIDISC,
        "num_assistants": 3,
        "chain": "joint",
        "selection": {"kind": "negative_derivative"},
    },
    "residual": {**MINIDISC, "residual": True},
    "tradeoff_of_each": {"kind": "maxidisc", "scales": GRID, "selection": {"kind": "lambda"}},
    "students_of_a_sandwich": {"kind": "maxidisc", "scales": GRID, "assistants": "sandwich", "num_sampled": 3},
}
# Whose last stage starts from something of its own: the others once more, by name.
ONE_OF_A_KIND = ("law", "two", "joint", "residual", "tradeoff_of_each")
SCHEDULES.update(VARIANTS)


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    return tmp_path_factory.mktemp("variants")


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """One whose answers differ from row to row, so that a choice is one."""
    return random_teacher(tmp_path_factory.mktemp("teacher"))


@pytest.fixture(scope="module")
def results(storage, teacher) -> dict[str, RunResult]:
    return {name: run(storage, name, teacher) for name in VARIANTS}


def record(storage, result, stage, trial=""):
    return read_record(LOCAL, storage / result.name / trial / "stages" / stage)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_whole_and_runs_once(results, storage, teacher, name):
    prepared, result = prepared_run(storage, name, teacher), results[name]
    assert result.label == prepared.config.schedule.label
    assert result.student.validation_metrics["accuracy"] > 0
    before = len(stages_of(prepared))
    assert run_in_process(prepared) == result
    assert len(stages_of(prepared)) == before


@pytest.mark.parametrize("name", mostly_slow(VARIANTS, ONE_OF_A_KIND))
def test_a_variant_gives_the_same_numbers_after_an_interruption(results, storage, teacher, tmp_path, name):
    """Its last stage is lost, as if it had been stopped there."""
    prepared = prepared_run(storage, name, teacher)
    shutil.copytree(storage, tmp_path / "copy")
    copied = tmp_path / "copy" / prepared.name
    for end in prepared.plan.ends:
        folder = copied if end.name == "main" else copied / "trials" / end.name
        shutil.rmtree(folder / "stages" / "student")
    (copied / "result.json").unlink()
    assert numbers(run(tmp_path / "copy", name, teacher)) == numbers(results[name])


@pytest.mark.parametrize("name", ["matched", "law", "tradeoff_of_each", "students_of_a_sandwich"])
def test_measured_training_flops_are_those_of_the_closed_form(results, name):
    """Where it has to guess a choice's scale, the closed form can be off; where not, it is near."""
    result = results[name]
    assert result.cost.training_flops == pytest.approx(result.closed_form_training_flops, rel=0.05)


def test_matched_training_reaches_the_cost_and_stops_there(results, storage, teacher):
    prepared = prepared_run(storage, "matched", teacher)
    epochs = prepared.config.schedule.num_epochs
    minidisc = run(storage, "minidisc", (*teacher, f"schedule={MINIDISC}"))
    conventional = run(storage, "conventional", teacher)
    target, once = minidisc.closed_form_training_flops, conventional.closed_form_training_flops
    matched = results["matched"].closed_form_training_flops
    assert epochs > 1
    assert matched >= target
    assert matched - target <= once, "one epoch less would not have reached it"
    assert record(storage, results["matched"], "student").num_epochs == epochs
    assert results["matched"].method == "matched"


def test_matched_training_is_not_stopped_early(storage, teacher):
    early = prepared_run(storage, "matched", (*teacher, "distil.early_stop_epochs=1"))
    assert early.config.distil_training.early_stop_epochs is None
    assert early.config.distil_training.num_epochs == early.config.schedule.num_epochs


def test_epochs_and_scales_that_are_worked_out_cannot_be_chosen(storage, teacher):
    epochs = prepared_run(storage, "matched", teacher).config.schedule.num_epochs
    prepared_run(storage, "matched", (*teacher, f"schedule.num_epochs={epochs}"))
    with pytest.raises(UserError, match=f"leave it out, or write {epochs}"):
        prepared_run(storage, "matched", (*teacher, f"schedule.num_epochs={epochs + 1}"))
    with pytest.raises(UserError, match=r"schedule\.match: .*strictly between"):
        prepared_run(storage, "matched", (*teacher, "schedule.match.scales=[5]"))
    percent = prepared_run(storage, "law", teacher).config.schedule.assistant_percent
    other = next(scale for scale in GRID["values"] if scale != percent)
    with pytest.raises(UserError, match=f"leave it out, or write {percent}"):
        prepared_run(storage, "law", (*teacher, f"schedule.assistant_percent={other}"))


def test_the_law_takes_the_candidate_nearest_to_its_multiple(results, storage, teacher):
    prepared, result = prepared_run(storage, "law", teacher), results["law"]
    sizes = {scale: encoder_parameters(prepared.shape, prepared.structure(scale)) for scale in GRID["values"]}
    wanted = 2.5 * encoder_parameters(prepared.shape, prepared.structure(10))
    chosen = result.assistants[0].scale_percent
    assert all(abs(sizes[chosen] - wanted) <= abs(size - wanted) for size in sizes.values())
    huge = prepared_run(storage, "law", (*teacher, "schedule.times_student=50"))
    assert huge.config.schedule.assistant_percent == 80


@pytest.mark.parametrize(("name", "count"), [("two", 2), ("three_per_step", 3), ("joint", 2), ("joint_derivative", 3)])
def test_a_chain_goes_down_to_the_student(results, name, count):
    scales = [model.scale_percent for model in results[name].assistants]
    assert len(scales) == count
    assert scales == sorted(set(scales), reverse=True)
    assert scales[-1] > results[name].student.scale_percent


def test_a_second_choice_is_among_what_is_below_the_first(results, storage):
    result = results["two"]
    first, second = (record(storage, result, stage) for stage in ("choose", "choose-2"))
    assert set(first.tradeoffs) == {80, 60, 40, 20}
    assert first.chosen_percent > 20, "one candidate is left for the second"
    assert set(second.tradeoffs) == {scale for scale in (80, 60, 40, 20) if scale < first.chosen_percent}
    metrics = {scale: m["accuracy"] for scale, m in record(storage, result, "sandwich-2").selection_metrics.items()}
    del metrics[10]
    assert second.tradeoffs == lambda_tradeoff(metrics, 0.2, first.chosen_percent)


def test_a_joint_choice_is_the_best_chain_of_one_sandwich(results, storage):
    result = results["joint"]
    sandwich, choice = (record(storage, result, stage) for stage in ("sandwich", "choose"))
    metrics = {scale: m["accuracy"] for scale, m in sandwich.selection_metrics.items() if scale != 10}
    expected = best_chain(
        lambda_tradeoff(metrics, 0.2),
        2,
        score_below=lambda above, below: metrics[below] + 0.2 * (1 - below / above),
    )
    assert choice.chosen_chain == expected
    assert tuple(model.scale_percent for model in result.assistants) == expected


def test_residual_distillation_goes_on_from_the_first_student(results, storage):
    stages = storage / results["residual"].name / "stages"
    first, last = (load_file(stages / stage / "model" / "model.safetensors") for stage in ("first_student", "student"))
    assert {name: value.shape for name, value in first.items()} == {name: value.shape for name, value in last.items()}
    moved = max(float((last[name] - first[name]).abs().max()) for name in first if first[name].numel())
    assert 0 < moved < 0.1, "trained further, not again"


def test_one_student_of_separate_assistants_is_of_the_best_tradeoff(results, storage):
    result = results["tradeoff_of_each"]
    metrics = {trial.assistant_percent: trial.assistant_selection for trial in result.trials}
    assert {trial.student_selection for trial in result.trials} == {None}
    assert {trial.status for trial in result.trials} == {"finished"}
    assert (result.assistants[0].scale_percent,) == best_chain(lambda_tradeoff(metrics, 0.2), 1)
    folder = storage / result.name / "trials"
    (chosen,) = (load_file(path) for path in folder.glob("chosen/stages/choose/model/model.safetensors"))
    scale = result.assistants[0].scale_percent
    (trained,) = (load_file(p) for p in folder.glob(f"scale-{scale}/stages/assistant/model/model.safetensors"))
    assert all((chosen[name] == trained[name]).all() for name in trained)


def test_students_of_one_sandwich_have_their_assistants_out_of_it(results, storage):
    result = results["students_of_a_sandwich"]
    sandwich = record(storage, result, "sandwich").selection_metrics
    for trial in result.trials:
        assert trial.assistant_selection == pytest.approx(sandwich[trial.assistant_percent]["accuracy"], abs=0.02)
        assert trial.student_selection is not None
    stages = [(stage.trial, stage.stage) for stage in result.cost.stages if stage.in_ratio]
    assert stages.count(("shared", "sandwich")) == 1
    assert sum(stage == "student" for _, stage in stages) == 4


@pytest.mark.parametrize(
    ("name", "trial", "stage", "rows"),
    [
        ("law", "main", "assistant", "selection/{scale}"),
        ("joint", "main", "assistant-2", "validation/validation"),
        ("two", "main", "student", "selection/10"),
        ("tradeoff_of_each", "scale-60", "assistant", "validation/validation"),
        ("students_of_a_sandwich", "scale-20", "student", "validation/validation"),
        ("students_of_a_sandwich", "shared", "sandwich", "selection/60"),
    ],
)
def test_what_models_answered_is_kept_and_scores_what_was_reported(results, storage, name, trial, stage, rows):
    result = results[name]
    folder = storage / result.name
    of_trial = folder if trial in ("main", "shared") else folder / "trials" / trial
    kept = read_record(LOCAL, of_trial / "stages" / stage)
    rows = rows.format(scale=kept.scale_percent)
    logits = read_predictions(predictions_path(folder, trial, stage))[rows]
    labels = read_predictions(predictions_path(folder))["selection" if rows.startswith("selection") else rows]
    found = score(prepared_run(storage, "conventional").task, logits, labels)
    if rows.startswith("validation"):
        assert found == kept.validation_metrics
    else:
        reported = kept.selection_metrics[int(rows.removeprefix("selection/"))]
        assert found["accuracy"] == pytest.approx(reported["accuracy"], abs=0.02), "batches are padded otherwise"


def test_damaged_predictions_are_reported_in_one_sentence(results, storage, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(storage / results["law"].name / "predictions", folder / "predictions")
    (folder / "predictions" / "main.student.safetensors").write_bytes(b"torn")
    with pytest.raises(UserError, match="not readable as predictions"):
        read_predictions(predictions_path(folder, "main", "student"))
    assert read_predictions(predictions_path(folder, "main", "nothing")) is None
