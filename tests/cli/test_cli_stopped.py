"""Ctrl-C says what is left to go on from, and promises nothing where there is nothing."""

import shlex
import subprocess
import sys

import pytest
from cli_kit import write_recipe
from study_kit import raw_study, write_study

import minidisc_ray.api
import minidisc_ray.api.studies
import minidisc_ray.cli.demo
import minidisc_ray.driver.stopping
import minidisc_ray.ray_backend.run
import minidisc_ray.run_files.clean

RESUMES = "minidisc: stopped; run the same command again to resume: minidisc "
NOTHING = "minidisc: stopped\n"


def stopped(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def interrupt(monkeypatch, where, name):
    """Press Ctrl-C where the command has got to some place."""
    monkeypatch.setattr(where, name, stopped)


@pytest.fixture
def recipe(tmp_path):
    return write_recipe(tmp_path / "r.yaml", tmp_path / "storage")


@pytest.mark.parametrize(
    ("where", "name", "command", "message"),
    [
        (minidisc_ray.api, "describe_plan", ("plan",), NOTHING),
        (minidisc_ray.api, "plan", ("run",), RESUMES),
        (minidisc_ray.ray_backend.run, "run_many", ("run",), RESUMES),
        (
            minidisc_ray.api,
            "estimate",
            ("plan", "--estimate"),
            "minidisc: stopped; no timing was saved; the same command starts from the beginning\n",
        ),
    ],
)
def test_ctrl_c_is_exit_code_130_and_one_sentence(minidisc, recipe, monkeypatch, where, name, command, message):
    interrupt(monkeypatch, where, name)
    done = minidisc(*command, recipe)
    expected = f"{message}run {recipe}\n" if message is RESUMES else message
    assert (done.code, done.err) == (130, expected)


def test_the_command_that_resumes_can_be_pasted_and_has_no_secrets(minidisc, recipe, monkeypatch):
    interrupt(monkeypatch, minidisc_ray.ray_backend.run, "run_many")
    given = ("run", recipe, "--set", "data={kind: builtin, license: 'a b'}")
    (line,) = minidisc(*given).err.splitlines()
    assert shlex.split(line.partition(": minidisc ")[2]) == [str(part) for part in given]
    line = minidisc("run", recipe, "--set", "data.license=hf_abcdefghijklmnopqrstuvwxyz").err
    assert line == f"{RESUMES}run {recipe} --set data.license=***\n"


def test_who_asked_for_a_stop_from_elsewhere_is_named(minidisc, recipe, monkeypatch):
    def asked(*_: object, **__: object) -> None:
        raise KeyboardInterrupt("anna on [red]laptop\x1b[0m")

    monkeypatch.setattr(minidisc_ray.ray_backend.run, "run_many", asked)
    expected = RESUMES.replace("stopped;", "stopped by anna on [red]laptop\\x1b[0m;")
    assert minidisc("run", recipe).err == f"{expected}run {recipe}\n"


HANGS = """
import threading
from minidisc_ray.cli import options as cli_options
from minidisc_ray.cli import main
from minidisc_ray.run_files import clean as cleaning

def hang(*_):
    print("begun", flush=True)
    try:
        threading.Event().wait(60)
    finally:
        threading.Event().wait(60)

cli_options.MAX_SECONDS_TO_STOP = 0.2
cleaning.clean = hang
main(["clean", "."])
"""


def test_a_stop_that_hangs_is_not_waited_for():
    with subprocess.Popen(
        [sys.executable, "-c", HANGS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        process.terminate()
        _, errors = process.communicate(timeout=30)
    message = "minidisc: stopped; the same command again deletes the rest\n"
    assert (process.returncode, errors) == (130, message)


def test_ctrl_c_in_a_study(minidisc, tmp_path, monkeypatch):
    file = write_study(tmp_path, raw_study())
    arguments = ("study", file, "--storage", tmp_path / "runs")
    interrupt(monkeypatch, minidisc_ray.api.studies, "run_study")
    done = minidisc(*arguments)
    assert (done.code, done.err) == (130, f"{RESUMES}study {file} --storage {tmp_path / 'runs'}\n")
    message = minidisc(*arguments, "--retry-failed").err
    assert message == (
        "minidisc: stopped; with --retry-failed the command retries the rest, without it resumes runs that had "
        "started\n"
    )
    interrupt(monkeypatch, minidisc_ray.api.studies, "prepare_study")
    done = minidisc(*arguments, "--dry-run")
    assert (done.code, done.out, done.err) == (130, "", "minidisc: stopped; nothing was started\n")


def test_ctrl_c_elsewhere(minidisc, tmp_path, monkeypatch):
    for where, name, command, message in (
        (minidisc_ray.cli.demo, "run_demo", ("demo",), RESUMES),
        (
            minidisc_ray.driver.stopping,
            "stop",
            ("stop", "me", "--storage", tmp_path),
            "; the request to stop stays, and the ",
        ),
        (minidisc_ray.run_files.clean, "clean", ("clean", tmp_path), "; the same command again deletes the rest"),
        (minidisc_ray.run_files.clean, "clean", ("clean", tmp_path, "--dry-run"), "; nothing was deleted\n"),
        (minidisc_ray.api, "profile", ("profile", tmp_path), NOTHING),
        (minidisc_ray.api, "predict", ("predict", tmp_path, tmp_path / "f.csv"), NOTHING),
    ):
        with monkeypatch.context() as patch:
            interrupt(patch, where, name)
            done = minidisc(*command)
        assert done.code == 130
        assert message in done.err
        assert done.err.startswith("minidisc: stopped")
        assert done.err.count("\n") == 1
