"""A mistake in a recipe is one sentence: the key, the value, what is allowed."""

import pytest

from minidisc_ray.configs import UserError, resolve

# Mistakes: what is written, and what the sentence has to name.
MISTAKES = {
    "unknown key": ({"shedule": {}}, ["shedule", "unknown key", "schedule", "student"]),
    "unknown key inside": ({"student": {"scale": 10}}, ["student.scale", "unknown key", "scale_percent"]),
    "unknown key of a kind": (
        {"schedule": {"kind": "conventional", "num_sampled": 3}},
        ["schedule.num_sampled", "unknown key", "kind"],
    ),
    "a key of other schedules": (
        {"schedule": {"kind": "conventional", "selection": {"kind": "lambda"}}},
        ["schedule.selection: unknown key of this kind, but one of minidisc, maxidisc; allowed here: kind, match"],
    ),
    "a truth for one of two numbers": (
        {"schedule": {"kind": "minidisc", "selection": {"kind": "negative_derivative", "order": True}}},
        ["schedule.selection.order: true is not a number"],
    ),
    "a truth for a number or a word": (
        {"pruning": {"importance_rows": True}},
        ["pruning.importance_rows: true is not a number; use a number, or auto or null"],
    ),
    "a thousand metrics": (
        {"task": {"kind": "classification", "extra_metrics": ["acuracy"] * 1000}},
        ["task: extra_metrics is ['acuracy', 'acuracy',", "...; give one or several of accuracy, f1"],
    ),
    "a letter as a separator": (
        {"task": {"kind": "multilabel", "separator": "e"}},
        ["task: separator is 'e'; give marks such as ; or |"],
    ),
    "a separator that is not printable": (
        {"task": {"kind": "multilabel", "separator": "|\x00|"}},
        ["task: separator is '|\\x00|'; give marks such as ; or |"],
    ),
    "unknown kind": ({"schedule": {"kind": "minidisk"}}, ["schedule.kind", "minidisk", "minidisc", "maxidisc"]),
    "unknown task": ({"task": "mrcp"}, ["task.name", "mrcp", "mrpc"]),
    "wrong type": ({"distil": {"num_epochs": "many"}}, ["distil.num_epochs", "'many'", "integer"]),
    "section that is a value": ({"distil": 3}, ["distil", "3"]),
    "student scale of 0": (
        {"student": {"scale_percent": 0}},
        ["student.scale_percent", "0", "greater than or equal to 1"],
    ),
    "student scale of 100": ({"student": {"scale_percent": 100}}, ["student.scale_percent", "100", "99"]),
    "candidate below the student": (
        {"schedule": {"kind": "maxidisc", "scales": {"kind": "list", "values": [5]}}},
        ["schedule.scales", "5", "10 percent", "11 and 99"],
    ),
    "candidate at the teacher": (
        {"schedule": {"kind": "minidisc", "scales": {"kind": "list", "values": [100, 50]}}},
        ["schedule.scales", "100", "11 and 99"],
    ),
    "a scale twice": (
        {"schedule": {"kind": "maxidisc", "scales": {"kind": "list", "values": [50, 50]}}},
        ["schedule.scales", "50", "once"],
    ),
    "slices that are no whole percents": (
        {"schedule": {"kind": "minidisc", "scales": {"kind": "slices", "count": 7}}},
        ["schedule.scales", "7", "whole percents", "18"],
    ),
    "assistant below the student": (
        {"schedule": {"kind": "assistant", "assistant_percent": 8}},
        ["schedule.assistant_percent", "8", "between 11 and 99"],
    ),
    "sparse teacher below the student": (
        {"schedule": {"kind": "sparse_teacher", "teacher_percent": 10}},
        ["schedule.teacher_percent", "10", "between 11 and 99"],
    ),
    "a stall of three hundred years": (
        {"compute": {"stall_seconds": 1e10}},
        ["compute.stall_seconds", "10000000000", "31622400"],
    ),
    "a price of nothing but zeros": (
        {"compute": {"price_per_device_hour": 5e-324}},
        ["compute.price_per_device_hour", "use 0", "0.000001"],
    ),
    "a currency that a terminal obeys": (
        {"compute": {"currency": "\x1b[31mX"}},
        ["compute.currency", r"\x1b[31mX", "EUR"],
    ),
    "a currency that a spreadsheet runs": ({"compute": {"currency": "=1+1"}}, ["compute.currency", "=1+1", "EUR"]),
    "layers of a pruned student": (
        {"student": {"num_layers": 4}},
        ["student.num_layers", "unknown key", "kind, scale_percent"],
    ),
    "a student of no number of layers": ({"student": {"kind": "layers"}}, ["student.num_layers", "missing"]),
    "a student of no layers": ({"student": {"kind": "layers", "num_layers": 0}}, ["student.num_layers", "0", "1"]),
    "layers taken in another way": (
        {"student": {"kind": "layers", "num_layers": 4, "take": "odd"}},
        ["student.take", "'odd'", "uniform", "first", "last"],
    ),
    "a width of 101": (
        {"student": {"kind": "layers", "num_layers": 4, "width_percent": 101}},
        ["student.width_percent", "101", "100"],
    ),
    "unknown kind of student": ({"student": {"kind": "thin"}}, ["student.kind", "thin", "pruned", "layers"]),
    "eta too large": (
        {"schedule": {"kind": "minidisc", "num_sampled": 19}},
        ["schedule.num_sampled", "19", "between 1 and 18"],
    ),
    "eta of zero": ({"schedule": {"kind": "minidisc", "num_sampled": 0}}, ["schedule.num_sampled", "0", "1"]),
    "lambda outside": (
        {"schedule": {"kind": "minidisc", "selection": {"kind": "lambda", "lam": 1.5}}},
        ["schedule.selection.lam", "1.5", "less than or equal to 1"],
    ),
    "not finite": ({"distil": {"learning_rate": float("nan")}}, ["distil.learning_rate", "nan", "finite"]),
    "task and data that do not go together": (
        {"task": "mrpc"},
        ["data.kind", "builtin", "glue"],
    ),
    "more workers than rows": (
        {"compute": {"num_workers": 4}, "distil": {"batch_size": 3}},
        ["distil.batch_size", "3", "num_workers", "4"],
    ),
    "more parts than rows": (
        {"distil": {"batch_size": 4, "accumulation_steps": 8}},
        ["distil", "accumulation_steps", "8", "4"],
    ),
    "files without files": ({"task": "mrpc", "data": {"kind": "files"}}, ["data", "folder", "train", "validation"]),
    "labels that repeat": (
        {"task": {"kind": "classification", "label_names": ["a", "a"]}, "data": {"kind": "files", "folder": "x"}},
        ["task", "label_names", "distinct"],
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_sentence_that_names_key_value_and_what_is_allowed(case):
    raw, words = MISTAKES[case]
    with pytest.raises(UserError) as caught:
        resolve(raw)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert [word for word in words if word not in sentence] == [], sentence
    assert sentence.startswith(words[0]), sentence


def test_further_mistakes_are_counted():
    with pytest.raises(UserError, match=r"\(2 more mistakes after this one\)"):
        resolve({"student": {"scale_percent": 0}, "distil": {"num_epochs": 0}, "extra": 1})


def test_a_missing_environment_variable_is_named(monkeypatch):
    monkeypatch.delenv("MINIDISC_TEST_PLACE", raising=False)
    raw = {"task": "mrpc", "data": {"kind": "files", "folder": "${MINIDISC_TEST_PLACE}/mrpc"}}
    with pytest.raises(UserError, match=r"^data\.folder: .*MINIDISC_TEST_PLACE.*not set"):
        resolve(raw)
    monkeypatch.setenv("MINIDISC_TEST_PLACE", "/data")
    assert resolve(raw).data.folder == "/data/mrpc"


def test_a_typo_survives_another_kind_and_is_refused():
    raw = {"schedule": {"kind": "minidisc", "num_smapled": 2}}
    with pytest.raises(UserError, match=r"schedule\.num_smapled: unknown key"):
        resolve(raw, ["schedule.kind=maxidisc"])


@pytest.mark.parametrize(
    "override",
    [
        "noequals",
        "=3",
        "a..b=3",
        "seed=[",
        "seed=2001-13-01",  # looks like a date to YAML, and is none
        "seed=" + "1" * 5000,
        "seed=!!python/name:os.system",
        "schedule.kind=[minidisc]",
        "schedule.kind={a: b}",
        "schedule.scales.kind=[list]",
        "seed.deeper=3",
        "task.kind=null",
        "distil=3",
    ],
)
def test_overrides_that_cannot_be_are_a_users_mistake(override):
    with pytest.raises(UserError) as caught:
        resolve({}, [override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("schedule.selection.kind=tusk", "use 'lambda', 'negative_derivative'"),
        ("schedule.scales=60", "60 is not a grid; write a list such as"),
        (
            "teacher={kind: pretrained, path: x, fine_tuned: perhaps}",
            "'perhaps' is not allowed; use 'auto', true or false",
        ),
        ("schedule={kind: maxidisc, scales: {count: 2}}", "are not whole percents; use a smaller student"),
    ],
)
def test_a_sentence_names_what_is_allowed_once(override, sentence):
    with pytest.raises(UserError) as refused:
        resolve({"student": {"scale_percent": 99}} if "count" in override else {}, [override])
    assert sentence in str(refused.value)
    assert "more mistake" not in str(refused.value)


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("file://", "file:///FOLDER"),
        ("runs\x1b[31m", "control characters"),
        ("s3:/AKSECRET:word@bucket/runs", "two slashes"),
        ("s3://bucket/AKSECRET:word@runs", "no credentials"),
        ("gs://bucket/runs#AKSECRET", "neither # nor ?"),
        ("s3://bucket/runs?key=AKSECRET", "neither # nor ?"),
    ],
)
def test_a_storage_that_is_none_is_refused_and_its_secrets_are_not_shown(storage, message):
    with pytest.raises(UserError, match=r"^storage: ") as caught:
        resolve({"storage": storage})
    assert message in str(caught.value)
    assert "AKSECRET" not in str(caught.value)
    assert "word" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
