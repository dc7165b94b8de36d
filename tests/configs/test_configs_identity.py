import pytest

from minidisc_ray.configs import UserError, resolve
from minidisc_ray.configs.identity import comparable_setting, digest, run_identity, run_name
from minidisc_ray.preparation.student_scale import layers_percent

CONTENTS = {"data": "d1", "teacher": "t1"}
FILES = {
    "task": "mrpc",
    "data": {"kind": "files", "folder": "/x"},
    "teacher": {"kind": "pretrained", "path": "/models/a"},
    "schedule": {"kind": "minidisc"},
}


def name_of(overrides=(), contents=CONTENTS, raw=FILES):
    config = resolve(raw, overrides)
    return run_name(config, run_identity(config, contents))


@pytest.mark.parametrize(
    "override",
    [
        "storage=/elsewhere",
        "compute.num_workers=2",
        "compute.cpus_per_worker=4",
        "compute.gpus_per_worker=1",
        "compute.teacher_cache_gib=0",
        "compute.storage_patience_seconds=1",
        "distil.checkpoint_steps=5",
        "finetune={num_epochs: 3, checkpoint_steps: 5}",
        "compute.address=ray://head",
        "compute.price_per_device_hour=2.5",
        "compute.currency=EUR",
        "compute.measure_energy=true",
        "track={kind: mlflow, uri: sqlite:///runs.db}",
        "data.folder=/moved",
        "teacher.path=/moved/a",
        "schedule.num_sampled=6",  # the default, written out
        "task.description=Do two sentences mean the same?",
    ],
)
def test_places_and_resources_are_not_part_of_a_run(override):
    assert name_of([override]) == name_of()


def test_a_name_is_not_part_of_the_identity():
    named = resolve(FILES, ["name=mine"])
    assert run_identity(named, CONTENTS) == run_identity(resolve(FILES), CONTENTS)
    assert run_name(named, run_identity(named, CONTENTS)) == "mine"


@pytest.mark.parametrize(
    "override",
    [
        "seed=1",
        "schedule.selection={kind: lambda, lam: 0.3}",
        "schedule.num_sampled=5",
        "schedule.kind=conventional",
        "distil.learning_rate=1e-3",
        "sandwich.learning_rate=1e-3",
        "finetune.num_epochs=2",
        "distil.accumulation_steps=2",
        "data.max_length=64",
        "data.selection_seed=1",
        "student.scale_percent=12",
        "pruning.neuron_multiple=1",
        "pruning.importance=magnitude",
        "objective.hidden_layers=every_second",
        "schedule={kind: minidisc, search: race, in_place: true}",
        "objective.hidden_weight=2",
        "protocol=paper",
        "precision=bfloat16",
        "teacher.num_layers=3",
        "task.name=qqp",
    ],
)
def test_what_can_change_a_number_changes_the_run(override):
    assert name_of([override]) != name_of()


@pytest.mark.parametrize("contents", [{"data": "d2", "teacher": "t1"}, {"data": "d1", "teacher": "t2"}])
def test_contents_of_files_are_part_of_a_run(contents):
    assert name_of(contents=contents) != name_of()


def test_a_sandwich_that_trains_as_distil_does_is_the_same_written_or_not():
    distil = resolve(FILES).distil.model_dump(mode="json")
    assert name_of(raw={**FILES, "sandwich": distil}) == name_of()


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (FILES, "mrpc-minidisc-10pc-seed0-14cba406"),
        ({}, "builtin-minidisc-10pc-seed0-05f2e7b5"),
        (
            {"student": {"scale_percent": 25}, "schedule": {"kind": "conventional"}},
            "builtin-conventional-25pc-seed0-0551ccea",
        ),
        (
            {
                "schedule": {
                    "kind": "conventional",
                    "match": {"kind": "minidisc", "scales": [60, 40, 20], "num_sampled": 3},
                }
            },
            "builtin-conventional-10pc-seed0-1b421e83",
        ),
        (
            {"objective": {"kind": "sum", "parts": [{"objective": {"kind": "ltsd"}}]}},
            "builtin-minidisc-10pc-seed0-sum-2b46b322",
        ),
    ],
)
def test_names_stay_from_one_release_to_the_next(raw, name):
    assert name_of(raw=raw) == name


def test_a_pruned_student_is_the_same_run_with_its_kind_written_or_not():
    assert name_of(["student.kind=pruned"]) == name_of()
    assert run_identity(resolve(FILES), CONTENTS)["student"] == {"scale_percent": 10}


