"""From a study's file to its runs' recipes: what merges, what is replaced, what is refused."""

import pytest
from study_kit import raw_study, study_of, write_study

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.study.merge import merged
from minidisc_ray.configs.study.study import load_study, methods_without_runs, study_runs


def by_place(study):
    return {(run.task, run.method, run.scale_percent, run.seed): run.config for run in study_runs(study)}


def test_runs_are_methods_by_tasks_by_scales_by_seeds(tmp_path):
    study = study_of(tmp_path)
    configs = by_place(study)
    assert len(configs) == 3 * 2 * 2
    assert study.conventional == "LTSD"
    places = [(run.seed, run.method, run.scale_percent) for run in study_runs(study)]
    assert places[:3] == [(0, "LTSD", 20), (0, "LTSD", 10), (0, "TA", 20)]
    config = configs["builtin", "TA", 20, 1]
    assert (config.seed, config.student_percent, config.schedule.assistant_percent) == (1, 20, 40)
    assert config.data.train_rows == 128
    # Nothing behind a method's name is the recipe as it stands.
    assert configs["builtin", "MiniDisc", 10, 0].schedule.num_sampled == 2


def test_a_method_may_decide_by_itself(tmp_path):
    methods = {"LTSD": {"schedule": {"kind": "conventional"}}, "Auto": {"schedule": {"kind": "auto"}}}
    configs = by_place(study_of(tmp_path, methods=methods, seeds=[0], scales=[10]))
    assert configs["builtin", "Auto", 10, 0].schedule.label == "Auto"
    assert configs["builtin", "Auto", 10, 0].full_schedule.search == "race"


def test_another_kind_takes_the_foreign_keys_along_and_keeps_shared_ones(tmp_path):
    chosen = {"kind": "lambda", "lam": 0.5}
    recipe = {**raw_study()["recipe"], "schedule": {"kind": "minidisc", "scales": [60, 30], "selection": chosen}}
    methods = {
        "LTSD": {"schedule": {"kind": "conventional"}},
        "MaxiDisc": {"schedule": {"kind": "maxidisc"}},
        "MaxiDisc w/ λ-tradeoff": {"schedule": {"kind": "maxidisc", "selection": chosen}},
    }
    configs = by_place(study_of(tmp_path, recipe=recipe, methods=methods))
    assert configs["builtin", "LTSD", 10, 0].schedule.kind == "conventional"
    assert configs["builtin", "MaxiDisc", 10, 0].candidate_scales() == (60, 30)
    # MiniDisc's trade-off is no key that MaxiDisc shares but by name: with it, it would be table 5's ablation.
    assert configs["builtin", "MaxiDisc", 10, 0].schedule.selection.kind == "student"
    assert configs["builtin", "MaxiDisc w/ λ-tradeoff", 10, 0].schedule.selection.lam == 0.5


def test_changes_are_laid_over_each_other_from_teacher_to_task_to_method(tmp_path):
    study = study_of(
        tmp_path,
        teachers={"flat": {"teacher": {"num_layers": 1}, "distil": {"num_epochs": 2, "batch_size": 8}}, "deep": {}},
        tasks={"builtin": {"distil": {"num_epochs": 3}}},
        methods={"LTSD": {"schedule": {"kind": "conventional"}, "distil": {"learning_rate": 0.5}}},
        seeds=[0],
        scales=[20],
    )
    flat, deep = (run.config for run in study_runs(study))
    assert (flat.teacher.num_layers, deep.teacher.num_layers) == (1, 2)
    found = [(one.distil.num_epochs, one.distil.batch_size, one.distil.learning_rate) for one in (flat, deep)]
    assert found == [(3, 8, 0.5), (3, 16, 0.5)]
    assert flat.distil.early_stop_epochs is None


@pytest.mark.parametrize("student", [{"kind": "layers", "num_layers": 1}, {"kind": "checkpoint", "path": "a-model"}])
def test_a_student_with_a_scale_of_its_own_stands_once(tmp_path, student):
    methods = {
        "Other": {"schedule": {"kind": "conventional"}, "student": student},
        "LTSD": {"schedule": {"kind": "conventional"}},
    }
    study = study_of(tmp_path, methods=methods)
    runs = [run for run in study_runs(study) if run.seed == 0]
    assert [(run.method, run.scale_percent) for run in runs] == [("Other", None), ("LTSD", 20), ("LTSD", 10)]
    assert runs[0].config.student.scale_percent is None, "known once the models' sizes are"
    assert study.conventional == "LTSD", "one at the study's scales, which every other method is measured by"


