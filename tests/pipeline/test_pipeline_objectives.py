"""Objectives in whole tiny runs: every schedule, what they leave behind, and what is refused before anything starts."""

import json
import shutil

import pytest
import torch
from pipeline_kit import numbers, prepared_run, run
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification

from minidisc_ray.configs.base import UserError
from minidisc_ray.pipeline.run_directory import open_run
from minidisc_ray.preparation.objective import untrained_head_note
from minidisc_ray.training.loop import TrainingError

RELATIONS = "objective={kind: ltad, num_relation_heads: 8}"
OBJECTIVES = {
    "ltad": RELATIONS,
    "tinybert": "objective={kind: tinybert}",
    "labels": "objective={kind: labels}",
    "mi-alpha": "objective={kind: distiller, intermediate: {kind: mi_alpha, critic: mlp}}",
    "sum": "objective={kind: sum, parts: [{objective: {kind: od}}, {weight: 0.5, objective: {kind: hs}}]}",
    "sequence": "objective={kind: sequence, phases: [{objective: {kind: directminilm}}, {objective: {kind: kd}}]}",
}


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    """One storage for every objective: the teacher is made once."""
    return tmp_path_factory.mktemp("objectives")


# By default one objective in every schedule, and every objective in the schedule with the most kinds of stages.
@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        pytest.param(name, schedule, marks=() if name == "ltad" or schedule == "minidisc" else pytest.mark.slow)
        for name in OBJECTIVES
        for schedule in ("conventional", "assistant", "minidisc", "maxidisc")
    ],
)
def test_every_schedule_runs_with_it_and_saves_none_of_its_parts(storage, name, schedule):
    plain = prepared_run(storage, schedule)
    result = run(storage, schedule, (OBJECTIVES[name],))
    assert result.objective == prepared_run(storage, schedule, (OBJECTIVES[name],)).config.objective.label
    assert result.name != plain.name
    folder = storage / result.name
    model = AutoModelForSequenceClassification.from_pretrained(folder / "student")
    saved = set(load_file(folder / "student" / "model.safetensors"))
    assert saved == set(model.state_dict()), "nothing but the student is in its file"
    assert {path.name for path in (folder / "student").iterdir()} >= {"config.json", "model.safetensors"}
    assert not (folder / "student" / "objective.safetensors").exists()
    parts = list(folder.rglob("objective.safetensors"))
    assert bool(parts) == (name != "labels")
    assert result.cost.training_flops == pytest.approx(result.closed_form_training_flops, rel=0.02)


def test_the_assistants_attention_module_becomes_the_teachers(tmp_path):
    """The last stage's own module starts from what the stage before it left."""
    result = run(tmp_path, "assistant", (RELATIONS, "distil.num_epochs=1", "distil.learning_rate=1e-7"))
    stages = tmp_path / result.name / "stages"
    first, last = (load_file(stages / name / "objective.safetensors") for name in ("assistant", "student"))
    assert first.keys() == last.keys()
    # At this learning rate hardly anything moves: what is near was handed on, what was drawn again would be far.
    assert all((first[name] - last[name]).abs().max() < 1e-4 for name in first)
    fresh = run(tmp_path, "conventional", (RELATIONS, "distil.num_epochs=1", "distil.learning_rate=1e-7", "seed=1"))
    other = load_file(tmp_path / fresh.name / "stages" / "student" / "objective.safetensors")
    assert any((first[name] - other[name]).abs().max() > 1e-2 for name in first)


def test_a_finished_run_is_not_run_again_and_an_interrupted_one_ends_the_same(tmp_path):
    whole = run(tmp_path / "a", "assistant", (OBJECTIVES["sequence"],))
    prepared = prepared_run(tmp_path / "b", "assistant", (OBJECTIVES["sequence"],))
    open_run(prepared)
    again = run(tmp_path / "b", "assistant", (OBJECTIVES["sequence"],))
    assert again.student.validation_metrics == whole.student.validation_metrics
    assert run(tmp_path / "b", "assistant", (OBJECTIVES["sequence"],)) == again


@pytest.fixture(scope="module")
def assisted(tmp_path_factory):
    """A storage with a run of an assistant, and its result."""
    storage = tmp_path_factory.mktemp("assisted")
    return storage, run(storage, "assistant", (RELATIONS,))


@pytest.mark.parametrize(
    ("damage", "is_sealed"),
    [("missing", True), ("foreign", True), ("missing", False), ("truncated", False), ("foreign", False)],
)
def test_lost_parts_of_the_assistant_are_never_replaced_by_random_ones(assisted, tmp_path, damage, is_sealed):
    """They are made again with it; a record of before it listed them cannot know, and the next stage tells."""
    storage, whole = assisted
    shutil.copytree(storage, tmp_path, dirs_exist_ok=True)
    prepared = prepared_run(tmp_path, "assistant", (RELATIONS,))
    stages = prepared.run_folder / "stages"
    shutil.rmtree(stages / "student")
    (prepared.run_folder / "result.json").unlink()
    if not is_sealed:
        path = stages / "assistant" / "record.json"
        raw = json.loads(path.read_text())
        path.write_text(json.dumps({key: value for key, value in raw.items() if key not in ("sha256", "files")}))
    parts = stages / "assistant" / "objective.safetensors"
    if damage == "missing":
        parts.unlink()
    elif damage == "truncated":
        parts.write_bytes(parts.read_bytes()[:5])
    else:
        save_file({"something.else": torch.zeros(3)}, parts)
    if is_sealed:
        assert numbers(run(tmp_path, "assistant", (RELATIONS,))) == numbers(whole)
        return
    with pytest.raises(UserError, match=r"missing or damaged .*; remove .*assistant and run again") as caught:
        run(tmp_path, "assistant", (RELATIONS,))
    assert "\n" not in str(caught.value)


