"""Many runs as one Ray Tune experiment: what several of them share is made once, and each goes on from its records."""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from minidisc_ray.configs.base import UserError
from minidisc_ray.driver.lease import Lease, LeaseLostError, leased
from minidisc_ray.files.patience import restoring_storage, use_storage
from minidisc_ray.pipeline.finish import finish_run, is_finished, is_trial_finished
from minidisc_ray.pipeline.run_directory import configure_storage_retries, open_run, probe_storage
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.ray_backend.cluster import cluster
from minidisc_ray.ray_backend.experiment import fit_items
from minidisc_ray.ray_backend.metrics import publish
from minidisc_ray.ray_backend.policies.queue import Item, ItemQueue
from minidisc_ray.ray_backend.policies.resources import trials_at_once
from minidisc_ray.ray_backend.policies.retries import RetryPolicy
from minidisc_ray.ray_backend.policies.sharing import sharing_cluster
from minidisc_ray.ray_backend.supervision.frozen import HoldWatch
from minidisc_ray.ray_backend.supervision.stalls import StallWatch, end_on_its_node
from minidisc_ray.ray_backend.supervision.watching import closing_ledgers_on_stop, watched
from minidisc_ray.run_files.failures import read_failure, write_failure
from minidisc_ray.run_files.mirrored import fetch_live_files, fetch_records, fetch_run, probe_bucket
from minidisc_ray.run_files.progress import Progress, mark_stopped, read_trial_progress
from minidisc_ray.run_files.records import read_record
from minidisc_ray.run_files.result import RunResult
from minidisc_ray.schedules.plan import MAIN_TRIAL, SHARED_TRIAL, ImportanceStep
from minidisc_ray.training.loop import TrainingError

Watch = Callable[[Sequence[Progress]], None]
OnResult = Callable[[PreparedRun, RunResult], None]


@restoring_storage()
def run_many(
    runs: Sequence[PreparedRun],
    folder: Path,
    on_result: OnResult,
    watch: Watch | None = None,
    retry_failed: bool = False,
    home: Path | None = None,
) -> None:
    """Execute runs that are not finished; a trial that fails leaves its reason and ends no other run.

    Args:
        runs: checked recipes, each once, all with the same resources.
        folder: where Tune keeps its files.
        on_result: called in the calling thread for each run as soon as it has its result.
        watch: called about twice a second with the progress of what is running, in the calling thread.
        retry_failed: execute what failed before, and that alone; otherwise what failed is left as it is.
        home: the folder in which this driver says that it is at work; by default ``folder``.

    Raises:
        UserError: if no node can hold a trial, runs ask for different resources, or another driver is at work.
        KeyboardInterrupt: after Ctrl-C; the same call again goes on where this one stopped.
    """
    _check_compute(runs)
    probe_bucket(runs[0].config.storage)
    for run in runs:
        fetch_run(run.run_folder)
    configure_storage_retries(runs)
    finisher, items = _Finisher(runs, on_result), items_of(runs, retry_failed)
    if not items:
        finisher.finish(set())
        return
    probe_storage(items[0].run)
    touched = list({item.run.name: item.run for item in items}.values())
    with leased(home or folder, [run.run_folder for run in touched]) as lease:
        for run in touched:
            fetch_run(run.run_folder, is_exclusive=True)
        # Another driver may have finished some of it until now.
        if items := items_of(runs, retry_failed):
            _execute(items, folder, home or folder, finisher, lease, watch)
        finisher.finish(set())


def _execute(
    items: Sequence[Item], folder: Path, home: Path, finisher: "_Finisher", lease: Lease, watch: Watch | None
) -> None:
    compute = items[0].run.config.compute
    queue = ItemQueue(items, RetryPolicy.of(compute))
    stalls = StallWatch(compute.stall_seconds, end_on_its_node)
    touched = list({item.run.name: item.run for item in items}.values())
    with (
        closing_ledgers_on_stop(*(run.run_folder for run in touched)),
        cluster(compute.address) as nodes,
        sharing_cluster(home.name, compute.priority) as turn,
    ):
        at_once = trials_at_once(nodes, compute)
        for run in touched:
            open_run(run)
        use_storage(touched[0].storage, compute.storage_patience_seconds)
        holds = HoldWatch([run.run_folder for run in touched], compute.stall_seconds, end_on_its_node)

        def look() -> None:
            lease.check()
            for run in {item.run.name: item.run for item in queue.running()}.values():
                fetch_live_files(run.run_folder)
            seen = ((item, read_trial_progress(item.run.run_folder, item.trial)) for item in queue.running())
            running = [(item, p) for item, p in seen if p is not None and p.updated_at >= finisher.started_at]
            stalls.check((item.run.run_folder, progress) for item, progress in running)
            holds.check()
            for item, _ in running:
                publish(item.run)
            if watch is not None:
                watch([progress.model_copy(update={"trial": item.title}) for item, progress in running])
            finisher.finish(queue.open_titles())

        try:
            watched(lambda: fit_items(queue, at_once, folder, "tune", turn), look)
            finisher.finish(set())
        except LeaseLostError:
            raise
        except BaseException:
            for run in touched:
                mark_stopped(run.run_folder)
            raise


