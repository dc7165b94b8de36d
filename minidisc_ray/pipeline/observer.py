"""Reports a training stage's progress: progress file, log, TensorBoard, the ledger's checkpoints, Ray's report."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from minidisc_ray.accounting.cost import held_by_stage
from minidisc_ray.log import logger
from minidisc_ray.pipeline.context import Context
from minidisc_ray.run_files.history import append_epoch
from minidisc_ray.tracking.tensorboard import summary_writer
from minidisc_ray.training.race_check import RaceCheck, race_choice, race_event
from minidisc_ray.training.state import EpochRecord

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

_SECONDS_BETWEEN_UPDATES = 1.0
_SECONDS_BETWEEN_BEATS = 15.0
_SECONDS_BETWEEN_COSTS = 10.0


class StageObserver:
    """Reports one stage's progress; its TensorBoard events lie under ``tensorboard/`` in the run's folder."""

    def __init__(self, context: Context, stage: str, num_epochs: int, beat: Callable[[], None]) -> None:
        self.context = context
        self.stage = stage
        self.num_epochs = num_epochs
        self.beat = beat
        self.metric: float | None = None
        self.loss: float | None = None
        self.step = self.num_steps = self.epoch = 0
        self._updated_at = self._beat_at = self._costs_at = 0.0
        self._writer: SummaryWriter | None = None
        if context.workers.is_first:
            folder = context.prepared.run_folder / "tensorboard" / context.trial / stage
            self._writer = summary_writer(folder)

    def on_step(self, step: int, num_steps: int, epoch: int, losses: dict[str, Tensor]) -> None:
        """Update the progress file and TensorBoard, at most about once a second."""
        self.step, self.num_steps, self.epoch = step, num_steps, epoch
        if self.context.on_step is not None:
            self.context.on_step()
        now = time.monotonic()
        if self._writer is None or now - self._updated_at < _SECONDS_BETWEEN_UPDATES:
            return
        self._updated_at = now
        values = {name: float(value) for name, value in losses.items()}
        # This worker's share of the batch, taken for all of it: a sum over workers would make each step wait.
        loss = sum(values.values()) * self.context.workers.size
        self.loss = loss if math.isfinite(loss) else None
        self._write_progress()
        for name, value in values.items():
            self._writer.add_scalar(f"loss/{name}", value, step)
        if now - self._beat_at > _SECONDS_BETWEEN_BEATS:
            self._beat_at = now
            self.beat()

    def _write_progress(self) -> None:
        self.context.progress(self.stage, "running", self.step, self.num_steps, self.epoch, self.metric, self.loss)

    def on_check(self, check: RaceCheck) -> None:
        """Log what a race's evaluation decided: candidates left, probabilities of being best, and the choice."""
        if self._writer is None:
            return
        if (event := race_event(check)) is not None:
            self.context.note(f"{self.stage}: {event}")
            self._write_progress()
        self._writer.add_scalar("race/candidates", len(check.alive), check.step)
        for scale, probability in check.probabilities.items():
            self._writer.add_scalar(f"race/probability/scale_{scale:03d}", probability, check.step)
        self._writer.flush()
        if check.choice is not None:
            verdict = f"chosen: {race_choice(check)}"
        elif not check.has_learned:
            verdict = "too little learned for a choice"
        else:
            verdict = f"{check.favourite}% is best with probability {check.probabilities[check.favourite]:.2f}"
        logger.info(
            "[%s] %s step %d: %d candidates left (%s); %s",
            self.context.trial,
            self.stage,
            check.step,
            len(check.alive),
            ", ".join(f"{scale}%" for scale in check.alive) or "none",
            verdict,
        )

    def on_epoch(self, record: EpochRecord, checkpoint: Path) -> None:
        """Log the epoch, and report it with its checkpoint."""
        task = self.context.prepared.task
        # TensorBoard tags and Ray's metrics take no spaces.
        primary = "-".join(task.chosen_by)
        values = {scale: task.selection_score(metrics) for scale, metrics in record.metrics.items()}
        self.metric = max(values.values())
        if self._writer is not None:
            # If the attempt is lost, only its work after this step counts as lost.
            self.context.checkpoint(self.step)
            for name, value in record.losses.items():
                self._writer.add_scalar(f"epoch_loss/{name}", value, self.step)
            for scale, value in values.items():
                self._writer.add_scalar(f"selection/{primary}/scale_{scale:03d}", value, self.step)
            self._writer.add_scalar("selection/score", record.selection_score, self.step)
            self._write_costs(_SECONDS_BETWEEN_COSTS)
            self._writer.flush()
            prepared = self.context.prepared
            append_epoch(prepared.storage, prepared.run_folder, self.context.trial, self.stage, self.step, record)
            losses = ", ".join(f"{name} {value:.4f}" for name, value in record.losses.items())
            # In percent, as in every table.
            best = f"{100 * self.metric:z.1f}"
            shown = best if len(values) == 1 else f"{100 * min(values.values()):z.1f} to {best}"
            logger.info(
                "[%s] %s epoch %d/%d: loss %s; selection %s %s",
                self.context.trial,
                self.stage,
                record.epoch,
                self.num_epochs,
                losses,
                task.selection_label,
                shown,
            )
        if self.context.report is not None:
            metrics = {"epoch": float(record.epoch), "selection_score": record.selection_score, primary: self.metric}
            self.context.report({name: v for name, v in metrics.items() if math.isfinite(v)}, checkpoint)

    def close(self) -> None:
        """Write the stage's cost, and close the TensorBoard file."""
        if self._writer is not None:
            self._write_costs(0.0)
            self._writer.close()

    def _write_costs(self, seconds_between: float) -> None:
        """Write the trial's device-hours at this stage over all attempts; the running attempt counts as useful."""
        now = time.monotonic()
        if self._writer is None or now - self._costs_at < seconds_between:
            return
        self._costs_at = now
        attempts = self.context.ledger.attempts()
        held = held_by_stage(attempts, self.context.trial, live_at=time.time()).get(self.stage)
        if held is None:
            return
        compute = self.context.prepared.config.compute
        hours = {
            "useful": held.useful_device_hours,
            "lost": held.lost_device_hours,
            "idle": held.idle_device_hours,
        }
        for name, value in hours.items():
            self._writer.add_scalar(f"device_hours/{name}", value, self.step)
        if compute.price_per_device_hour is not None:
            price = compute.price_per_device_hour * sum(hours.values())
            self._writer.add_scalar(f"price/{compute.currency}", price, self.step)
        if held.energy_joules is not None:
            self._writer.add_scalar("energy/joules", held.energy_joules, self.step)
