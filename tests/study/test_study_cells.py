"""A study's runs in a storage: cells, names, and what has become of them."""

import json

import pytest
from study_kit import cells_of, raw_study, study_of, write_study

from minidisc_ray.api.studies import prepare_study
from minidisc_ray.configs.base import UserError
from minidisc_ray.pipeline.finish import is_finished
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.preparation.prepare import prepare
from minidisc_ray.study.cells import read_outcomes, study_folder


@pytest.fixture
def study(tmp_path):
    # The same recipe in two columns of the table, one method beside it.
    data = {"task": "builtin", "data": {"train_rows": 128, "validation_rows": 64}}
    methods = {
        "LTSD": {"schedule": {"kind": "conventional"}},
        "TA": {"schedule": {"kind": "assistant"}, "only": {"tasks": ["again"]}},
    }
    return study_of(
        tmp_path, tasks={"once": data, "again": data}, methods=methods, scales=[20], seeds=[0], storage="runs"
    )


def test_cells_lie_in_the_given_storage_or_in_the_studys_own(study, tmp_path):
    assert {cell.config.storage for cell in cells_of(study)} == {"runs"}
    cells = cells_of(study, tmp_path)
    assert {cell.config.storage for cell in cells} == {str(tmp_path)}
    assert [(cell.task, cell.method, cell.scale_percent, cell.seed) for cell in cells] == [
        ("once", "LTSD", 20, 0), ("again", "LTSD", 20, 0), ("again", "TA", 20, 0),
    ]  # fmt: skip
    assert study_folder(tmp_path, study) == tmp_path.resolve() / "study-small"


def test_outcomes_are_what_the_run_folders_say(study, tmp_path):
    cells = cells_of(study, tmp_path)
    names = [prepare(cell.config).name for cell in cells]
    assert names[0] == names[1] != names[2]
    assert [(one.result, one.failure) for one in read_outcomes(cells, names)] == [(None, None)] * 3

    result = run_in_process(prepare(cells[0].config))
    failed = tmp_path / names[2]
    failed.mkdir()
    (failed / "failure.json").write_text(json.dumps({"reason": "out of memory"}), encoding="utf-8")
    first, again, ta = read_outcomes(cells, names)
    assert first.result == again.result == result
    assert (ta.result, ta.failure, ta.name) == (None, "out of memory", names[2])

    # A later attempt that went well counts, a damaged result does not.
    (tmp_path / names[0] / "failure.json").write_text(json.dumps({"reason": "once"}), encoding="utf-8")
    assert read_outcomes(cells, names)[0].failure is None
    (tmp_path / names[0] / "result.json").write_text("{", encoding="utf-8")
    damaged = read_outcomes(cells, names)[0]
    assert damaged.result is None
    assert "cannot be read as a result" in (damaged.failure or "")


def without(key):
    return lambda raw: raw.pop(key)


def in_teacher(**changes):
    return lambda raw: raw["teacher"].update(changes)


DAMAGES = {
    "a list": (lambda raw: [], "schema version None"),
    "another version": (lambda raw: raw.update(schema_version=2), "schema version 2"),
    "no student": (without("student"), "student: field required"),
    "not a number": (in_teacher(validation_metrics={"accuracy": float("nan")}), "finite"),
    "out of range": (in_teacher(validation_metrics={"accuracy": 7.0}), "metrics lie between -1 and 1"),
    "no primary metric": (in_teacher(validation_metrics={"f1": 0.5}), "lack accuracy, the primary one"),
    "no layers": (in_teacher(heads=[]), "heads of 0 layers"),
    "an assistant's result": (lambda raw: raw.update(method="assistant"), "there is no assistant"),
    "another name": (lambda raw: raw.update(name="other"), "the result of another run (its name is other"),
    "another seed": (lambda raw: raw.update(seed=9), "the result of another run (its seed is 9, not 0)"),
    "another method": (lambda raw: raw.update(method="matched"), "its method is matched, not conventional"),
    "another protocol": (lambda raw: raw.update(protocol="paper"), "its protocol is paper, not held_out"),
    "another task": (lambda raw: raw.update(task="mrpc"), "its task is mrpc, not builtin"),
}


def test_a_damaged_result_is_reported_and_made_again_where_it_can_be(study, tmp_path):
    cell = cells_of(study, tmp_path)[0]
    prepared = prepare(cell.config)
    result = run_in_process(prepared)
    path = prepared.run_folder / "result.json"
    written = path.read_text(encoding="utf-8")
    for case, (damage, words) in DAMAGES.items():
        raw = json.loads(written)
        # What another run wrote has the digest of its own values; without one nothing is compared.
        del raw["sha256"]
        found = damage(raw)
        path.write_text(json.dumps(found if isinstance(found, list) else raw), encoding="utf-8")
        (outcome,) = read_outcomes([cell], [prepared.name])
        assert outcome.result is None, case
        assert str(path) in (outcome.failure or ""), case
        assert words in (outcome.failure or ""), outcome.failure
        # Another run's whole result is never overwritten.
        assert is_finished(prepared) == ("another run" in (outcome.failure or "")), case
        if case == "another name":
            with pytest.raises(UserError, match=r"result\.json: the result of another run \(other\); move it away"):
                run_in_process(prepared)
    path.write_text("[]", encoding="utf-8")
    healed = run_in_process(prepared)
    assert healed.student == result.student
    assert read_outcomes([cell], [prepared.name])[0].result == healed


def test_a_mistake_that_only_the_model_shows_names_the_method(tmp_path):
    methods = {"KD5L": {"schedule": {"kind": "conventional"}, "student": {"kind": "layers", "num_layers": 5}}}
    path = write_study(tmp_path, raw_study(methods=methods, seeds=[0]))
    with pytest.raises(UserError, match=r"^methods\.KD5L on builtin: student\.num_layers: 5 is more than"):
        prepare_study(path, storage=str(tmp_path))
