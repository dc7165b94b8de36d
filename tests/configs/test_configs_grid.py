"""A study's grid: which runs it has, what a setting changes in a recipe, and what is refused."""

import pytest
from study_kit import raw_study, study_of, write_study

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.study.grid import setting_text, values_text
from minidisc_ray.configs.study.study import Place, grid_runs, load_study, study_runs

GRID = {"values": {"distil.learning_rate": [1e-3, 3e-3], "distil.batch_size": [16, 32]}}


def trained(cell):
    return cell.config.distil.learning_rate, cell.config.distil.batch_size


def test_every_combination_is_a_setting_of_every_method(tmp_path):
    study = study_of(tmp_path, scales=[10], grid=GRID)
    assert study.grid_seed == 0
    tried = list(grid_runs(study))
    assert {cell.seed for cell in tried} == {0}
    for method in study.methods:
        own = [cell for cell in tried if cell.method == method]
        assert [trained(cell) for cell in own] == [(1e-3, 16), (1e-3, 32), (3e-3, 16), (3e-3, 32)]
        assert [cell.setting for cell in own] == [0, 1, 2, 3]
    assert setting_text(study.grid.settings[2]) == "distil.learning_rate 0.003, distil.batch_size 16"
    assert values_text(study.grid.settings[2]) == "0.003 / 16"


def test_a_cells_recipe_has_its_places_setting_for_all_seeds(tmp_path):
    study = study_of(tmp_path, scales=[10], grid=GRID)
    place = Place(None, "builtin", "TA", 10)
    found = list(study_runs(study, chosen={place: 3}))
    assert [(cell.seed, cell.setting, *trained(cell)) for cell in found if cell.place == place] == [
        (0, 3, 3e-3, 32), (1, 3, 3e-3, 32),
    ]  # fmt: skip
    assert {cell.setting for cell in found if cell.place != place} == {None}
    tried = next(cell for cell in grid_runs(study) if (cell.method, cell.setting) == ("TA", 3))
    assert tried.config == found[1].config, "the run of the grid is the cell's own"


def test_a_sandwich_follows_distil_unless_the_recipe_gives_it_values(tmp_path):
    follows = [cell for cell in grid_runs(study_of(tmp_path, scales=[10], grid=GRID)) if cell.method == "MiniDisc"]
    assert [cell.config.sandwich_training for cell in follows] == [cell.config.distil for cell in follows]
    recipe = {**raw_study()["recipe"], "sandwich": {"num_epochs": 1, "learning_rate": 5e-4}}
    own = [cell for cell in grid_runs(study_of(tmp_path, grid=GRID, recipe=recipe)) if cell.method == "MiniDisc"]
    assert {cell.config.sandwich_training.learning_rate for cell in own} == {5e-4}


def test_values_for_the_sandwich_alone_keep_the_rest_of_distil_and_change_no_other_method(tmp_path):
    study = study_of(tmp_path, scales=[10], grid={"values": {"sandwich.learning_rate": [1e-3, 4e-3]}})
    tried = list(grid_runs(study))
    of_sandwich = [cell.config.sandwich_training for cell in tried if cell.method == "MiniDisc"]
    distil = tried[0].config.distil
    assert of_sandwich == [distil.model_copy(update={"learning_rate": rate}) for rate in (1e-3, 4e-3)]
    first, second = (cell.config for cell in tried if cell.method == "LTSD")
    assert first == second, "there is no sandwich, so both settings are one run"


def test_a_matched_schedule_has_the_sandwich_of_the_one_that_it_matches(tmp_path):
    match = {"kind": "minidisc", "scales": [60, 30], "num_sampled": 2}
    methods = {
        "LTSD": {"schedule": {"kind": "conventional"}},
        "matched": {"schedule": {"kind": "conventional", "match": match}},
    }
    study = study_of(tmp_path, scales=[10], methods=methods, grid={"values": {"sandwich.num_epochs": [1, 2]}})
    matched = [cell.config.sandwich for cell in grid_runs(study) if cell.method == "matched"]
    assert [found.num_epochs for found in matched] == [1, 2]


def test_set_and_budgets_change_single_keys_of_a_grid(tmp_path):
    budgets = {"small": {}, "wide": {"grid": {"values": {"distil.batch_size": [8]}, "seed": 1}}, "none": {"grid": None}}
    path = write_study(tmp_path, raw_study(grid=GRID, budgets=budgets, budget="small"))
    wide = load_study(path, budget="wide").grid
    assert wide.values == {"distil.learning_rate": (1e-3, 3e-3), "distil.batch_size": (8,)}
    assert wide.seed == 1
    assert load_study(path, budget="none").grid is None
    found = load_study(path, ["grid.values.distil.learning_rate=[1e-4,2e-4,3e-4]", "grid.seed=1"]).grid
    assert found.values["distil.learning_rate"] == (1e-4, 2e-4, 3e-4)
    assert (found.num_settings, found.seed) == (6, 1)


def test_a_method_may_have_some_seeds_only_and_a_study_fewer_than_these(tmp_path):
    methods = {"LTSD": {"schedule": {"kind": "conventional"}}, "TA": {"schedule": {"kind": "assistant"}}}
    methods["TA"]["only"] = {"seeds": [1, 2]}
    study = study_of(tmp_path, methods=methods, scales=[10], seeds=[0, 1, 2])
    assert [cell.seed for cell in study_runs(study) if cell.method == "TA"] == [1, 2]
    part = study_of(tmp_path, "seeds=[0]", methods=methods, scales=[10])
    assert {cell.method for cell in study_runs(part)} == {"LTSD"}


