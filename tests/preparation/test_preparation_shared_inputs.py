"""Recipes that are prepared together read their rows and their teacher once, and are the same runs as alone."""

import copy

import pytest
from study_kit import cells_of, study_of

from minidisc_ray.preparation import shared_inputs
from minidisc_ray.preparation.prepare import prepare
from minidisc_ray.preparation.shared_inputs import SharedInputs
from minidisc_ray.preparation.sizes import planned_structure

GRID = [80, 60, 40]
METHODS = {
    "LTSD": {"schedule": {"kind": "conventional"}},
    "matched": {"schedule": {"kind": "conventional", "match": {"kind": "minidisc", "scales": GRID, "num_sampled": 2}}},
    "matched, faster": {
        "schedule": {"kind": "conventional", "match": {"kind": "minidisc", "scales": GRID, "num_sampled": 2}},
        "distil": {"learning_rate": 5e-3},
    },
    "law": {"schedule": {"kind": "law", "scales": GRID}},
    "local": {"schedule": {"kind": "conventional"}, "pruning": {"ranking": "local"}},
}
TASKS = {
    name: {"task": "builtin", "data": {"train_rows": rows, "validation_rows": 64}}
    for name, rows in (("few", 64), ("more", 128))
}


@pytest.fixture
def reads(monkeypatch):
    """Which rows and teachers are read; the reading is the real one."""
    found = []

    def counted(name):
        real = getattr(shared_inputs, name)

        def read(*arguments):
            found.append(name)
            return real(*arguments)

        return read

    for name in ("load_splits", "_read_teacher"):
        monkeypatch.setattr(shared_inputs, name, counted(name))
    return found


def test_recipes_prepared_together_are_the_same_runs_as_alone(tmp_path, reads):
    cells = cells_of(study_of(tmp_path, tasks=TASKS, methods=METHODS, scales=[30]), tmp_path / "runs")
    inputs = SharedInputs()
    together = [prepare(cell.config, inputs=inputs) for cell in cells]
    assert sorted(reads) == ["_read_teacher"] * 2 + ["load_splits"] * 2, "once for each task"
    alone = {cell.config.model_dump_json(): prepare(cell.config) for cell in cells}
    for cell, run in zip(cells, together, strict=True):
        other = alone[cell.config.model_dump_json()]
        assert (run.name, run.identity, run.plan, run.shape) == (other.name, other.identity, other.plan, other.shape)
        assert run.config == other.config
    matched = [run for cell, run in zip(cells, together, strict=True) if cell.method.startswith("matched")]
    first, second = matched[:2]
    assert first.train is second.train, "rows are encoded once for both"
    first.encoded.clear()
    assert second.encoded, "what one run forgets another one keeps"
    assert all(not run.encoded for run in together if run not in matched), "no other run carries encoded rows"


def test_sizes_follow_the_recipes_pruning(tmp_path):
    (cell, *_) = cells_of(study_of(tmp_path, methods={"LTSD": METHODS["LTSD"]}), tmp_path / "runs")
    run = prepare(cell.config)
    shape, config = run.shape, run.config
    coarse = config.model_copy(update={"pruning": config.pruning.model_copy(update={"neuron_multiple": 8})})
    found = {name: planned_structure(one, shape, 35) for name, one in (("fine", config), ("coarse", coarse))}
    assert all(neurons % 8 == 0 for neurons in found["coarse"].neurons)
    assert found["fine"] != found["coarse"]
    assert planned_structure(copy.deepcopy(config), shape, 35) == found["fine"]
