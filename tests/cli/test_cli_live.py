"""What a run prints while it runs, on a terminal and elsewhere."""

import io
import logging
import re
import subprocess
import sys
import time

import pytest
from rich.console import Console

from minidisc_ray.cli import lines as cli_lines
from minidisc_ray.cli.lines import Lines, log_lines
from minidisc_ray.cli.live import watching_trials
from minidisc_ray.log import logger
from minidisc_ray.reports.words import time_left_text
from minidisc_ray.run_files.progress import Progress, RunProgress

TIME = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  ")


def trial(name="main", **changes):
    return Progress(
        **{
            "trial": name,
            "status": "running",
            "stage": "sandwich",
            "stage_index": 3,
            "num_stages": 5,
            "step": 56,
            "num_steps": 90,
            "epoch": 2,
            "metric_name": "accuracy",
            "metric": 0.825,
            "loss": 0.4211,
            "device_hours": 0.009,
            "started_at": 0.0,
            "updated_at": 0.0,
            **changes,
        }
    )


@pytest.fixture
def log():
    """Lines that are printed without a terminal, and a function that returns the new ones, without their times."""
    out = io.StringIO()
    lines = Lines(Console(file=out, width=400))

    def new():
        found = out.getvalue().splitlines()
        out.seek(0)
        out.truncate()
        assert all(TIME.match(line) for line in found)
        return [TIME.sub("", line) for line in found]

    return lines, new


def test_a_line_has_stage_step_loss_metric_and_time_left(log):
    lines, new = log
    with watching_trials(lines) as watch:
        run = RunProgress([trial()], num_left=1, seconds_left=700.0, hours_unit="core-hours")
        watch(run)
        watch(run)
    assert new() == [
        "main  3/5 sandwich  epoch 2, step 56/90  loss 0.4211  accuracy 82.5  0.00900 core-hours  running  12 min left"
    ]
    with watching_trials(lines) as watch:
        watch(RunProgress([trial()], num_left=1, seconds_left=700.0, hours_unit="GPU-hours", may_end_early=True))
    assert new()[0].endswith("0.00900 GPU-hours  running  at most 12 min left")


def test_unknown_numbers_are_left_out_and_events_come_once(log):
    lines, new = log
    event = "teacher: reused from /runs/_shared/teacher-1"
    lines.begin(event)
    assert new() == [event]
    with watching_trials(lines) as watch:
        begun = trial(step=0, num_steps=0, epoch=0, metric=None, loss=None, events=(event,))
        watch(RunProgress([begun], num_left=1))
        assert new() == ["main  3/5 sandwich  0.00900 device-hours  running"], "the driver knew of the teacher"
        out = "sandwich: step 9: out of the race: 40%; still in it: 20%"
        for _ in range(2):
            watch(RunProgress([begun.model_copy(update={"events": (event, out)})], num_left=1))
        assert new() == [f"main  {out}"]


def test_what_is_waited_for_is_printed(log, monkeypatch):
    lines, new = log
    monkeypatch.setattr(cli_lines, "_WATCH_SILENCE", 0.3)
    with watching_trials(lines) as watch:
        watch(RunProgress([], num_left=1, waiting="main: waiting for a worker; its process starts"))
        watch(RunProgress([], num_left=1, waiting="main: waiting for a worker; its process starts"))
        assert new() == ["main: waiting for a worker; its process starts"]
        time.sleep(0.4)
        watch(RunProgress([], num_left=1, waiting="main: waiting for a worker; it needs 1 x 2 CPUs"))
        assert new() == ["main: waiting for a worker; it needs 1 x 2 CPUs"]


def test_few_trials_get_a_line_each_after_a_while_and_many_one_together(log, monkeypatch):
    lines, new = log
    with watching_trials(lines) as watch:
        few = [trial(f"scale-{number}") for number in range(2)]
        many = [trial(f"scale-{number}") for number in range(20)]
        watch(RunProgress(many, num_finished=3, num_left=25, seconds_left=7200.0))
        assert len(new()) == 20
        monkeypatch.setattr(cli_lines, "_WATCH_SILENCE", 0.2)
        time.sleep(0.3)
        watch(RunProgress(many, num_finished=3, num_left=25, seconds_left=7200.0))
        assert new() == ["20 trials run, 3 of 28 trials finished  2 h 0 min left"]
        time.sleep(0.3)
        watch(RunProgress(few, num_left=2))
        assert [line.split()[0] for line in new()] == ["scale-0", "scale-1"]


def test_what_the_driver_does_is_printed_and_again_while_it_goes_on(monkeypatch):
    monkeypatch.setattr(cli_lines, "_MAX_SILENCE", 1.2)
    out = io.StringIO()
    level = logger.level
    with log_lines(Console(file=out, width=400)):
        logger.info("encoding the rows of %s", "mrpc")
        time.sleep(2.5)
    logger.info("not printed")
    assert logger.level == level
    first, *again = [TIME.sub("", line) for line in out.getvalue().splitlines()]
    assert first == "encoding the rows of mrpc"
    assert again
    assert all(re.fullmatch(r"still encoding the rows of mrpc \(\d s\)", line) for line in again)


def test_warnings_still_reach_other_handlers(caplog):
    out = io.StringIO()
    with log_lines(Console(file=out, width=400)), caplog.at_level(logging.WARNING, "minidisc_ray"):
        logger.warning("the storage is slow")
    assert out.getvalue() == ""
    assert "the storage is slow" in caplog.text


def test_a_handler_that_a_library_gives_the_root_logger_prints_nothing_again(monkeypatch, caplog):
    monkeypatch.setattr(logger, "hasHandlers", lambda: False)
    with log_lines(Console(file=io.StringIO())), caplog.at_level(logging.INFO):
        logger.info("timing every copy")
    assert caplog.text == ""
    assert logger.propagate


def test_a_terminal_shows_a_bar_with_the_time_left_of_the_whole_run():
    out = io.StringIO()
    lines = Lines(Console(file=out, force_terminal=True, width=100))
    with watching_trials(lines) as watch:
        watch(RunProgress([], num_left=3, waiting="3 trials: waiting for a worker; its process starts"))
        watch(RunProgress([trial("scale-40", events=("step 3: news",))], num_finished=1, num_left=2, seconds_left=40.0))
    drawn = out.getvalue()
    texts = ("waiting for a worker", "1 of 3 trials finished", "40 s left", "0.4211", "56/90", "step 3: news", "82.5")
    for text in texts:
        assert text in drawn, text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "a few seconds"),
        (4.9, "a few seconds"),
        (5.0, "10 s"),
        (41.0, "50 s"),
        (90.0, "2 min"),
        (5340.0, "89 min"),
        (5341.0, "1 h 30 min"),
        (172_740.0, "47 h 59 min"),
        (190_000.0, "2 days 4 h"),
    ],
)
def test_a_rough_duration(seconds, text):
    assert time_left_text(seconds) == text


ENDS = """
import importlib, os, signal, sys
from contextlib import contextmanager

app, demo = (importlib.import_module(f"minidisc_ray.cli.{name}") for name in ("app", "demo"))

@contextmanager
def cluster(address):
    yield
    os.kill(os.getpid(), signal.SIGTERM)
    print("Ray has ended")

app.early_cluster = cluster
demo.run_demo = lambda *_: print("the result")
app.main(["demo"])
"""


def test_a_signal_after_the_result_does_not_say_that_the_run_was_stopped():
    done = subprocess.run([sys.executable, "-c", ENDS], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "the result\nRay has ended\n", "")
