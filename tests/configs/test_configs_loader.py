"""Recipes, overrides and kinds; anything at all is a config or a user's mistake."""

import string

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minidisc_ray.configs import RunConfig, UserError, load_recipe, resolve
from minidisc_ray.configs.schedule import MaxiDiscConfig, MiniDiscConfig
from minidisc_ray.configs.task import GlueTaskConfig
from minidisc_ray.preparation.student_scale import layers_percent


def recipe(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [1, 2", "not valid YAML"),
        ("- 1\n- 2", "mapping of keys"),
        ("", "mapping of keys"),
        ("just text", "mapping of keys"),
        ("1: 2", "mapping of keys"),
        ("distil: &shared {num_epochs: 3}\nfinetune: *shared", "aliases"),
        ("x: [&a [*a]]", "aliases"),
        ("a: !!python/object/apply:os.system [true]", "not valid YAML"),
        ("a: \x00", "not valid YAML"),
        ("a: " + "[" * 3000, "not valid YAML"),
        ("seed: " + "1" * 5000, "not valid YAML"),
    ],
)
def test_what_is_no_recipe_is_refused(tmp_path, text, words):
    with pytest.raises(UserError, match=words) as caught:
        load_recipe(recipe(tmp_path, text))
    assert "recipe.yaml" in str(caught.value)


def test_files_that_cannot_be_read_are_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        load_recipe(tmp_path / "missing.yaml")
    with pytest.raises(UserError, match="cannot be read"):
        load_recipe(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot be read"):
        load_recipe(tmp_path / "binary.yaml")
    (tmp_path / "huge.yaml").write_text("#" * 1_000_001)
    with pytest.raises(UserError, match="larger than"):
        load_recipe(tmp_path / "huge.yaml")


def test_a_recipe_and_its_overrides(tmp_path):
    path = recipe(tmp_path, "task: mrpc\ndata: {kind: files, folder: /x}\ndistil: {num_epochs: 4}\n")
    config = load_recipe(
        path, ["distil.learning_rate=1e-4", "student.scale_percent=20", "distil.early_stop_epochs=null"]
    )
    assert config.task == GlueTaskConfig(name="mrpc")
    assert (config.distil.num_epochs, config.distil.learning_rate) == (4, 1e-4)
    assert config.distil.early_stop_epochs is None
    assert config.student.scale_percent == 20


@pytest.mark.parametrize("text", ["1e-4", "1E-4", "1.e-4", "0.0001", "1.0e-04"])
def test_numbers_that_yaml_takes_for_text_are_numbers(tmp_path, text):
    assert load_recipe(recipe(tmp_path, f"distil:\n  learning_rate: {text}")).distil.learning_rate == 1e-4
    assert resolve({}, [f"distil.learning_rate={text}"]).distil.learning_rate == 1e-4


def test_another_kind_keeps_shared_keys_and_drops_foreign_ones():
    raw = {"schedule": {"kind": "minidisc", "scales": {"kind": "list", "values": [60, 30]}, "num_sampled": 2}}
    config = resolve(raw, ["schedule.kind=maxidisc"])
    assert isinstance(config.schedule, MaxiDiscConfig)
    assert config.schedule.scales.values == (60, 30)
    assert resolve(raw, ["schedule.kind=conventional"]).schedule.kind == "conventional"
    assert isinstance(resolve(raw, ["schedule.kind=minidisc"]).schedule, MiniDiscConfig)
    assert resolve(raw, ["schedule.kind=minidisc"]).schedule.num_sampled == 2
    assert raw["schedule"]["kind"] == "minidisc", "the recipe itself is not changed"


def test_another_kind_of_grid_inside_a_schedule():
    raw = {"schedule": {"kind": "minidisc", "scales": {"kind": "list", "values": [60, 30]}}}
    config = resolve(raw, ["schedule.scales.kind=step", "schedule.scales.step_percent=10"])
    assert config.candidate_scales() == (90, 80, 70, 60, 50, 40, 30, 20)


def test_another_kind_of_student_works_out_its_own_scale():
    raw = {"student": {"scale_percent": 10}}
    shallow = resolve(raw, ["student.kind=layers", "student.num_layers=3"]).student
    assert (shallow.kind, shallow.num_layers, shallow.width_percent, shallow.scale_percent) == ("layers", 3, 100, None)
    written = {"student": {"kind": "layers", "num_layers": 3, "scale_percent": 25}}
    assert resolve(written, ["student.kind=layers"]).student.scale_percent == 25
    assert resolve(written, ["student.kind=pruned"]).student.scale_percent == 25


@pytest.mark.parametrize(
    ("layers", "width", "of", "percent"),
    [(6, 100, 12, 50), (2, 100, 12, 17), (4, 100, 12, 33), (1, 50, 4, 13), (3, 50, 4, 38), (12, 15, 12, 15)],
)
def test_the_scale_of_a_student_of_fewer_layers_is_its_share_overall(layers, width, of, percent):
    raw = {"student": {"kind": "layers", "num_layers": layers, "width_percent": width}}
    config = resolve(raw)
    assert config.student.scale_percent is None
    found = config.with_student_scale(layers_percent(config.student, of))
    assert found.student_percent == percent
    assert layers_percent(found.student, of) == percent
    assert found == resolve(found.model_dump(mode="json"))


def test_task_by_name_can_be_overridden():
    raw = {"task": "mrpc", "data": {"kind": "files", "folder": "/x"}}
    assert resolve(raw, ["task.name=rte"]).task == GlueTaskConfig(name="rte")


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"schedule": {"kind": "maxidisc", "scales": {"kind": "slices", "count": 9}}},
        {"schedule": {"kind": "assistant"}, "sandwich": {"num_epochs": 2}, "name": "mine"},
        {"task": "stsb", "data": {"kind": "hub"}, "teacher": {"kind": "pretrained", "path": "some/model"}},
        {"schedule": {"kind": "minidisc", "selection": {"kind": "negative_derivative"}}},
        {"schedule": {"kind": "sparse_teacher"}, "student": {"kind": "layers", "num_layers": 2, "take": "last"}},
    ],
)
def test_a_resolved_config_dumps_and_loads_to_itself(tmp_path, raw):
    config = resolve(raw)
    text = yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)
    assert load_recipe(recipe(tmp_path, text)) == config
    assert config.model_dump(mode="json").keys() == RunConfig.model_fields.keys()


