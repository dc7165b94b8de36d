"""Runs in a bucket on the command line: what takes a URI works, and what does not says what to do instead."""

import json
import shutil

import pytest
from bucket_kit import another_node, flush_uploads, lose_the_store, names
from cli_kit import RECIPE, write_recipe, write_rows
from slow_kit import mostly_slow

from minidisc_ray.configs import resolve
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.preparation.prepare import prepare


@pytest.mark.parametrize(
    "command",
    [
        ("clean",),
        ("profile",),
        ("compare",),
        ("status",),
        ("ls", "--storage"),
        ("stop", "name", "--storage"),
        ("predict",),
        ("evaluate",),
        ("export",),
        ("extract", "--scale", "30"),
        ("push",),
    ],
)
def test_a_uri_that_is_none_of_a_bucket_is_one_sentence(minidisc, tmp_path, command):
    rest = {
        "predict": [write_rows(tmp_path / "new.jsonl", 4)],
        "evaluate": [write_recipe(tmp_path / "r.yaml", tmp_path)],
        "export": ["--output", tmp_path / "out"],
        "extract": ["--output", tmp_path / "out"],
        "push": ["--to", tmp_path / "out"],
    }.get(command[0], [])
    message = minidisc(*command, "ftp://host/runs/x", *rest).sentence
    assert "ftp:// is not supported; give a folder, file:///, s3:// or gs://" in message
    message = minidisc(*command, "s3://me:word@bucket/runs/x", *rest).sentence
    assert "a URI may hold no credentials" in message
    assert "word" not in message


@pytest.mark.parametrize("command", [("status",), ("ls", "--storage")])
def test_a_bucket_without_runs_is_one_sentence(minidisc, bucket, command):
    message = minidisc(*command, f"{bucket}/none").sentence
    assert (
        message == f"storage: there is nothing in {bucket}/none; give the bucket and prefix that runs were written to"
    )


@pytest.mark.parametrize(("scheme", "client"), [("s3", "aws s3"), ("gs", "gcloud storage")])
def test_clean_says_what_frees_a_bucket(minidisc, scheme, client):
    uri = f"{scheme}://bucket/team"
    message = minidisc("clean", uri).sentence
    assert message.startswith(f"{uri}: clean frees folders, not buckets; ")
    assert message.endswith(f"for instance `{client} rm --recursive {uri}/NAME/stages`")


def test_what_predict_reads_and_writes_is_on_this_machine(minidisc, tmp_path):
    rows = write_rows(tmp_path / "new.jsonl", 4)
    assert minidisc("predict", tmp_path, "s3://bucket/new.jsonl").sentence == (
        "file: new.jsonl is read from this machine alone; copy it here, and give its path"
    )
    assert minidisc("predict", tmp_path, rows, "--output", "s3://bucket/out.jsonl").sentence == (
        "--output: out.jsonl would be in a bucket; give a path on this machine, and copy the file from there"
    )


def test_folders_by_their_file_uri(minidisc, tmp_path):
    assert f"{tmp_path}: no runs there" in minidisc("clean", tmp_path.as_uri()).sentence
    assert f"{tmp_path}: no run and no model there" in minidisc("profile", tmp_path.as_uri()).sentence


# What a store is asked for, the tests of files ask of each kind.
@pytest.mark.parametrize("store", mostly_slow(("s3", "gs"), ("gs",)), indirect=True)
def test_a_run_in_a_bucket_is_measured_and_used_from_another_node(minidisc, bucket, tmp_path, monkeypatch):
    prepared = prepare(resolve({**RECIPE, "schedule": {"kind": "assistant"}, "storage": bucket}))
    result = run_in_process(prepared)
    flush_uploads()
    uri = f"{bucket}/{prepared.name}"
    another_node(tmp_path, monkeypatch)
    rows = json.loads(minidisc.well("profile", uri, "--repeats", "1", "--length", "8", "--format", "json"))
    assert [row["model"] for row in rows if row["device"] == "cpu"] == ["teacher", "assistant", "student"]
    shutil.rmtree(tmp_path / "other-cache")
    recipe = write_recipe(tmp_path / "r.yaml", bucket)
    for place in (uri, f"{uri}/student"):
        scored = json.loads(minidisc.well("evaluate", place, recipe, "--format", "json"))
        assert scored["metrics"] == result.student.validation_metrics
    file = write_rows(tmp_path / "new.jsonl", 4, columns=("text",))
    assert minidisc.well("predict", f"{uri}/student", file).count("\n") == 4
    assert f"{uri}/none: no model there" in minidisc("predict", f"{uri}/none", file).sentence
    assert f"{bucket}/none: no run and no model there" in minidisc("profile", f"{bucket}/none").sentence
    assert f"{bucket}/none: no result.json there" in minidisc("compare", f"{bucket}/none").sentence
    there = names(bucket)
    assert bucket in minidisc("clean", bucket).sentence
    assert names(bucket) == there
    lose_the_store(monkeypatch)
    gone = minidisc("predict", f"{uri}/student", file).sentence
    assert "the storage could not be used" in gone
    assert gone.endswith("give the command again"), "what only reads has no checkpoint"


@pytest.mark.parametrize("store", mostly_slow(("s3", "gs"), ("gs",)), indirect=True)
def test_a_family_in_a_bucket_is_opened_from_another_node(minidisc, bucket, tmp_path, monkeypatch):
    prepared = prepare(resolve({**RECIPE, "storage": bucket}))
    run_in_process(prepared)
    flush_uploads()
    uri = f"{bucket}/{prepared.name}"
    another_node(tmp_path, monkeypatch)
    assert "30% of the teacher's heads" in minidisc.well(
        "extract", uri, "--scale", "30", "--output", tmp_path / "student-30"
    )
    fetched = {path.name for path in (tmp_path / "other-cache").rglob(f"{prepared.name}/*") if path.is_dir()}
    assert fetched == {"family"}
    minidisc.well("push", uri, "--to", tmp_path / "pushed", "--repeats", "0")
    assert (tmp_path / "pushed" / "README.md").is_file()
