import pytest

from minidisc_ray.configs import resolve
from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.task import (
    BuiltinTaskConfig,
    ClassificationTaskConfig,
    GlueTaskConfig,
    RegressionTaskConfig,
)
from minidisc_ray.data.labels import LabelError, distinct_names
from minidisc_ray.data.tasks import resolve_task, task_columns

METRICS = {
    "cola": ("matthews",),
    "sst2": ("accuracy",),
    "mrpc": ("f1", "accuracy"),
    "stsb": ("spearman", "pearson"),
    "qqp": ("f1", "accuracy"),
    "mnli": ("accuracy",),
    "qnli": ("accuracy",),
    "rte": ("accuracy",),
    "wnli": ("accuracy",),
}


@pytest.mark.parametrize("name", sorted(METRICS))
def test_glue(name):
    task = resolve_task(GlueTaskConfig(name=name))
    assert task.name == name
    assert task.metrics == METRICS[name]
    assert task.is_regression == (name == "stsb")
    assert task.num_labels == {"stsb": 1, "mnli": 3}.get(name, 2)
    expected = ("validation_matched", "validation_mismatched") if name == "mnli" else ("validation",)
    assert task.validation_splits == expected


def test_custom_tasks():
    named = resolve_task(ClassificationTaskConfig(text=("a", "b"), label_names=("x", "y", "z"), metric="macro_f1"))
    assert (named.name, named.text_columns, named.label_names, named.metrics) == (
        "classification",
        ("a", "b"),
        ("x", "y", "z"),
        ("macro_f1",),
    )
    assert resolve_task(ClassificationTaskConfig(), ["p", "q"]).label_names == ("p", "q")
    assert resolve_task(RegressionTaskConfig(text="review"), name="stars").name == "stars"
    assert task_columns(RegressionTaskConfig(text="review", label="stars")) == ("review", "stars")
    assert resolve_task(RegressionTaskConfig(metric="pearson")).metrics == ("pearson", "spearman")
    assert resolve_task(BuiltinTaskConfig()).label_names == ("negative", "positive")
    assert task_columns(ClassificationTaskConfig()) == ("text", "label")


@pytest.mark.parametrize(
    ("config", "key"),
    [
        (ClassificationTaskConfig(metric="f1"), "metric"),
        (ClassificationTaskConfig(selection_metric="f1"), "selection_metric"),
        (ClassificationTaskConfig(extra_metrics=("f1",)), "extra_metrics"),
        (GlueTaskConfig(name="mnli", selection_metric=("accuracy", "f1")), "selection_metric"),
    ],
)
def test_f1_of_more_than_two_classes(config, key):
    with pytest.raises(UserError, match=rf"^task.{key}: f1 is of two classes, .* has 3 .*use macro_f1.*weighted_f1$"):
        resolve_task(config, ["a", "b", "c"])
    if config.kind == "classification":
        assert "f1" in (*resolve_task(config, ["a", "b"]).metrics, *resolve_task(config, ["a", "b"]).selection_metrics)


def test_extra_metrics_are_reported_and_never_choose():
    task = resolve_task(RegressionTaskConfig(extra_metrics=("mean_squared_error", "pearson")))
    assert task.metrics == ("spearman", "pearson", "mean_squared_error")
    assert task.chosen_by == ("spearman",)


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ({"metric": "mean_squared_error"}, "an error has no upper bound, so it cannot choose; use pearson or spearman"),
        ({"selection_metric": "mean_absolute_error"}, "selection_metric is mean_absolute_error; an error has no upper"),
        (
            {"extra_metrics": ["accuracy"]},
            "extra_metrics is ['accuracy']; give one or several of spearman, pearson, ",
        ),
    ],
)
def test_errors_never_choose(task, words):
    with pytest.raises(UserError) as error:
        resolve({"task": {"kind": "regression", **task}})
    assert words in str(error.value)


def test_too_few_names():
    with pytest.raises(UserError, match=r"^task.label_names: missing, and only 'p' is found in the training labels; "):
        resolve_task(ClassificationTaskConfig(), ["p"])


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (["b", "a", "b", None], ("a", "b")),
        ([10, 9, 2, 10], ("2", "9", "10")),
        (["10", "9"], ("9", "10")),
        ([1.0, 0.0], ("0", "1")),
        ([True, False], ("false", "true")),
    ],
)
def test_found_names(values, names):
    assert distinct_names(values) == names


@pytest.mark.parametrize("value", [0.5, float("nan"), ["a"]])
def test_found_names_refuse_values(value):
    with pytest.raises(LabelError, match="a class is a name or a whole number"):
        distinct_names([0, value])