def test_configs_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        resolve({}).seed = 3  # type: ignore[misc]


_KEYS = st.sampled_from(
    [*RunConfig.model_fields, "kind", "name", "scales", "values", "count", "lam", "num_epochs", "scale_percent",
     "selection", "path", "folder", "text", "label_names", "num_sampled", "batch_size", "learning_rate"]
) | st.text(string.printable, max_size=6)  # fmt: skip
_VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-5, 120)
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        ["minidisc", "maxidisc", "conventional", "assistant", "glue", "mrpc", "builtin", "files", "hub", "list", "step",
         "slices", "lambda", "pretrained", "1e-4", "1e999", "${NO_SUCH_VARIABLE_X}", "ltsd", "paper"]
    )
)  # fmt: skip
_TREES = st.recursive(
    _VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=4),
    max_leaves=8,
)


def outcome(call):
    try:
        return call()
    except UserError as error:
        return error


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(_KEYS, _TREES, max_size=4))
def test_any_mapping_is_a_config_or_a_users_mistake(raw):
    assert isinstance(outcome(lambda: resolve(raw)), RunConfig | UserError)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(_KEYS, min_size=1, max_size=3),
    _TREES.map(lambda tree: yaml.safe_dump(tree, default_flow_style=True)) | st.text(string.printable, max_size=12),
)
def test_any_override_gives_a_config_or_a_users_mistake(path, text):
    assert isinstance(outcome(lambda: resolve({}, [".".join(path) + "=" + text])), RunConfig | UserError)


@settings(max_examples=100, deadline=None)
@given(text=st.text(string.printable, max_size=60))
def test_any_text_is_a_recipe_or_a_users_mistake(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8")
    assert isinstance(outcome(lambda: load_recipe(path)), RunConfig | UserError)


def test_a_key_that_stands_twice_is_a_mistake(tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text("task: builtin\nseed: 1\nseed: 2\n", encoding="utf-8")
    with pytest.raises(UserError, match="'seed' is set twice, in lines 2 and 3; remove one of them"):
        load_recipe(path)
    path.write_text("task: builtin\nteacher: {kind: builtin, kind: builtin}\n", encoding="utf-8")
    with pytest.raises(UserError, match="'kind' is set twice, in line 2; remove one of them"):
        load_recipe(path)


def test_a_section_without_a_kind_is_of_the_default_kind():
    config = resolve({"schedule": {"num_sampled": 3, "selection": {"lam": 0.5}}}, ["teacher.num_layers=2"])
    assert isinstance(config.schedule, MiniDiscConfig)
    assert (config.schedule.num_sampled, config.schedule.selection.lam, config.teacher.num_layers) == (3, 0.5, 2)


def test_an_ampersand_in_a_value_is_no_anchor():
    assert resolve({}, ['storage="R &D"']).storage == "R &D"


def test_a_choice_that_another_kind_has_goes_with_it():
    there_and_back = ["schedule.kind=maxidisc", "schedule.selection.kind=student", "schedule.kind=minidisc"]
    assert resolve({}, there_and_back).schedule == resolve({}).schedule
    kept = ["schedule.selection={kind: negative_derivative}", "schedule.num_assistants=1", "schedule.kind=minidisc"]
    assert resolve({}, kept).schedule.selection.kind == "negative_derivative"


def test_a_grid_is_known_by_its_keys():
    assert resolve({"schedule": {"scales": {"values": [60, 40]}, "num_sampled": 2}}).schedule.scales.kind == "list"
    assert resolve({"schedule": {"scales": {"count": 9}}}).schedule.scales.kind == "slices"
    several = resolve({"schedule": {"scales": {"largest_times": 3}, "num_sampled": 2}})
    assert (several.schedule.scales.kind, several.candidate_scales()) == ("times", (30, 27, 24, 21, 18, 15))