def test_students_of_fewer_layers_are_runs_of_their_own():
    def name_with(*overrides):
        config = resolve(FILES, ["student.kind=layers", "student.num_layers=6", *overrides])
        config = config.with_student_scale(layers_percent(config.student, 12))
        return run_name(config, run_identity(config, CONTENTS))

    assert name_with().startswith("mrpc-minidisc-50pc-seed0-")
    names = {name_with(), name_with("student.take=last"), name_with("student.width_percent=90")}
    assert len(names) == 3
    assert name_with("student.scale_percent=50") == name_with()
    assert name_of(["student.scale_percent=50"]) not in names


def test_the_derived_name_says_what_it_is_and_stays_the_same():
    name = name_of()
    assert name.startswith("mrpc-minidisc-10pc-seed0-")
    assert name == name_of()
    assert name_of(raw={}).startswith("builtin-minidisc-10pc-seed0-")


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "/x",
        "",
        "a/b",
        "..",
        ".",
        "a..b",
        ".hidden",
        "_shared",
        "x" * 121,
        "a b",
        "a\n",
        "ä",
        "a\x00",
        "-x",
        "~",
    ],
)
def test_names_that_leave_the_storage_root_or_are_not_portable_are_refused(name):
    config = resolve({**FILES, "name": name})
    with pytest.raises(UserError, match=r"^name: .*use letters, digits"):
        run_name(config, run_identity(config, CONTENTS))


@pytest.mark.parametrize("name", ["a", "mrpc-10pc.v2_b", "x" * 120, "0"])
def test_portable_names_are_taken(name):
    assert name_of(raw={**FILES, "name": name}) == name


def test_a_digest_does_not_depend_on_the_order_of_keys():
    assert digest({"a": 1, "b": [2, {"c": 3, "d": 4}]}) == digest({"b": [2, {"d": 4, "c": 3}], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def setting_with(*overrides):
    return digest(comparable_setting(run_identity(resolve(FILES, overrides), CONTENTS)))


@pytest.mark.parametrize(
    "override",
    [
        "seed=3",
        "schedule.search=race",
        "pruning.importance_rows=auto",
        "pruning.importance_rows=64",
        "pruning.importance=magnitude",
    ],
)
def test_how_importance_is_measured_is_a_methods_own(override):
    assert setting_with(override) == setting_with()


@pytest.mark.parametrize("override", ["pruning.ranking=local", "pruning.neuron_multiple=1", "distil.num_epochs=3"])
def test_what_methods_have_in_common_is_their_setting(override):
    assert setting_with(override) != setting_with()


OWN = {
    "task": {"kind": "classification", "text": ["question", "answer"], "label": "verdict"},
    "data": {"kind": "files", "folder": "/home/me/reviews"},
    "teacher": {"kind": "pretrained", "path": "/m"},
}


def test_the_name_of_a_task_of_ones_own_is_in_the_run_name_and_not_in_the_identity():
    # The digest of a run from before tasks had names, which was called classification-minidisc-10pc-seed0-21353500.
    assert name_of(raw=OWN) == "reviews-minidisc-10pc-seed0-21353500"
    assert name_of(["task.name=verdicts"], raw=OWN) == "verdicts-minidisc-10pc-seed0-21353500"
    assert name_of(["task={kind: regression}"], raw=OWN) == "reviews-minidisc-10pc-seed0-325c207c"
    assert name_of(["data.validation_fraction=0.2"], raw=OWN) != name_of(raw=OWN)
    assert name_of(["task.text=question"], raw=OWN) == name_of(["task.text=[question]"], raw=OWN)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ({"folder": "/home/me/customer reviews, 2024"}, "customer-reviews-2024"),
        ({"train": "/home/me/reviews.v2.jsonl.gz", "validation": "/x/dev.csv"}, "reviews"),
        ({"train": "/home/me/reviews/train.csv", "validation": "/x/dev.csv"}, "reviews"),
        ({"folder": "/home/me/отзывы"}, "classification"),
        ({"folder": "/home/me/hf_abcdefghijklmnopqrst"}, "classification"),
        ({"kind": "hub", "path": "stanfordnlp/imdb"}, "imdb"),
        ({"kind": "hub", "path": "mteb/amazon_reviews", "name": "en"}, "amazon_reviews-en"),
    ],
)
def test_a_task_is_called_after_its_data_by_default(data, name):
    assert resolve({**OWN, "data": {"kind": "files", **data}}).task_name == name


@pytest.mark.parametrize("name", ["", "a b", "../up", "-x", "x" * 61, "a.b"])
def test_a_task_name_that_no_folder_could_have_is_refused(name):
    with pytest.raises(UserError, match=r"^task.*name: .*letters, digits, dashes and underscores"):
        resolve({**OWN, "task": {"kind": "classification", "name": name}})
