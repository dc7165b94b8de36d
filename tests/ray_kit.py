"""Tiny runs on the built-in data, for Ray and for the process beside it; what is known of processes, from /proc."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml
from storage_kit import LOCAL
from tiny_teacher import TINY_TEACHER

from minidisc_ray.accounting.attempts import Attempt
from minidisc_ray.accounting.ledger import Ledger
from minidisc_ray.cli import main
from minidisc_ray.configs import resolve
from minidisc_ray.preparation.prepare import prepare
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.ray_backend.run import results_of, run_many
from minidisc_ray.run_files.progress import RunProgress, Watch
from minidisc_ray.run_files.result import RunResult

_ONCE = {"num_epochs": 1, "batch_size": 16, "learning_rate": 2e-3, "early_stop_epochs": None}
RECIPE: dict[str, Any] = {
    "data": {"kind": "builtin", "train_rows": 128, "validation_rows": 64, "test_rows": 32},
    "teacher": TINY_TEACHER,
    "pruning": {"neuron_multiple": 1},
    "finetune": {**_ONCE, "num_epochs": 2},
    "distil": _ONCE,
}
SCHEDULES: dict[str, dict[str, Any]] = {
    "conventional": {"kind": "conventional"},
    "minidisc": {"kind": "minidisc", "scales": {"kind": "list", "values": [60, 30]}, "num_sampled": 2},
    "maxidisc": {"kind": "maxidisc", "scales": {"kind": "list", "values": [80, 60, 30]}},
}


def long_sandwich(num_epochs: int) -> str:
    """An override; an epoch takes about 0.3 s, so that a sandwich can be stopped in its middle."""
    return f"sandwich={{num_epochs: {num_epochs}, batch_size: 16, learning_rate: 2e-3, early_stop_epochs: null}}"


LONG_SANDWICH = long_sandwich(16)
# What the fixture ``in_one_process`` trains: long enough for a watch, which looks every half second.
WATCHED_SANDWICH = long_sandwich(12)
# What Ray calls a process that runs trials: within a call, and between two.
TRIAL_TITLES = ("ray::ResourceTrainable", "ray::TrialActor")
# Ray Data, which Ray Train asks for its context, sets options of its own that it deprecates; not ours to mend.
RAY_WARNINGS = (pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context"),)
RAY = (pytest.mark.ray, pytest.mark.timeout(400), *RAY_WARNINGS)
# Ray's workers would give way to every other process, and stand still beside tests that need both CPUs.
NOT_NICE = {"RAY_worker_niceness": "0"}


def prepared_run(storage: Path, kind: str, *overrides: str) -> PreparedRun:
    return prepare(resolve({**RECIPE, "schedule": SCHEDULES[kind], "storage": str(storage)}, overrides))


def run_on_ray(prepared: PreparedRun, watch: Watch | None = None) -> RunResult:
    """A run alone, without its report."""
    (result,) = results_of([prepared], run_many([prepared], prepared.run_folder, watch=watch, which="all"))
    return result


class ActorNames:
    """A watch that reads the names of a run's actors from Ray's state API, at the first progress of any stage.

    A later stage may be over before Ray has answered.
    """

    def __init__(self, run: PreparedRun) -> None:
        self.run = run
        self.found: list[str] = []

    def __call__(self, progress: RunProgress) -> None:
        # Once: each question goes to the dashboard's server.
        if self.found or not progress.trials:
            return
        import ray
        from ray.util.state import list_actors

        address = ray.get_runtime_context().gcs_address
        actors = list_actors(address=address, filters=[("state", "=", "ALIVE")], detail=True, timeout=30)
        self.found = sorted(actor.repr_name for actor in actors if self.run.name in (actor.repr_name or ""))


def write_recipe(path: Path, storage: Path, kind: str) -> Path:
    path.write_text(yaml.safe_dump({**RECIPE, "schedule": SCHEDULES[kind], "storage": str(storage)}))
    return path


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[Any, str, str]:
    """A command in this process: its exit code, what it printed, and what it complained of."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    captured = capsys.readouterr()
    return ended.value.code, captured.out, captured.err


def attempts_of(prepared: PreparedRun, kind: str) -> list[Attempt]:
    return [a for a in Ledger(LOCAL, prepared.run_folder / "ledger.jsonl").attempts() if a.kind == kind]


def numbers(result: RunResult) -> dict[str, Any]:
    """All that has to be the same again: no clock in it, and nothing of where it ran."""
    measured = {"student_step_seconds", "student_step_memory_bytes"}
    dumped = result.model_dump(
        mode="json", exclude={"started_at", "finished_at", "attempts", "cost", "trials", "threads", *measured}
    )
    dumped.pop("devices")
    dumped["trials"] = [
        trial.model_dump(mode="json", exclude={"device_hours", "training_flops"}) for trial in result.trials
    ]
    return dumped


def student_weights(prepared: PreparedRun) -> bytes:
    return (prepared.run_folder / "student" / "model.safetensors").read_bytes()


def is_in_sandwich(run_folder: Path) -> bool:
    """Whether the sandwich has a checkpoint to resume from and is not over."""
    stage = run_folder / "stages" / "sandwich"
    return (stage / "newest" / "state.json").is_file() and not (stage / "record.json").exists()


def processes_below(pid: int) -> dict[int, str]:
    """Every descendant of a process: pid -> command line."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found: dict[int, str] = {}
    young = {pid}
    while young:
        young = {child for child, parent in parents.items() if parent in young} - found.keys()
        found |= {child: command_of(child) for child in young}
    return found


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def still_there(processes: dict[int, str]) -> dict[int, str]:
    """Those of some processes that still run; a number that the system gave to another one does not count."""
    return {
        pid: command
        for pid, command in processes.items()
        if command and (now := command_of(pid)) and _same(command, now)
    }


def _same(before: str, now: str) -> bool:
    # Ray's idle workers rename themselves, so that only the first words tell.
    return before == now or (before.startswith("ray::") and now.startswith("ray::"))


def clean_environment(**extra: str) -> dict[str, str]:
    """The environment of a child, without what would attach it to somebody's cluster."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {**kept, **NOT_NICE, "TOKENIZERS_PARALLELISM": "false", **extra}