def test_a_method_stands_only_where_it_says(tmp_path):
    methods = {"LTSD": {"schedule": {"kind": "conventional"}}, "TA": {"schedule": {"kind": "assistant"}}}
    methods["TA"]["only"] = {"scales": [20]}
    places = by_place(study_of(tmp_path, methods=methods, seeds=[3]))
    assert {(method, scale) for _, method, scale, _ in places} == {("LTSD", 10), ("LTSD", 20), ("TA", 20)}


BUDGETS = {
    "small": {"recipe": {"schedule": {"scales": [50]}}, "seeds": [7], "methods": {"TA": {"distil": {"num_epochs": 4}}}},
    "paper": {"recipe": {"teacher": {"kind": "pretrained", "path": "a-model"}}, "scales": [5]},
}


def test_a_budget_merges_the_recipe_and_replaces_lists(tmp_path):
    path = write_study(tmp_path, raw_study(budgets=BUDGETS, budget="small"))
    small, paper = load_study(path), load_study(path, budget="paper")
    assert (small.budget, paper.budget) == ("small", "paper")
    assert (small.seeds, small.scales, paper.seeds, paper.scales) == ((7,), (10, 20), (0, 1), (5,))
    configs = by_place(small)
    assert configs["builtin", "MiniDisc", 10, 7].candidate_scales() == (50,)
    assert configs["builtin", "TA", 10, 7].distil.num_epochs == 4
    assert configs["builtin", "TA", 10, 7].schedule.assistant_percent == 40
    # The built-in teacher's sizes went with its kind.
    assert by_place(paper)["builtin", "LTSD", 5, 0].teacher.path == "a-model"


def test_overrides_come_after_the_budget(tmp_path):
    path = write_study(tmp_path, raw_study(budgets=BUDGETS, budget="small"))
    sets = ["seeds=[1,2]", "recipe.schedule.kind=maxidisc", "methods.TA.distil.num_epochs=9", "recipe.distil={}"]
    study = load_study(path, sets)
    configs = by_place(study)
    assert study.seeds == (1, 2)
    assert configs["builtin", "MiniDisc", 10, 1].schedule.kind == "maxidisc"
    assert configs["builtin", "TA", 10, 2].distil.num_epochs == 9
    assert configs["builtin", "LTSD", 10, 1].distil.num_epochs == 10


def test_a_variable_counts_only_in_the_budget_that_is_taken(tmp_path, monkeypatch):
    monkeypatch.delenv("MINIDISC_TEST_PLACE", raising=False)
    budgets = {
        "small": {},
        "other": {"tasks": {"mrpc": {"data": {"kind": "files", "folder": "${MINIDISC_TEST_PLACE}"}}}},
    }
    path = write_study(tmp_path, raw_study(budgets=budgets, budget="small"))
    assert list(load_study(path).tasks) == ["builtin"]
    with pytest.raises(UserError, match=r"^tasks\.mrpc\.data\.folder: .*MINIDISC_TEST_PLACE"):
        load_study(path, budget="other")


def test_a_task_of_ones_own_says_what_it_is(tmp_path):
    tasks = {"few": {"task": "builtin", "data": {"train_rows": 64}}, "many": {"task": {"kind": "builtin"}}}
    assert {run.config.data.train_rows for run in study_runs(study_of(tmp_path, tasks=tasks))} == {64, 1600}
    with pytest.raises(UserError, match=r"^tasks\.few\.task: missing; 'few' is neither builtin nor a GLUE task"):
        study_of(tmp_path, tasks={"few": {}})


def test_some_of_the_tasks_can_be_taken(tmp_path):
    tasks = {name: {"task": "builtin", "data": {"train_rows": rows}} for name, rows in (("few", 64), ("many", 128))}
    file = write_study(tmp_path, raw_study(tasks=tasks, methods=WITH_ONE_TASK))
    assert {run.task for run in study_runs(load_study(file))} == {"few", "many"}
    part = load_study(file, tasks=["many"])
    assert {(run.task, run.method) for run in study_runs(part)} == {("many", "LTSD")}
    assert methods_without_runs(part) == ["TA has no run in this command"]
    whole = {run.config for run in study_runs(load_study(file)) if run.task == "many"}
    assert {run.config for run in study_runs(part)} == whole, "the same runs as in the whole study"
    with pytest.raises(UserError, match=r"^--tasks: 'mny' is not a task of this study; name some of few, many$"):
        load_study(file, tasks=["few", "mny"])


WITH_ONE_TASK = {
    "LTSD": {"schedule": {"kind": "conventional"}},
    "TA": {"schedule": {"kind": "assistant", "assistant_percent": 40}, "only": {"tasks": ["few"]}},
}


def method(**changes):
    return {"methods": {"LTSD": {"schedule": {"kind": "conventional"}}, "Other": changes}}


def paper(**rows):
    return {"paper": {"teacher": {"num_layers": 12, "hidden_size": 768}, "rows": rows}}


