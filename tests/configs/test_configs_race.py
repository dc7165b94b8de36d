"""A race in a recipe: its defaults, its name, and what it does not go with."""

import pytest

from minidisc_ray.configs import UserError, resolve
from minidisc_ray.configs.identity import run_identity
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.schedules import build_plan
from minidisc_ray.schedules.plan import ChooseStep, DistilStep, RaceStep
from minidisc_ray.schedules.training import training_of


def recipe(schedule: str, *overrides: str) -> RunConfig:
    raw = {"data": {"kind": "builtin"}, "teacher": {"kind": "builtin"}}
    return resolve(raw, (f"schedule={schedule}", *overrides))


def test_a_race_trains_three_networks_a_step_unless_it_is_given_another_number():
    race = recipe("{kind: minidisc, search: race}").schedule
    assert (race.num_sampled, race.sampling, race.label) == (3, "per_step", "MiniDisc (race)")
    four = recipe("{kind: minidisc, search: race, num_sampled: 4}").schedule
    assert (four.num_sampled, four.label) == (4, "MiniDisc (race, η = 4)")
    paper = recipe("{kind: minidisc}").schedule
    assert (paper.search, paper.num_sampled, paper.sampling, paper.label) == ("paper", 6, "fixed", "MiniDisc")


def test_the_search_is_part_of_what_a_run_is_and_the_papers_leaves_names_as_they_were():
    plain, spelled_out = recipe("{kind: minidisc}"), recipe("{kind: minidisc, search: paper}")
    assert run_identity(plain, {}) == run_identity(spelled_out, {})
    assert "search" not in run_identity(plain, {})["schedule"]
    assert run_identity(recipe("{kind: minidisc, search: race}"), {})["schedule"]["search"] == "race"


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ("search: rush", r"schedule.search: 'rush'.*paper.*race"),
        ("search: race, sampling: fixed", "sampling is fixed, but search race draws at each step"),
        ("search: race, selection: {kind: negative_derivative}", "search race chooses by lambda"),
        ("search: race, num_assistants: 2", "num_assistants is 2, but search race makes one assistant"),
        ("search: race, residual: true", "residual is true, but search race makes one assistant"),
        ("search: race, chain: joint", "chain is joint, but search race makes one assistant"),
        ("search: race, in_place: true, num_sampled: 1", "no second network to teach"),
        ("search: race, num_sampled: 2", "num_sampled: 2 would leave the candidates between .* without training"),
        ("search: race, num_sampled: 99", "num_sampled: 99 is more than the sandwich's 18 scales"),
        ("search: race, in_place: null", "in_place: null is not allowed; use true or false"),
        ("in_place: true", "in_place is true, but search is paper"),
        ("student_share: 1", "student_share is 1, but search is paper"),
        ("search: race, student_share: 0", "student_share: 0"),
        ("search: race, scales: [5]", "5 is not strictly between the student's own scale"),
    ],
)
def test_what_does_not_go_with_a_race_is_refused(schedule, message):
    with pytest.raises(UserError, match=message):
        recipe(f"{{kind: minidisc, {schedule}}}")


def test_a_grid_of_one_has_fewer_networks_than_a_race_trains_by_default():
    assert recipe("{kind: minidisc, search: race, scales: [40]}").candidate_scales() == (40,)
    assert recipe("{kind: minidisc, search: race, scales: [40], num_sampled: 2}").candidate_scales() == (40,)


def test_only_a_pruned_student_goes_on_from_its_slice():
    race, choice, student = build_plan(recipe("{kind: minidisc, search: race}")).trials[0].steps
    assert isinstance(race, RaceStep)
    assert isinstance(choice, ChooseStep)
    assert isinstance(student, DistilStep)
    assert student.slice_of == race.name
    layers = "student={kind: layers, num_layers: 1, width_percent: 20, scale_percent: 10}"
    last = build_plan(recipe("{kind: minidisc, search: race}", layers)).trials[0].steps[-1]
    assert isinstance(last, DistilStep)
    assert last.slice_of is None
    with pytest.raises(UserError, match=r"student_share: 1 is for a student that starts from a slice, and one of"):
        recipe("{kind: minidisc, search: race, student_share: 1}", layers)


@pytest.mark.parametrize(
    ("share", "num_epochs", "expected"), [(0.5, 10, 5), (0.5, 3, 1), (0.5, 1, 1), (1, 3, 3), (0.29, 100, 29)]
)
def test_the_student_of_a_race_is_trained_for_its_share_of_the_epochs(share, num_epochs, expected):
    config = recipe(f"{{kind: minidisc, search: race, student_share: {share}}}", f"distil.num_epochs={num_epochs}")
    student = build_plan(config).trials[0].steps[-1]
    assert isinstance(student, DistilStep)
    assert training_of(config, student).num_epochs == expected
    assert ("student 1" in config.schedule.label) == (share == 1)


def test_importance_takes_a_number_of_rows_or_auto():
    assert recipe("{kind: minidisc}", "pruning.importance_rows=auto").pruning.importance_rows == "auto"
    assert recipe("{kind: minidisc}", "pruning.importance_rows=64").pruning.importance_rows == 64
    for wrong in ("some", "0", "1.5"):
        with pytest.raises(UserError, match="importance_rows"):
            recipe("{kind: minidisc}", f"pruning.importance_rows={wrong}")


def test_importance_of_weights_reads_no_rows():
    assert recipe("{kind: minidisc}", "pruning.importance=magnitude").pruning.importance_rows is None
    with pytest.raises(UserError, match="importance_rows is auto, but importance magnitude reads weights alone"):
        recipe("{kind: minidisc}", "pruning={importance: magnitude, importance_rows: auto}")


def test_options_of_a_race_stand_in_its_label():
    both = recipe("{kind: minidisc, search: race, in_place: true, num_sampled: 4}").schedule
    assert both.label == "MiniDisc (race, in place, η = 4)"


def test_every_second_layer_is_matched_or_refused():
    with pytest.raises(UserError, match="hidden_layers is every_second, but hidden_weight is 0"):
        recipe("{kind: minidisc}", "objective={kind: ltsd, hidden_layers: every_second, hidden_weight: 0}")
