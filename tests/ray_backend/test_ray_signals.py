import json
import os
import shlex
import signal
import subprocess
import sys
import time

import pytest
from ray_kit import (
    RAY,
    TRIAL_TITLES,
    attempts_of,
    clean_environment,
    is_in_sandwich,
    long_sandwich,
    numbers,
    prepared_run,
    processes_below,
    still_there,
    student_weights,
    write_recipe,
)
from wait_kit import wait_until

from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.reports.storage.status import status
from minidisc_ray.run_files.progress import read_progress
from minidisc_ray.run_files.result import load_result

pytestmark = [*RAY]

EPOCHS = 10
LONG_SANDWICH = long_sandwich(EPOCHS)

# A Ray of its own for each, as a user's terminal has; not the tests' shared one. A shell that runs the tests in the
# background has them ignore SIGINT, which children inherit; a terminal's do not.
MAIN = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from minidisc_ray.cli import main; main()"
)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", MAIN, *arguments]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    prepared = prepared_run(tmp_path_factory.mktemp("undisturbed"), "minidisc", LONG_SANDWICH)
    return prepared, run_in_process(prepared)


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_stopped_run_ends_soon_and_cleanly_and_goes_on_to_the_same_numbers(tmp_path, undisturbed, number):
    recipe = write_recipe(tmp_path / "recipe.yaml", tmp_path / "storage", "minidisc")
    prepared = prepared_run(tmp_path / "storage", "minidisc", LONG_SANDWICH)
    run = ("run", str(recipe), "--set", LONG_SANDWICH)
    process = subprocess.Popen(
        command(*run), cwd=tmp_path, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_until(lambda: is_in_sandwich(prepared.run_folder), 180, "the sandwich's first checkpoint")
        below = processes_below(process.pid)
        assert any("raylet" in name for name in below.values())
        assert any(name.startswith(TRIAL_TITLES) for name in below.values())
        os.kill(process.pid, number)
        sent_at = time.monotonic()
        output, errors = process.communicate(timeout=60)
        took = time.monotonic() - sent_at
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert process.returncode == 130, errors
    assert took < 30
    resumes = f"run the same command again to resume: {shlex.join(('minidisc', *run))}"
    assert errors.splitlines() == [f"minidisc: stopped; {resumes}"]
    assert any(line.startswith(f"{prepared.name}: ") for line in output.splitlines())
    wait_until(lambda: not still_there(below), 30, f"the end of {still_there(below)}")

    (progress,) = read_progress(prepared.run_folder)
    assert (progress.trial, progress.status, progress.stage) == ("main", "interrupted", "sandwich")
    (shown,) = status(tmp_path / "storage")
    assert (shown.run, shown.status, shown.stage) == (prepared.name, "interrupted", "3/5 sandwich")
    assert not (prepared.run_folder / "result.json").exists()
    done = json.loads((prepared.run_folder / "stages" / "sandwich" / "newest" / "state.json").read_text())[
        "epochs_done"
    ]
    assert 1 <= done < EPOCHS

    # How it goes on depends neither on how it was stopped nor on what runs it; the same command again takes longest.
    if number == signal.SIGINT:
        run_in_process(prepared)
    else:
        again = subprocess.run(
            command(*run),
            cwd=tmp_path,
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert (again.returncode, again.stderr) == (0, "")
        assert (prepared.run_folder / "report.html").is_file()
    result = load_result(prepared.run_folder)
    assert numbers(result) == numbers(undisturbed[1])
    assert student_weights(prepared) == student_weights(undisturbed[0])
    names = [attempt.name for attempt in attempts_of(prepared, "stage")]
    assert names == ["teacher", "importance", "sandwich", "sandwich", "choose", "student"]
    assert all(attempt.seconds > 0 for attempt in attempts_of(prepared, "stage") if attempt.name == "sandwich")
    assert len(attempts_of(prepared, "hold")) == 2
