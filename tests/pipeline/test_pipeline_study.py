"""A study's runs in a storage: cells, names, and what has become of them."""

import json

import pytest
from study_kit import study_of

from minidisc_ray.configs.base import UserError
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.pipeline.prepare import prepare
from minidisc_ray.pipeline.study import cells_of, names_of, read_outcomes, study_folder


@pytest.fixture
def study(tmp_path):
    # The same recipe at two rows of the table, one method beside it.
    conventional = {"schedule": {"kind": "conventional"}}
    methods = {"LTSD": conventional, "LTSD again": conventional, "TA": {"schedule": {"kind": "assistant"}}}
    return study_of(tmp_path, methods=methods, scales=[20], seeds=[0], storage="runs")


def test_cells_lie_in_the_given_storage_or_in_the_studys_own(study, tmp_path):
    assert {cell.config.storage for cell in cells_of(study)} == {"runs"}
    cells = cells_of(study, tmp_path)
    assert {cell.config.storage for cell in cells} == {str(tmp_path)}
    assert [(cell.task, cell.method, cell.scale_percent, cell.seed) for cell in cells] == [
        ("builtin", "LTSD", 20, 0), ("builtin", "LTSD again", 20, 0), ("builtin", "TA", 20, 0),
    ]  # fmt: skip
    assert study_folder(tmp_path, study) == tmp_path.resolve() / "study-small"


def test_outcomes_are_what_the_run_folders_say(study, tmp_path):
    cells = cells_of(study, tmp_path)
    names = names_of(cells)
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


def test_a_mistake_that_only_the_model_shows_names_the_method(tmp_path):
    methods = {"KD5L": {"schedule": {"kind": "conventional"}, "student": {"kind": "layers", "num_layers": 5}}}
    study = study_of(tmp_path, methods=methods, seeds=[0])
    with pytest.raises(UserError, match=r"^methods\.KD5L on builtin: student\.num_layers: 5 is more than"):
        names_of(cells_of(study, tmp_path))
