"""What a step needs to execute, in this process or in a Ray worker."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from minidisc_ray.accounting.cost import shares
from minidisc_ray.accounting.ledger import Ledger
from minidisc_ray.files.storage import Storage
from minidisc_ray.log import logger
from minidisc_ray.pipeline.metering import StageMeter
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.run_files.progress import Progress, write_progress
from minidisc_ray.run_files.records import StageRecord
from minidisc_ray.schedules.plan import Trial
from minidisc_ray.training.loop import TrainingError
from minidisc_ray.training.notice import Preempted, must_stop
from minidisc_ray.training.workers import Workers

# Called with metrics by name and the newest checkpoint's folder after each epoch, on every worker.
Report = Callable[[dict[str, float], Path], None]


@dataclass(frozen=True)
class StageAttempt:
    """One attempt at a trial's own step.

    Attributes:
        trial: the step's trial.
        earlier: records of the trial's steps before it.
        folder: where the step keeps its checkpoints, its record and its model.
        beat: writes to the ledgers that the attempt still runs.
    """

    trial: Trial
    earlier: Sequence[StageRecord]
    folder: Path
    beat: Callable[[], None]


@dataclass
class Context:
    """One trial's execution: the prepared run, this worker, and its progress, ledgers and folder.

    Attributes:
        prepared: the checked recipe.
        workers: this worker among the trial's.
        trial: the trial's name; ``main`` for schedules of one trial, ``shared`` for what a sweep's trials share.
        num_stages: stages of the trial, shared ones included; for display.
        report: called after each epoch; under Ray Train it reports to Ray.
        node: the node's name in the ledger; by default the machine's name.
        stage_index: the running stage's number, from 1; for display.
        started_at: when this process started the trial, in seconds since the epoch.
        on_step: called after each optimiser step, on every worker; used to time steps.
        events: what happened so far, in words; for display.
    """

    prepared: PreparedRun
    workers: Workers
    trial: str
    num_stages: int
    report: Report | None = None
    node: str | None = None
    stage_index: int = 0
    started_at: float = field(default_factory=time.time)
    on_step: Callable[[], None] | None = None
    events: list[str] = field(default_factory=list)
    _earlier_hours: float = field(default=0.0, init=False, repr=False)
    _meter: StageMeter | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.prepared.wait_for_storage()
        if self.workers.is_first:
            ended = (one for one in self.ledger.attempts() if one.trial == self.trial and one.status != "open")
            self._earlier_hours = sum(share.held for share in shares(ended)) / 3600

    @property
    def folder(self) -> Path:
        """The trial's folder: the run's folder, or one under ``trials`` in a sweep."""
        run = self.prepared.run_folder
        return run if self.trial in ("main", "shared") else run / "trials" / self.trial

    @property
    def storage(self) -> Storage:
        """The run's storage."""
        return self.prepared.storage

    @property
    def ledger(self) -> Ledger:
        """The run's ledger."""
        return self.prepared.ledger

    @property
    def devices(self) -> float:
        """Devices held by the trial: GPUs, or cores."""
        compute = self.prepared.config.compute
        each = compute.gpus_per_worker if compute.gpus_per_worker > 0 else compute.cpus_per_worker
        return self.workers.size * each

    @property
    def device_type(self) -> str:
        """The device's name: cpu-core, or a GPU's."""
        device = self.workers.device
        return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu-core"

    @contextmanager
    def attempt(self, stage: str, ledgers: tuple[Ledger, ...] = ()) -> Iterator[Callable[[], None]]:
        """Meter one attempt at a stage; yields a function that writes to the ledgers that the attempt still runs.

        Args:
            stage: the stage's name.
            ledgers: ledgers to write to besides the run's, such as a shared artifact's.

        Raises:
            Preempted: if a worker was asked to stop before the stage began.
        """
        if must_stop(self.workers):
            self.progress(stage, "interrupted")
            raise Preempted(stage, 0)
        self.stage_index += 1
        self.progress(stage, "running")
        compute = self.prepared.config.compute
        self._meter = meter = StageMeter(
            (self.ledger, *ledgers),
            stage,
            self.trial,
            self.devices,
            self.device_type,
            self.node,
            self.workers,
            compute,
        )
        status = "interrupted"
        try:
            yield meter.beat
            status = "finished"
        except Preempted:
            raise
        except TrainingError as error:
            status = "failed"
            raise TrainingError(f"stage {stage}: {error}") from error
        except Exception:
            status = "failed"
            raise
        finally:
            self._meter = None
            meter.end(status)
            if status != "finished":
                self.progress(stage, "failed" if status == "failed" else "interrupted")

    def checkpoint(self, step: int) -> None:
        """Write to the ledgers that the stage's work up to a step is saved; work after it may still be lost."""
        if self._meter is not None:
            self._meter.checkpoint(step)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Meter the time for which this process holds the trial's devices."""
        held = self.ledger.attempt(
            "hold", "process", self.trial, self.devices, self.device_type, node=self.node, interrupted_by=(Preempted,)
        )
        with held:
            yield

    def note(self, event: str) -> None:
        """Log what happened, and keep it for the trial's progress file; on the first worker only."""
        if self.workers.is_first:
            logger.info("[%s] %s", self.trial, event)
            self.events.append(event)

    def progress(
        self,
        stage: str,
        status: str,
        step: int = 0,
        num_steps: int = 0,
        epoch: int = 0,
        metric: float | None = None,
        loss: float | None = None,
    ) -> None:
        """Write the trial's progress file, on the first worker only."""
        if not self.workers.is_first:
            return
        now = time.time()
        write_progress(
            self.storage,
            self.prepared.run_folder,
            Progress(
                trial=self.trial,
                status=status,
                stage=stage,
                stage_index=min(self.stage_index, self.num_stages),
                num_stages=self.num_stages,
                step=step,
                num_steps=num_steps,
                epoch=epoch,
                metric_name=self.prepared.task.selection_label if metric is not None else None,
                metric=metric,
                loss=loss,
                events=tuple(self.events),
                device_hours=self._earlier_hours + (now - self.started_at) * self.devices / 3600,
                started_at=self.started_at,
                updated_at=now,
            ),
        )
