"""Runs by the beginning of their name, and completed by a shell."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated, get_args, get_origin, get_type_hints

import pytest
from cli_kit import RECIPE, write_rows
from reports_builder import run_result
from slow_kit import mostly_slow
from storage_kit import LOCAL
from typer.models import OptionInfo

from minidisc_ray.api import plan
from minidisc_ray.cli.app import app
from minidisc_ray.cli.options import PATH_OPTIONS
from minidisc_ray.driver.lease import leased
from minidisc_ray.driver.names import close_names
from minidisc_ray.files.places import place_text
from minidisc_ray.pipeline.run_directory import open_run

NAMES = ("mrpc-mini-a", "mrpc-maxi", "sst2")


@pytest.fixture
def storage(tmp_path, monkeypatch):
    storage = tmp_path / "minidisc-runs"
    for name in NAMES:
        open_run(plan({**RECIPE, "storage": str(storage), "name": name}))
    (storage / "sst2" / "result.json").write_text(run_result().model_dump_json())
    (storage / "study-table" / "ray").mkdir(parents=True)
    (storage / "_shared").mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return storage


def completed(*words: str, cwd: Path) -> list[str]:
    """What a shell offers for the last word, by the protocol that the installed completion speaks."""
    environment = {
        **os.environ,
        "_MINIDISC_COMPLETE": "complete_bash",
        "COMP_WORDS": " ".join(("minidisc", *words)),
        "COMP_CWORD": str(len(words)),
    }
    command = [sys.executable, "-m", "minidisc_ray.cli"]
    done = subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_a_shell_completes_runs_and_studies(storage, tmp_path):
    assert completed("status", "mrpc", cwd=tmp_path) == ["mrpc-maxi", "mrpc-mini-a"]
    with leased(LOCAL, storage / "mrpc-maxi"):
        assert completed("stop", "mrpc", cwd=tmp_path) == ["mrpc-maxi"], "only what runs can be stopped"
    given = ("status", "--storage", str(storage))
    assert completed(*given, "stu", cwd=Path("/")) == ["study-table"]
    assert completed("status", "_", cwd=tmp_path) == []


@pytest.mark.parametrize(
    "command", mostly_slow(("compare", "export", "predict", "evaluate", "profile"), by_default=("compare", "export"))
)
def test_a_shell_completes_finished_runs(storage, tmp_path, command):
    assert completed(command, "", cwd=tmp_path) == ["sst2"]


def test_a_beginning_that_one_run_has_is_enough(minidisc, storage):
    assert minidisc.well("stop", "mrpc-mini") == "mrpc-mini-a: not running\n"
    assert minidisc.well("stop", "tab") == "study-table: not running\n"
    (row,) = json.loads(minidisc.well("status", "mrpc-mini", "--format", "json"))
    assert row["run"] == "mrpc-mini-a"
    (row,) = json.loads(minidisc.well("ls", "mrpc-max", "--storage", storage, "--format", "json"))
    assert row["name"] == "mrpc-maxi"
    (*_, row) = json.loads(minidisc.well("compare", "sst", "--format", "json"))
    assert row["task"] == "mrpc"
    # Without a model there, the message names the folder that the beginning was completed to.
    sentence = minidisc("predict", "sst", storage / "rows.jsonl").sentence
    assert "minidisc-runs/sst2/student" in sentence


@pytest.mark.parametrize(
    "command", [("stop", "mrpc"), ("status", "mrpc"), ("compare", "mrpc"), ("export", "mrpc", "--output", "new")]
)
def test_a_beginning_that_several_have_is_refused_with_their_names(minidisc, storage, command):
    sentence = minidisc(*command).sentence
    assert sentence == "mrpc: several names begin so: mrpc-maxi, mrpc-mini-a; give more of one"


def test_a_whole_name_is_never_ambiguous(minidisc, storage):
    open_run(plan({**RECIPE, "storage": str(storage), "name": "mrpc-mini"}))
    assert minidisc.well("stop", "mrpc-mini") == "mrpc-mini: not running\n"


def test_every_command_takes_the_storage_as_an_argument_and_as_an_option(minidisc, storage, monkeypatch):
    monkeypatch.chdir("/")
    for given in ((storage,), ("--storage", storage)):
        assert "mrpc-maxi" in minidisc.well("ls", *given)
        assert "mrpc-maxi" in minidisc.well("status", *given)
        assert minidisc.well("stop", "sst2", *given) == "sst2: not running\n"
        assert "0.0 MiB" in minidisc.well("clean", *given, "--dry-run")
        done = minidisc("compare", *given)
        assert done.code == 0
        assert "Conventional" in done.out
    for command in (("ls",), ("status",), ("stop", "sst2"), ("clean",)):
        sentence = minidisc(*command, storage, "--storage", "elsewhere").sentence
        assert sentence.startswith(f"--storage: elsewhere is not {storage}, ")


def test_without_a_storage_each_takes_the_recipes_default(minidisc, storage):
    assert "mrpc-maxi" in minidisc.well("ls")
    assert "Conventional" in minidisc("compare").out
    assert minidisc.well("clean", "--dry-run").startswith("would free")


def test_clean_of_a_bucket_is_refused_in_one_sentence(minidisc):
    for given in (("s3://bucket/team",), ("--storage", "s3://bucket/team")):
        assert minidisc("clean", *given).sentence.startswith("s3://bucket/team: clean frees folders, not buckets; ")


NAMED = (
    ("status", "mrpc-maxy"),
    ("ls", "mrpc-maxy"),
    ("stop", "mrpc-maxy"),
    ("compare", "mrpc-maxy"),
    ("profile", "mrpc-maxy"),
    ("evaluate", "mrpc-maxy", "rows.jsonl"),
    ("predict", "mrpc-maxy", "rows.jsonl"),
    ("export", "mrpc-maxy", "--output", "new"),
    ("extract", "mrpc-maxy", "--scale", "30", "--output", "new"),
    ("push", "mrpc-maxy", "--to", "new"),
)


@pytest.mark.parametrize("command", NAMED, ids=lambda command: command[0])
def test_a_name_with_a_typo_is_answered_with_close_names(minidisc, storage, tmp_path, command):
    write_rows(tmp_path / "rows.jsonl", 4)
    sentence = minidisc(*command).sentence
    assert sentence == (
        "mrpc-maxy: no run or study of that name in minidisc-runs; the closest names are mrpc-maxi, mrpc-mini-a; "
        "`minidisc ls --storage minidisc-runs` lists them"
    ).replace(" minidisc-runs", f" {storage if command[0] == 'stop' else 'minidisc-runs'}")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    sentence = minidisc(*command, "--storage", elsewhere).sentence
    assert sentence.startswith(f"mrpc-maxy: no run or study of that name in {elsewhere}; `minidisc ls ")
    sentence = minidisc(*command, "--storage", tmp_path / "gone").sentence
    assert sentence.startswith(f"mrpc-maxy: there is no storage {tmp_path / 'gone'} to look for that run in")


def test_clean_names_the_folder_that_is_close(minidisc, storage, tmp_path):
    assert minidisc("clean", "minidisc-rums").sentence == (
        "minidisc-rums: no such storage folder; give the folder that holds the runs; close to it are minidisc-runs"
    )


def test_a_typo_in_the_beginning_of_a_long_name_is_found(tmp_path):
    for name in ("mrpc-minidisc-10pc-seed0-0a1b2c3d", "study-table", "sst2"):
        (tmp_path / name).mkdir()
    assert close_names(tmp_path, "mrpc-minidsic") == ["mrpc-minidisc-10pc-seed0-0a1b2c3d"]
    assert close_names(tmp_path, "tabel") == ["study-table"]
    assert close_names(tmp_path, "qqp") == []


def test_a_storage_is_given_once_and_is_not_empty(minidisc, storage):
    for given in (("--storage", ""), ("--storage=",), ("--storage", " ")):
        for command in (("ls",), ("clean", "--dry-run"), ("demo",)):
            assert minidisc(*command, *given).sentence.startswith("--storage: empty; give a folder, ")
    assert minidisc("ls", "--storage", storage, f"--storage={storage}").sentence == (
        "--storage: given 2 times; give one storage"
    )


def test_an_empty_path_is_not_the_current_folder(minidisc, storage):
    for given in (("--to", ""), ("--to= ",)):
        assert minidisc("observe", storage, *given).sentence.startswith("--to: empty; give a folder")
    assert minidisc("init", "--data", "", "--model", "m").sentence == "--data: empty; give a file or a folder"
    assert minidisc("predict", "a", "b", "--output=").sentence == "--output: empty; give a path"
    for command in (("ls", ""), ("status", " "), ("stop", ""), ("compare", "a", ""), ("plan", ""), ("study", "")):
        assert minidisc(*command).sentence == "an argument is empty; give a path or a name, or leave it out"


def test_every_option_that_takes_a_path_is_checked():
    found = set()
    for command in app.registered_commands:
        for hint in get_type_hints(command.callback, include_extras=True).values():
            base, *options = get_args(hint) if get_origin(hint) is Annotated else (hint,)
            for option in options:
                words = set(re.split(r"\W", option.metavar or ""))
                if isinstance(option, OptionInfo) and ("Path" in str(base) or words & {"FILE", "DIR"}):
                    # Beside a type, what Typer calls the default is the option's name.
                    found.update(name for name in (option.default, *(option.param_decls or ())) if name is not None)
    assert found - PATH_OPTIONS.keys() == set()
    assert {"--storage", "--to", "--output", "--data"} <= found


def test_a_uri_in_a_message_has_both_slashes(minidisc, storage):
    sentence = minidisc("ls", "s3://bucket/team", "--storage", "gs://bucket/team").sentence
    assert sentence.startswith("--storage: gs://bucket/team is not s3://bucket/team, which ")
    assert place_text(Path("file:///tmp/runs")) == "file:///tmp/runs"
    assert place_text("s3://bucket/team") == "s3://bucket/team"
    assert place_text(Path("/tmp/runs")) == "/tmp/runs"