MISTAKES = {
    "unknown key": ({"sedes": [0]}, ["sedes: unknown key", "seeds"]),
    "no methods": ({"methods": {}}, ["methods"]),
    "no tasks": ({"tasks": {}}, ["tasks"]),
    "no scales": ({"scales": []}, ["scales"]),
    "no teachers": ({"teachers": {}}, ["teachers"]),
    "a seed twice": ({"seeds": [0, 0]}, ["seeds: 0 is listed twice"]),
    "a scale twice": ({"scales": [10, 10]}, ["scales: 10 is listed twice"]),
    "a method's seed twice": (
        {"methods": {"LTSD": {"schedule": {"kind": "conventional"}, "only": {"seeds": [0, 0]}}}},
        ["methods.LTSD.only.seeds: 0 is listed twice; list each value once"],
    ),
    "a method's task twice": (
        {"methods": {"LTSD": {"schedule": {"kind": "conventional"}, "only": {"tasks": ["builtin", "builtin"]}}}},
        ["methods.LTSD.only.tasks: builtin is listed twice"],
    ),
    "a name that leaves the storage": ({"name": "../x"}, ["name: '../x'"]),
    "a conventional that is none": ({"conventional": "FT"}, ["conventional: 'FT' is not a method", "LTSD, TA"]),
    "a baseline that is none": ({"baselines": ["FT"]}, ["baselines: 'FT' is not a method of this study", "LTSD, TA"]),
    "a baseline twice": ({"baselines": ["TA", "TA"]}, ["baselines: 'TA' is listed twice"]),
    "a baseline without a list": ({"baselines": "TA"}, ["baselines: 'TA' is not allowed"]),
    "unknown budget": ({"budget": "big", "budgets": {"small": {}}}, ["budget: 'big' is not a budget", "small"]),
    "a budget without budgets": ({"budget": "big"}, ["budget: 'big'", "has none"]),
    "no default budget": ({"budgets": {"small": {}}}, ["budget: missing", "small"]),
    "a budget of other keys": ({"budget": "a", "budgets": {"a": {"name": "b"}}}, ["budgets.a.name: not a key"]),
    "a mistake in a method": (
        method(schedule={"kind": "assistant", "assistant_percent": 15}),
        ["methods.Other on builtin at 20 percent: schedule.assistant_percent: 15 is not above"],
    ),
    "an unknown key in a method": (
        method(shedule={}),
        ["methods.Other.shedule: unknown key; allowed here: distil, group, objective, only"],
    ),
    "compute in a method": (method(compute={"num_workers": 2}), ["methods.Other.compute: not allowed here", "recipe"]),
    "storage in a task": ({"tasks": {"builtin": {"storage": "x"}}}, ["tasks.builtin.storage: not allowed here"]),
    "seed in a method": (method(seed=1), ["methods.Other.seed: not allowed here; write the study's seeds"]),
    "seed in the recipe": ({"recipe": {"seed": 1}}, ["recipe.seed: not allowed here; write the study's seeds"]),
    "a teacher of one method alone": (method(finetune={"num_epochs": 2}), ["methods.Other.finetune: not allowed here"]),
    "a scale in the recipe": (
        {"recipe": {"student": {"scale_percent": 5}}},
        ["recipe.student.scale_percent: not allowed here; write the study's scales"],
    ),
    "only where nothing is": (method(only={"scales": [5]}), ["methods.Other.only.scales: 5 is not among", "10, 20"]),
    "printed for no method": (paper(FT={10: {"mrpc": 80}}), ["paper.rows: 'FT' is not a method", "Teacher"]),
    "printed in no column": (paper(TA={10: {"mprc": 80}}), ["paper.rows.TA.10: 'mprc' is not a column", "mnli_m"]),
    "printed without a teacher": ({"paper": {"rows": {"TA": {10: {"mrpc": 80}}}}}, ["paper: give teacher and rows"]),
    "a name of the storage's own kind": ({"name": "a b"}, ["name: 'a b' is not a folder's name", "letters, digits"]),
    "a name that is empty": ({"methods": {"": {}}}, ["methods: '' is not a name; write one line"]),
    "a name that is blank": ({"methods": {" ": {}}}, ["methods: ' ' is not a name"]),
    "a name of two lines": ({"tasks": {"a\nb": {"task": "builtin"}}}, ["tasks: 'a\\nb' is not a name"]),
    "a name that is no text": ({"methods": {5: {}}}, ["methods: 5 is not text", "quotes"]),
    "the teacher's row": ({"methods": {"Teacher": {}}}, ["methods: 'Teacher' is the name of a row that every"]),
    "the majority's row": ({"methods": {"Majority class": {}}}, ["methods: 'Majority class' is the name of a row"]),
    "a column of the table": ({"tasks": {"label": {"task": "builtin"}}}, ["tasks: 'label' would have a column label"]),
    "the average": ({"tasks": {"average": {"task": "builtin"}}}, ["tasks: 'average' would have", "the average's"]),
    "another task's column": (
        {"tasks": {"X": {"task": "builtin"}, "X_std": {"task": "builtin"}}},
        ["tasks: 'X_std' would have a column X_std, which is that of 'X'"],
    ),
    "a matched column": ({"tasks": {"mnli_m": {"task": "rte"}, "mnli": {}}}, ["tasks: 'mnli' would have"]),
    "a list for a budget": ({"budget": ["a"], "budgets": {"a": {}}}, ["budget: ['a'] is not a name; write one of a"]),
    "a mapping for a budget": ({"budget": {"a": 1}, "budgets": {"a": {}}}, ["budget: {'a': 1} is not a name"]),
    "a number for a method that a budget changes": (
        {"methods": {"A": 5}, "budget": "a", "budgets": {"a": {"methods": {"A": {"distil": {"num_epochs": 1}}}}}},
        ["methods.A: 5 is not a mapping"],
    ),
    "a word for a task that a budget changes": (
        {"tasks": {"builtin": "x"}, "budget": "a", "budgets": {"a": {"tasks": {"builtin": {}}}}},
        ["tasks.builtin: 'x' is not a mapping"],
    ),
    "a truth for a scale": ({"scales": [True]}, ["scales.0: true is not a number"]),
    "a truth for a seed": ({"seeds": [True]}, ["seeds.0: true is not a number"]),
    "a truth for a figure": (paper(TA={10: {"mrpc": True}}), ["paper.rows.TA.10.mrpc: true is not a number"]),
    "a figure beyond percents": (paper(TA={10: {"mrpc": 101}}), ["paper.rows.TA.10.mrpc: 101 is not allowed"]),
    "a cost below nothing": (paper(TA={10: {"cost": -1}}), ["paper.rows.TA.10.cost: -1 is not allowed"]),
    "printed at no scale": (paper(TA={7: {"mrpc": 80}}), ["paper.rows.TA: 7 is not among the study's scales (10, 20)"]),
    "an average of no column": (
        {"paper": {**paper(TA={10: {"mrpc": 80}})["paper"], "average_of": ["mprc"]}},
        ["paper.average_of: 'mprc' is not a task's column"],
    ),
    "two methods that are one": (
        {"methods": {"A": {"schedule": {"kind": "conventional"}}, "B": {"schedule": {"kind": "conventional"}}}},
        ["methods: 'A' and 'B' have the same recipe everywhere"],
    ),
    "two teachers that are one": ({"teachers": {"A": {}, "B": {}}}, ["teachers: 'A' and 'B' have the same recipe"]),
    "a conventional with an assistant": ({"conventional": "TA"}, ["conventional: 'TA' has schedule assistant"]),
    "too many runs": ({"seeds": list(range(2000))}, ["12,000 runs", "10,000"]),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_sentence_that_names_the_key(tmp_path, case):
    changes, words = MISTAKES[case]
    with pytest.raises(UserError) as caught:
        study_of(tmp_path, **changes)
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(words[0]) or case == "too many runs", text
    assert [word for word in words if word not in text] == [], text


def test_figures_may_be_of_another_budgets_scales_and_costs_of_any_size(tmp_path):
    printed = {**paper(TA={5: {"mrpc": -3, "cost": 1000, "flops_g": 900}, "20": {"mrpc": 100}}), "budget": "small"}
    assert study_of(tmp_path, **printed, budgets={"small": {}, "large": {"scales": [5]}}).paper


@pytest.mark.parametrize("override", ["budget=small", "budgets.small.seeds=[1]"])
def test_a_budget_is_named_by_its_own_option(tmp_path, override):
    with pytest.raises(UserError, match="--budget"):
        study_of(tmp_path, override)


@pytest.mark.parametrize("text", ["name: a\nname: b", "a: &x 1\nb: *x", "- 1", "a: !!python/name:os.system x"])
def test_what_is_no_study_is_refused(tmp_path, text):
    path = tmp_path / "study.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"study\.yaml"):
        load_study(path)


def test_merging_leaves_both_sides_as_they_were():
    base = {"schedule": {"kind": "minidisc", "scales": [60]}, "distil": {"num_epochs": 2}}
    changes = {"schedule": {"kind": "maxidisc", "scales": {"kind": "step"}}}
    found = merged(base, changes)
    assert found == {"schedule": {"kind": "maxidisc", "scales": {"kind": "step"}}, "distil": {"num_epochs": 2}}
    found["schedule"]["scales"]["step_percent"] = 7
    found["distil"]["num_epochs"] = 3
    assert base["distil"] == {"num_epochs": 2}
    assert changes["schedule"]["scales"] == {"kind": "step"}