def items_of(runs: Sequence[PreparedRun], retry_failed: bool = False) -> list[Item]:
    """What is left to do, in order: what runs share before what needs it; decided from files, without a cluster."""
    items: list[Item] = []
    teachers: dict[Path, str] = {}
    importances: dict[Path, str] = {}
    for run in _owners_first(runs):
        if is_finished(run):
            continue
        failed = {trial.name for trial in run.plan.all_trials() if read_failure(run.run_folder, trial.name)}
        failed |= {name for name in (MAIN_TRIAL, SHARED_TRIAL) if read_failure(run.run_folder, name)}
        # What the trials share, or the run as a whole: without it nothing of the run can go on.
        is_held_up = bool(failed & {MAIN_TRIAL, SHARED_TRIAL})
        if (retry_failed and not failed) or (is_held_up and not retry_failed):
            continue
        items += _items_of_run(run, set() if retry_failed else failed, teachers, importances)
    return items


def _owners_first(runs: Sequence[PreparedRun]) -> list[PreparedRun]:
    """The runs in order, but behind one without a sandwich of its own where it would have to make the teacher.

    Those that need no importance come last: what they would make for all would lack it.
    """

    def place(run: PreparedRun) -> tuple[bool, bool]:
        has_importance = any(isinstance(step, ImportanceStep) for step in run.plan.shared)
        return not has_importance, bool(run.plan.before)

    return sorted(runs, key=place)


def _items_of_run(
    run: PreparedRun, skipped: set[str], teachers: dict[Path, str], importances: dict[Path, str]
) -> list[Item]:
    items: list[Item] = []
    teacher, importance = run.teacher_folder, run.importance_folder
    fetch_records(teacher, importance)
    is_shared_there = all(read_record(folder) is not None for folder in (teacher, importance))
    shared_title, before = _title(run, SHARED_TRIAL), run.plan.trial(SHARED_TRIAL)
    needs: set[str] = set()
    if not is_shared_there and importance not in importances:
        known = teachers.get(teacher)
        items.append(Item(run, SHARED_TRIAL, shared_title, True, needs=frozenset({known} if known else ())))
        importances[importance] = shared_title
        teachers.setdefault(teacher, shared_title)
    if not is_shared_there:
        needs = {importances[importance]}
    if before is not None and not is_trial_finished(run, before) and shared_title not in needs:
        items.append(Item(run, SHARED_TRIAL, shared_title, needs=frozenset(needs)))
        needs = needs | {shared_title}
    trials = [t for t in run.plan.trials if not is_trial_finished(run, t) and t.name not in skipped]
    items += [Item(run, trial.name, _title(run, trial.name), needs=frozenset(needs)) for trial in trials]
    last = run.plan.after
    if last is not None and not is_trial_finished(run, last) and last.name not in skipped:
        follows = frozenset(_title(run, trial.name) for trial in trials)
        items.append(Item(run, last.name, _title(run, last.name), needs=frozenset(needs), follows=follows))
    return items


def _title(run: PreparedRun, trial: str) -> str:
    return run.name if trial == MAIN_TRIAL else f"{run.name}.{trial}"


class _Finisher:
    """Writes the result of each run, once, as soon as none of its trials is to come."""

    def __init__(self, runs: Sequence[PreparedRun], on_result: OnResult) -> None:
        self.left = {run.name: run for run in runs if not is_finished(run)}
        self.started_at = time.time()
        self.on_result = on_result

    def finish(self, open_titles: set[str]) -> None:
        for run in list(self.left.values()):
            if any(_title(run, trial.name) in open_titles for trial in run.plan.all_trials()):
                continue
            del self.left[run.name]
            if any(is_trial_finished(run, trial) for trial in run.plan.ends):
                self._write_result(run)
            elif run.run_folder.exists():
                self._give_up(run)
            run.encoded.clear()

    def _write_result(self, run: PreparedRun) -> None:
        """What keeps one run from its result (a damaged record, a full disk) is that run's failure, not the study's."""
        try:
            self.on_result(run, finish_run(run, self.started_at))
        except (UserError, TrainingError, OSError) as error:
            with suppress(OSError):
                write_failure(run.run_folder, MAIN_TRIAL, f"its result could not be written: {error}")

    def _give_up(self, run: PreparedRun) -> None:
        """A run that made no student says why in its own folder, whichever trial it was."""
        trials = [trial.name for trial in run.plan.all_trials()]
        reasons = [found for name in (SHARED_TRIAL, *trials) if (found := read_failure(run.run_folder, name))]
        if reasons and read_failure(run.run_folder, MAIN_TRIAL) is None:
            write_failure(run.run_folder, MAIN_TRIAL, reasons[0])


def _check_compute(runs: Sequence[PreparedRun]) -> None:
    for run in runs[1:]:
        if run.config.compute != runs[0].config.compute:
            raise UserError(
                f"compute: {runs[0].name} and {run.name} ask for different resources; give all runs the same"
            )
