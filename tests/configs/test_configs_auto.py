"""``schedule.kind: auto`` in a recipe: its defaults, its name, its plan, and what it does not go with."""

import pytest

from minidisc_ray.configs import UserError, resolve
from minidisc_ray.configs.grid import TimesGridConfig
from minidisc_ray.configs.identity import run_identity, run_name
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.configs.schedule import MiniDiscConfig


def recipe(schedule: str, *overrides: str) -> RunConfig:
    raw = {"data": {"kind": "builtin"}, "teacher": {"kind": "builtin"}}
    return resolve(raw, (f"schedule={schedule}", *overrides))


def test_a_race_around_the_law_follows_unless_another_schedule_is_given():
    config = recipe("{kind: auto}")
    schedule = config.schedule
    assert (schedule.min_gap_points, schedule.probe_share) == (5.0, 0.5)
    assert schedule.then == MiniDiscConfig(search="race", scales=TimesGridConfig())
    assert (schedule.then.num_sampled, config.candidate_scales()) == (3, (40, 35, 30, 25, 20, 15))
    assert recipe("{kind: auto}", "schedule.then.kind=assistant").candidate_scales() == (40,)
    assert recipe("{kind: auto}", "schedule.then.scales=[50]").schedule.then.search == "race"


def test_its_label_has_what_differs_from_the_defaults():
    labels = {
        "{kind: auto}": "Auto",
        "{kind: auto, then: {}}": "Auto",
        "{kind: auto, then: {kind: law, times_student: 2}}": "Auto (TA (2\N{MULTIPLICATION SIGN} law))",
        "{kind: auto, then: {kind: minidisc, search: race}}": "Auto (MiniDisc (race))",
        "{kind: auto, then: {kind: assistant}, min_gap_points: 1.5}": "Auto (TA (40%), gap 1.5)",
        "{kind: auto, probe_share: 1}": "Auto (probe 1)",
    }
    assert {text: recipe(text).schedule.label for text in labels} == labels


def test_every_option_is_part_of_what_a_run_is():
    plain = recipe("{kind: auto}")
    names = {
        run_name(config, run_identity(config, {}))
        for config in (
            plain,
            recipe("{kind: auto, min_gap_points: 1}"),
            recipe("{kind: auto, probe_share: 0.25}"),
            recipe("{kind: auto, then: {kind: minidisc}}"),
            recipe("{kind: auto, then: {kind: minidisc, search: race}}"),
        )
    }
    assert len(names) == 5
    assert all(name.startswith("builtin-auto-10pc-seed0-") for name in names)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        ("{kind: auto, then: {kind: maxidisc}}", r"schedule.then.kind: maxidisc is not a kind; use .*'minidisc'"),
        ("{kind: auto, then: {kind: auto}}", r"schedule.then.kind: auto is not a kind"),
        ("{kind: auto, min_gap_points: -1}", r"schedule.min_gap_points: -1 is not allowed"),
        ("{kind: auto, min_gap_points: true}", r"schedule.min_gap_points: true is not a number"),
        ("{kind: auto, probe_share: 0}", r"schedule.probe_share: 0 is not allowed"),
        ("{kind: auto, gap: 2}", r"schedule.gap: unknown key; allowed here: kind, min_gap_points, probe_share, then"),
        (
            "{kind: auto, then: {kind: assistant, assistant_percent: 5}}",
            r"^schedule.then.assistant_percent: 5 is not above the student's own scale of 10 percent",
        ),
        ("{kind: auto, then: {kind: minidisc, scales: [5]}}", r"^schedule.then.scales: 5 is not strictly between"),
        (
            "{kind: auto, then: {kind: minidisc, search: race, num_sampled: 2}}",
            r"^schedule.then.num_sampled: 2 would leave the candidates",
        ),
        ("{kind: conventional, match: {kind: auto}}", r"schedule.match.kind"),
        ("{kind: auto, then: {scales: 5}}", r"^schedule.then.scales: 5 is not a grid"),
    ],
)
def test_what_does_not_go_with_it_is_refused(schedule, message):
    with pytest.raises(UserError, match=message):
        recipe(schedule)


def test_kinds_below_the_following_schedule_have_the_same_defaults():
    then = "{kind: minidisc, scales: {values: [60, 30]}, num_sampled: 2, selection: {lam: 0.5}}"
    short = recipe(f"{{kind: auto, then: {then}}}")
    assert short.candidate_scales() == (60, 30)
    assert short.full_schedule.selection.lam == 0.5


def test_the_papers_protocol_has_no_rows_to_decide_on():
    with pytest.raises(UserError, match=r"^protocol: paper has no selection rows of its own.*use protocol held_out"):
        recipe("{kind: auto}", "protocol=paper")
    assert recipe("{kind: minidisc}", "protocol=paper").protocol == "paper"
