"""Names, keys and paths of recipes, studies and folders: none leads out of the storage root."""

import json
import os

import pytest
from study_kit import raw_study, write_study
from tiny_teacher import TINY_TEACHER

from minidisc_ray.api.studies import prepare_study
from minidisc_ray.configs import UserError, resolve
from minidisc_ray.configs.identity import run_name
from minidisc_ray.configs.study.study import load_study, resolve_study
from minidisc_ray.models.weight_files import shards
from minidisc_ray.pipeline.run_directory import open_run
from minidisc_ray.preparation.prepare import prepare
from minidisc_ray.reports.figures._words import slug
from minidisc_ray.run_files.clean import clean

TINY = {
    "data": {"kind": "builtin", "train_rows": 128, "validation_rows": 64, "test_rows": 32},
    "teacher": TINY_TEACHER,
    "schedule": {"kind": "conventional"},
}
ESCAPES = {
    "parent": "..", "parents": "../../x", "below and up": "a/../../x", "absolute": "/tmp/x", "home": "~/x",
    "home of another": "~root", "folder": "a/b", "back slash": "a\\b", "drive": "C:x", "this folder": ".",
    "hidden": ".ssh", "shared": "_shared", "empty": "", "blank": " ", "null": "a\0b", "line": "a\nb",
    "line at the end": "a\n", "carriage return": "a\rb", "escape": "a\x1b[2Jb", "long": "x" * 500,
    "a dot at the end": "a.", "two dots": "a..b", "fullwidth slash": "a\uff0fb", "one dot leader": "\u2024\u2024",
    "division slash": "a\u2215b", "right to left": "a\u202eb", "zero width": "a\u200bb", "Cyrillic a": "\u0430bc",
    "surrogate": "a\ud800", "device": "CON", "device with an ending": "nul.txt", "port": "Com1", "option": "-rf",
    "variable": "$HOME", "star": "*", "pipe": "a|b",
}  # fmt: skip


@pytest.mark.parametrize("case", ESCAPES)
def test_a_name_that_leads_elsewhere_is_refused(case):
    name = ESCAPES[case]
    with pytest.raises(UserError) as caught:
        run_name(resolve({"name": name}), {})
    assert str(caught.value).startswith("name: ")
    assert str(caught.value).isprintable()
    if case not in ("a dot at the end", "two dots", "device", "device with an ending", "port"):
        with pytest.raises(UserError, match=r"^name: "):
            resolve_study(raw_study(name=name))


@pytest.mark.parametrize("name", ["a", "A-1_b.c", "x" * 120, "con-1", "study-of-mine", "nulls"])
def test_plain_names_stay(name):
    assert run_name(resolve({"name": name}), {}) == name


@pytest.mark.parametrize("case", [case for case in ESCAPES if case not in ("empty",)])
def test_names_within_a_study_never_become_folders(case):
    """Methods, tasks and teachers are free text; only a digest of their recipes is part of a run's name."""
    name = ESCAPES[case]
    raw = raw_study(methods={name: {"schedule": {"kind": "conventional"}}}, tasks={name: {"task": "builtin"}})
    try:
        study = resolve_study(raw)
    except UserError:
        return
    from minidisc_ray.configs.study.study import study_runs

    for run in study_runs(study):
        assert run_name(run.config, {}).startswith("builtin-conventional-")
    assert set(slug(name)) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


@pytest.mark.parametrize("storage", ["a\0b", "~nosuchuser/x", "x" * 300, "x/" * 3000, "s3://key:secret@bucket/x"])
def test_a_storage_that_is_no_folder_is_one_sentence(tmp_path, storage, monkeypatch):
    monkeypatch.chdir(tmp_path)
    from minidisc_ray.api import plan

    with pytest.raises(UserError, match=r"^storage: "):
        plan({**TINY, "storage": storage})
    path = write_study(tmp_path, raw_study(storage=storage))
    with pytest.raises(UserError) as caught:
        prepare_study(path)
    assert "storage: " in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_link_in_a_runs_place_is_refused(tmp_path):
    outside, storage = tmp_path / "outside", tmp_path / "storage"
    outside.mkdir()
    storage.mkdir()
    (storage / "mine").symlink_to(outside)
    with pytest.raises(UserError, match="is a link, where a run needs a real folder"):
        prepare(resolve({**TINY, "storage": str(storage), "name": "mine"}))
    (storage / "study-small").symlink_to(outside)
    with pytest.raises(UserError, match="is a link"):
        prepare_study(write_study(tmp_path, raw_study()), storage=str(storage))
    assert list(outside.iterdir()) == []


def test_a_study_does_not_write_into_a_run(tmp_path):
    open_run(prepare(resolve({**TINY, "storage": str(tmp_path / "s"), "name": "study-small"})))
    with pytest.raises(UserError, match="is a run's folder"):
        prepare_study(write_study(tmp_path, raw_study()), storage=str(tmp_path / "s"))


def test_cleaning_follows_no_link_out_of_the_storage(tmp_path):
    storage, outside = tmp_path / "storage", tmp_path / "outside"
    run = open_run(prepare(resolve({**TINY, "storage": str(storage), "name": "mine"})))
    (outside / "a40" / ".x.tmp1").mkdir(parents=True)
    os.utime(outside / "a40" / ".x.tmp1", (0, 0))
    (outside / "teacher-0").mkdir()
    (run / "trials").symlink_to(outside)
    (storage / "_shared").rename(storage / "_kept")
    (storage / "_shared").symlink_to(outside)
    freed = clean(storage)
    assert (outside / "a40" / ".x.tmp1").is_dir()
    assert (outside / "teacher-0").is_dir()
    assert freed.paths == ()


@pytest.mark.parametrize(
    "name", ["../x.safetensors", "/etc/x.safetensors", "pytorch_model.bin", "a/b.safetensors", 3, None]
)
def test_an_index_of_weights_names_safetensors_beside_it(tmp_path, name):
    from minidisc_ray.configs.model import PretrainedTeacherConfig

    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(UserError, match="safetensors files beside it only"):
        shards(index, PretrainedTeacherConfig(path="x"))


def test_a_study_file_is_read_whole_or_refused(tmp_path):
    path = write_study(tmp_path, raw_study(title="x" * 150_000))
    with pytest.raises(UserError, match="larger than"):
        load_study(path)