def test_divergence_is_one_sentence_with_what_to_do(tmp_path):
    wild = ("learning_rate=0.99", "weight_decay=10", "max_gradient_norm=1e12", "num_epochs=8")
    with pytest.raises(TrainingError, match="lower the learning rate") as caught:
        run(tmp_path, "conventional", ("objective={kind: hs}", *(f"distil.{change}" for change in wild)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("schedule", "overrides", "words"),
    [
        ("conventional", ("objective={kind: ltad, num_relation_heads: 7}",), ["heads: 7 does not", "built-in model"]),
        (
            "conventional",
            ("objective={kind: minilmv2, num_relation_heads: 8, teacher_layer: 3}",),
            ["teacher_layer: 3", "built-in model", "use 1 to 2"],
        ),
        ("conventional", ("objective={kind: ltad, extra_attention: never}",), ["never", "student at 10%"]),
        (
            "conventional",
            ("objective={kind: distiller}", "distil.batch_size=2"),
            ["distil.batch_size: 2", "distiller", "needs 3"],
        ),
        (
            "conventional",
            ("objective={kind: distiller}", "distil.accumulation_steps=8"),
            ["distil.batch_size: 16", "8 parts", "needs 3"],
        ),
        ("conventional", ("schedule.kind=sparse_teacher", RELATIONS), ["pruned", "at 90%", "ltsd or kd"]),
        ("conventional", ("objective.kind=nothing",), ["objective.kind: nothing is not a kind", "ltsd", "sequence"]),
        ("conventional", ("objective.temprature=2",), ["objective.temprature: unknown key"]),
        (
            "conventional",
            ("objective={kind: sum, parts: [{objective: {kind: kd, temprature: 2}}]}",),
            ["objective.parts.0.objective.temprature: unknown key; allowed here:", "temperature"],
        ),
        (
            "conventional",
            ("objective={kind: distiller}", "distil.batch_size=4096", "distil.accumulation_steps=64"),
            ["distil.batch_size: 115 rows", "64 parts", "needs 3"],
        ),
        (
            "conventional",
            ("objective={kind: sequence, phases: [{share: 1e6, objective: {kind: hs}}, {objective: {kind: od}}]}",),
            ["last phase", "larger share"],
        ),
        ("conventional", ("objective={kind: kd, temperature: true}",), ["objective.temperature: true is not a number"]),
        ("conventional", ("objective={kind: od, temperature: 1e-10}",), ["objective.temperature: 1e-10", "0.01"]),
        ("conventional", ("objective={kind: kd, labels_weight: 1e-30}",), ["labels_weight: 1e-30 is too small"]),
        ("conventional", ("objective=kd",), ["objective: 'kd' is not allowed; write a mapping"]),
        ("conventional", ("objective=kd", "objective.labels_weight=2"), ["objective is 'kd'", "as a whole"]),
        (
            "conventional",
            ("objective={kind: sum, parts: [{objective: {}}]}",),
            ["objective.parts.0.objective.kind: missing", "'minilmv2'"],
        ),
        ("conventional", ("objective={kind: sum, parts: []}",), ["objective.parts", "at least 1"]),
        ("conventional", ("objective={kind: hs, mapping: skip}",), ["objective.mapping: 'skip'", "'uniform_last'"]),
        ("conventional", ("objective={kind: distiller, intermediate: mae}",), ["intermediate.kind: mae", "mi_alpha"]),
        (
            "conventional",
            ("objective={kind: distiller, intermediate: {kind: mi_alpha, alpha: 1.5}}",),
            ["objective.intermediate.alpha: 1.5", "less than or equal to 1"],
        ),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, schedule, overrides, words):
    with pytest.raises(UserError) as caught:
        prepared_run(tmp_path, schedule, overrides)
    text = str(caught.value)
    assert "\n" not in text
    for word in words:
        assert word in text, text
    assert not list(tmp_path.iterdir())


def test_an_objective_without_predictions_is_reported(tmp_path):
    assert untrained_head_note(prepared_run(tmp_path, "conventional")) is None
    for name in ("labels", "sum", "sequence"):
        assert untrained_head_note(prepared_run(tmp_path, "minidisc", (OBJECTIVES[name],))) is None
    note = untrained_head_note(prepared_run(tmp_path, "conventional", (RELATIONS,)))
    assert note is not None
    assert note.startswith("LTAD never uses predictions")
