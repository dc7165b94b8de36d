import io
import json
import os
import shutil

import pandas as pd
import pytest
from cli_kit import RECIPE

from minidisc_ray.configs import resolve
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.preparation.prepare import prepare

QUICK = ("--repeats", "2", "--length", "8")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run without an assistant."""
    storage = str(tmp_path_factory.mktemp("storage"))
    prepared = prepare(resolve({**RECIPE, "schedule": {"kind": "conventional"}, "storage": storage}))
    run_in_process(prepared)
    return prepared.run_folder


def test_profile_prints_a_table_and_what_programs_read(minidisc, run):
    table = minidisc.well("profile", run, *QUICK, "--threads", "1")
    for word in ("Teacher", "Student", "(10%)", "tokens/ms", "1 CPU thread;", "median of 2 repeats", run.name):
        assert word in table, word
    rows = json.loads(minidisc.well("profile", run, *QUICK, "--format", "json"))
    frame = pd.read_csv(io.StringIO(minidisc.well("profile", run, *QUICK, "--format", "csv")))
    assert [row["model"] for row in rows] == list(frame.model) == ["teacher", "student"] * 2
    assert [row["total_parameters"] for row in rows] == list(frame.total_parameters)
    assert minidisc.well("profile", run / "student", *QUICK, "--format", "md").startswith("**student · cpu")


def test_mistakes_are_one_sentence(minidisc, run, tmp_path):
    cpus = os.cpu_count()
    for options, sentence in (
        (("--repeats", "0"), "repeats: 0 is not above 0"),
        (("--threads", "0"), f"threads: 0 is not between 1 and {cpus}, the CPUs of this machine"),
        (("--threads", str(cpus + 1)), f"threads: {cpus + 1} is not between 1 and {cpus}"),
        (("--length", "0"), "length: 0 is not between 1 and "),
        (("--length", "99999"), "length: 99999 is not between 1 and "),
    ):
        assert minidisc("profile", run, *options).sentence.startswith(sentence)
    assert "no run and no model there" in minidisc("profile", tmp_path / "none").sentence
    assert "no run and no model there" in minidisc("profile", run.parent).sentence


def test_runs_that_cannot_be_measured(minidisc, run, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(run, moved)
    message = minidisc("profile", moved).sentence
    assert message.startswith(f"{moved}: its teacher is gone (looked in {tmp_path / '_shared'}")
    assert message.endswith(f"give {moved / 'student'} to measure the student alone")
    (moved / "shared.json").unlink()
    assert "does not say which teacher it used" in minidisc("profile", moved).sentence
    (moved / "result.json").unlink()
    assert minidisc("profile", moved).sentence.startswith(f"{moved}: this run is not finished")