def values(**given):
    return {"grid": {"values": {key.replace("__", "."): found for key, found in given.items()}}}


RATES = {"distil__learning_rate": [1e-3, 3e-3]}
MISTAKES = {
    "no values": ({"grid": {"values": {}}}, "grid.values: there are none; give a key two values or more"),
    "a key that looks like another": (
        values(distil__learning_rat=[1e-3, 3e-3]),
        "grid.values: distil.learning_rat: unknown key; did you mean distil.learning_rate?",
    ),
    "a section that looks like another": (
        values(distill__learning_rate=[1e-3, 3e-3]),
        "grid.values: distill.learning_rate: unknown key; did you mean distil.learning_rate?",
    ),
    "a key like no other": (values(distil__x=[1, 2]), "grid.values: distil.x: unknown key; allowed here: distil.acc"),
    "a section": (values(distil=[1, 2]), "grid.values: distil: a section; name one of its keys, for instance"),
    "a key of the teacher": (
        values(finetune__learning_rate=[1e-3, 3e-3]),
        "grid.values: finetune.learning_rate: a grid does not search finetune; use keys of distil, sandwich or",
    ),
    "a schedule": (values(schedule__kind=["law"]), "grid.values: schedule.kind: a grid does not search schedule"),
    "an empty list": (values(distil__batch_size=[]), "grid.values: distil.batch_size: the list is empty"),
    "no list": (values(distil__batch_size=16), "grid.values.distil.batch_size: 16 is not allowed"),
    "a list in the list": (values(distil__batch_size=[[16]]), "grid.values: distil.batch_size: [16] is not a single"),
    "a value twice": (
        values(distil__batch_size=[16, 32, 16.0]),
        "grid.values: distil.batch_size: 16 and 16.0 are the same; list each value once",
    ),
    "a value once more as text": (
        values(distil__batch_size=[16, "16"]),
        "grid.values: distil.batch_size: 16 and '16' are the same; list each value once",
    ),
    "a text twice": (
        values(objective__kind=["ltsd", "kd", "ltsd"]),
        "grid.values: objective.kind: 'ltsd' is listed twice; list each value once",
    ),
    "a batch of more rows than any data": (
        values(distil__batch_size=[16, 10**30]),
        "methods.LTSD on builtin at 20 percent with distil.batch_size 1000000000000000000000000000000: "
        "distil.batch_size: 1000000000000000000000000000000 is not allowed",
    ),
    "one setting in all": (
        values(distil__batch_size=[16], distil__learning_rate=[1e-3]),
        "grid.values: the only setting is distil.batch_size 16, distil.learning_rate 0.001; give a key two values",
    ),
    "a seed that the study lacks": ({"grid": {**GRID, "seed": 7}}, "grid.seed: 7 is not among the study's seeds (0,"),
    "a seed that a method lacks": (
        {**values(**RATES), "methods": {"LTSD": {"schedule": {"kind": "conventional"}, "only": {"seeds": [1]}}}},
        "methods.LTSD.only.seeds: the grid's seed 0 is missing",
    ),
    "a method with a value of its own": (
        {**values(**RATES), "methods": {"TA": {"distil": {"learning_rate": 0.1}}}},
        "methods.TA.distil.learning_rate: the grid searches distil.learning_rate; remove it here, or from grid.values",
    ),
    "a task with a value of its own": (
        {**values(**RATES), "tasks": {"builtin": {"distil": {"learning_rate": 0.1}}}},
        "tasks.builtin.distil.learning_rate: the grid searches",
    ),
    "a value that no recipe may have": (
        values(distil__learning_rate=[1e-3, 3]),
        "methods.LTSD on builtin at 20 percent with distil.learning_rate 3: distil.learning_rate: 3 is not allowed",
    ),
    "a key of another objective": (
        values(objective__temperature=[1, 2]),
        "methods.LTSD on builtin at 20 percent with objective.temperature 1: objective.temperature: unknown key",
    ),
    "a sandwich that no method has": (
        values(**RATES, sandwich__learning_rate=[1e-3, 2e-3])
        | {"methods": {"LTSD": {"schedule": {"kind": "conventional"}}, "Law": {"schedule": {"kind": "law"}}}},
        "grid.values: sandwich.learning_rate changes no run of any method; remove it",
    ),
    "a key that changes no number": (
        values(distil__checkpoint_steps=[10, 20]),
        "grid.values: distil.checkpoint_steps changes no run of any method; remove it",
    ),
    "a typo in values": ({"grid": {"value": {}}}, "grid.value: unknown key; allowed here: seed, values"),
    "too many runs": (
        {"grid": {"values": {"distil.num_epochs": list(range(1, 101)), "distil.batch_size": list(range(8, 30))}}},
        "the study has 13,206 runs, more than 10,000; take fewer tasks, scales, seeds or values in the grid",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_in_a_grid_is_one_sentence(tmp_path, case):
    changes, words = MISTAKES[case]
    with pytest.raises(UserError) as caught:
        study_of(tmp_path, **changes)
    text = str(caught.value)
    assert text.startswith(words), text
    assert "\n" not in text


def test_both_protocols_may_search(tmp_path):
    recipe = {**raw_study()["recipe"], "protocol": "paper"}
    study = study_of(tmp_path, recipe=recipe, grid=GRID)
    assert {cell.config.protocol for cell in grid_runs(study)} == {"paper"}
