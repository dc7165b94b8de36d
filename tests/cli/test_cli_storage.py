"""``minidisc ls`` and ``minidisc stop`` as a user types them."""

import csv
import io
import json
import threading

import pytest
from cli_kit import RECIPE, write_recipe
from storage_kit import LOCAL

from minidisc_ray.api import plan
from minidisc_ray.driver.lease import leased
from minidisc_ray.pipeline.run_directory import open_run
from minidisc_ray.run_files.failures import write_failure


@pytest.fixture
def storage(tmp_path):
    storage = tmp_path / "runs"
    for name in ("waits", "fails"):
        open_run(plan({**RECIPE, "storage": str(storage), "name": name}))
    write_failure(LOCAL, storage / "fails", "main", "no memory")
    return storage


def test_ls(minidisc, storage):
    text = minidisc.well("ls", "--storage", storage)
    assert "waits" in text
    assert "no memory" in text
    rows = json.loads(minidisc.well("ls", "--storage", storage, "--format", "json"))
    assert {(row["name"], row["state"], row["method"], row["seed"]) for row in rows} == {
        ("waits", "not begun", "minidisc", 0),
        ("fails", "failed", "minidisc", 0),
    }
    table = csv.DictReader(io.StringIO(minidisc.well("ls", "--storage", storage, "--format", "csv")))
    assert [row["name"] for row in table] == [row["name"] for row in rows]


def test_status_takes_what_ls_takes_and_shows_trials(minidisc, storage):
    for place in ((storage,), ("--storage", storage)):
        assert "no memory" in minidisc.well("status", *place)
    (row,) = json.loads(minidisc.well("status", storage / "fails", "--format", "json"))
    assert (row["run"], row["trial"], row["status"], row["stage"]) == ("fails", "main", "failed", "no memory")
    (listed,) = json.loads(minidisc.well("ls", storage / "fails", "--format", "json"))
    assert listed["name"] == "fails"
    assert minidisc.well("ls", storage, "--format", "md").startswith("| Name | State |")


@pytest.mark.parametrize(("command", "shown"), [("status", "no memory"), ("ls", "not begun")])
def test_watching_repeats_until_ctrl_c(minidisc, storage, monkeypatch, command, shown):
    from minidisc_ray.cli import storage as commands

    rounds = iter((None, KeyboardInterrupt()))

    def sleep(_):
        if (stop := next(rounds)) is not None:
            raise stop

    monkeypatch.setattr(commands.time, "sleep", sleep)
    done = minidisc(command, storage, "--watch")
    assert done.code == 130
    assert done.out.count(shown) >= 1


def test_ls_of_nothing(minidisc, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    assert minidisc.well("ls", "--storage", tmp_path / "empty").startswith("no runs in ")
    assert minidisc.well("ls", "--storage", tmp_path / "empty", "--format", "json") == "[]\n"
    assert "storage: " in minidisc("ls", "--storage", tmp_path / "nowhere").sentence
    monkeypatch.chdir(tmp_path)
    assert minidisc.well("ls") == "no runs in minidisc-runs\n"
    assert "ftp:// is not supported" in minidisc("ls", "--storage", "ftp://host/runs").sentence
    assert minidisc("ls", "--storage", tmp_path, "--format", "xml").code == 2
    assert "--watch: needs --format table, not csv" in minidisc("ls", tmp_path, "--watch", "--format", "csv").sentence


def test_stop(minidisc, storage):
    assert minidisc.well("stop", "waits", "--storage", storage) == "waits: not running\n"
    assert "no run or study of that name" in minidisc("stop", "nobody", "--storage", storage).sentence

    def drive():
        with leased(LOCAL, storage / "waits") as lease:
            has_begun.set()
            while not is_over.wait(0.01):
                try:
                    lease.check()
                except KeyboardInterrupt:
                    return

    has_begun, is_over = threading.Event(), threading.Event()
    thread = threading.Thread(target=drive)
    thread.start()
    has_begun.wait()
    message = minidisc.well("stop", "waits", "--storage", storage)
    thread.join()
    assert message.startswith("waits: stopped: ")
    assert message.endswith(f"; to resume it: minidisc run {storage / 'waits' / 'config.yaml'}\n")
    # Its own config gives the same run, so that anyone can resume it from anywhere.
    assert plan(storage / "waits" / "config.yaml").run_folder == storage / "waits"
    with leased(LOCAL, storage / "waits"):
        done = minidisc("stop", "waits", "--storage", storage, "--wait-seconds", "0.3")
        assert (done.code, done.err) == (1, "")
        assert "waits: still running after 0.3 s: " in done.out


def test_a_run_that_somebody_drives_is_refused_in_one_sentence(minidisc, storage, tmp_path):
    recipe = write_recipe(tmp_path / "recipe.yaml", storage, name="waits")
    with leased(LOCAL, storage / "waits"):
        done = minidisc("run", recipe)
    assert done.code == 2
    (sentence,) = done.err.splitlines()
    assert sentence.startswith("minidisc: name: waits is being run by ")
    assert f"minidisc stop waits --storage {storage}" in sentence


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("compute={cpus_per_worker: 4, max_cpus: 3}", "max_cpus is 3, less than the 4 CPUs of one trial; raise it"),
        ("compute={gpus_per_worker: 0.5, num_workers: 4, max_gpus: 1}", "max_gpus is 1, less than the 2 GPUs of one"),
        ("compute.autoscaling=true", "max_concurrent_trials is missing; set how many trials may run at once"),
        ("compute.priority=101", "compute.priority: 101 is not allowed; input should be less than or equal to 100"),
        ("compute.max_cpus=0", "compute.max_cpus: 0 is not allowed"),
    ],
)
def test_caps_that_hold_no_trial_are_refused_by_plan(minidisc, storage, tmp_path, override, message):
    recipe = write_recipe(tmp_path / "recipe.yaml", storage)
    assert message in minidisc("plan", recipe, "--set", override).sentence
