"""Times a few real steps of every kind of stage, with the pipeline's own code in a temporary storage.

Each stage runs one epoch over a sample of the rows, so that its start and end (reading and cutting models, checkpoints,
predictions) are those of a real run. The teacher is fine-tuned for a few steps only, which does not change its speed.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import torch
from transformers import PreTrainedModel

from minidisc_ray.configs.training import TrainingConfig
from minidisc_ray.core.flops import forward_macs
from minidisc_ray.core.grid import TEACHER_PERCENT
from minidisc_ray.data import EncodedRows, collate, epoch_batches, evaluation_batches
from minidisc_ray.data.sampling import sample
from minidisc_ray.estimate.sample_rows import rows_to_score, rows_to_train, scored_sizes
from minidisc_ray.estimate.timings import PASSES_OF_STEP, StageKind, TimedPass, TimedStage, Timings
from minidisc_ray.models.checkpoint import load_stored_model
from minidisc_ray.models.forward import run_model
from minidisc_ray.pipeline.context import Context, Report
from minidisc_ray.pipeline.structures import load_shared_teacher, new_teacher
from minidisc_ray.pipeline.trial import run_shared, run_trial
from minidisc_ray.preparation.closed_form import sizes_of
from minidisc_ray.preparation.objective import planned_objective
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.schedules.plan import (
    MAIN_TRIAL,
    STUDENT,
    TEACHER,
    ChooseStep,
    DistilStep,
    ImportanceStep,
    RaceStep,
    SandwichStep,
    TeacherStep,
    Trial,
)
from minidisc_ray.training.importance import BATCH_SIZE as IMPORTANCE_BATCH_SIZE
from minidisc_ray.training.predict import EVALUATION_BATCH_SIZE, autocast, to_device
from minidisc_ray.training.score import score_model
from minidisc_ray.training.teacher_outputs import TeacherOutputs
from minidisc_ray.training.workers import Workers

# Samples are drawn from this many rows of a split: enough to represent its lengths, and encoded in seconds.
_DRAWN_ROWS = 4096
# Of one stage; the start of its first step is unknown, so that one is not counted.
_MIN_STEPS, _MAX_STEPS = 3, 64
_MIN_SCORED_ROWS = 64
# Shares of the budget; the remainder is for scoring, reading and writing.
_SHARES: dict[StageKind, float] = {
    "teacher": 0.14,
    "importance": 0.06,
    "sandwich": 0.26,
    "assistant": 0.10,  # each of three
    "student": 0.10,
}
_SCORING_SHARE = 0.05
_ANY_SIZE = 2**62


@dataclass
class _Clock:
    """Records when steps and epochs end."""

    report: Report | None
    device: torch.device
    step_ends: list[float] = field(default_factory=list)
    epoch_ends: list[float] = field(default_factory=list)

    def on_step(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.step_ends.append(time.perf_counter())

    def on_epoch(self, metrics: dict[str, float], checkpoint: Path) -> None:
        if self.report is not None:
            self.report(metrics, checkpoint)
        self.epoch_ends.append(time.perf_counter())


class StageTimer:
    """Times the stages of a recipe on samples of its rows.

    Args:
        prepared: the checked recipe, in a temporary storage.
        workers: of the training.
        report: called after each epoch, as in a run.
        budget_seconds: about how long the timing may take; each stage takes at least a few steps.
    """

    def __init__(self, prepared: PreparedRun, workers: Workers, report: Report | None, budget_seconds: float) -> None:
        self.workers = workers
        self.report = report
        self.budget_seconds = budget_seconds
        splits = prepared.splits
        seed = prepared.config.data.selection_seed
        drawn = {"train": splits.train, "selection": splits.selection}
        drawn |= {f"validation/{name}": rows for name, rows in splits.validation.items()}
        encoded = {name: prepared.encode(sample(rows, _DRAWN_ROWS, seed)) for name, rows in drawn.items()}
        self.prepared = replace(_for_one_epoch(prepared), encoded=encoded)
        self.pass_mac_seconds = 0.0

    def time(self, assistant_scales: Sequence[int]) -> Timings:
        """Time every kind of stage of the plan.

        Args:
            assistant_scales: in percent, of the assistants to distil.
        """
        started_at = time.perf_counter()
        self.begin()
        config = self.prepared.config
        stages = [self._shared(TeacherStep(), config.finetune), self._shared(ImportanceStep(), None)]
        sandwich = next((s for _, s in self.prepared.plan.own_steps() if isinstance(s, SandwichStep)), None)
        if sandwich is not None:
            stages += self._sandwich(sandwich.as_sandwich() if isinstance(sandwich, RaceStep) else sandwich)
        stages += [self.distil(scale, f"assistant-{scale}") for scale in assistant_scales]
        stages.append(self.distil(config.student_percent, STUDENT))
        reading_at = time.perf_counter()
        teacher = load_shared_teacher(self.prepared)
        load_seconds = time.perf_counter() - reading_at
        student = load_stored_model(self.prepared.storage, self.prepared.run_folder / "stages" / STUDENT / "model")
        return Timings(
            stages=tuple(stages),
            selection=scored_sizes(self.prepared.selection),
            validation=tuple(size for rows in self.prepared.validation.values() for size in scored_sizes(rows)),
            passes=(self._pass(teacher, TEACHER_PERCENT), self._pass(student, config.student_percent)),
            fill=self._fill(teacher),
            load_seconds=load_seconds,
            seconds=time.perf_counter() - started_at,
        )

    def begin(self) -> None:
        """Measure the speed of the device, and reduce the rows to score to fit the budget."""
        self.pass_mac_seconds = self._probe()
        self._reduce_rows_to_score()

    def distil(self, scale: int, name: str) -> TimedStage:
        """Time a distillation from the teacher to one scale."""
        kind: StageKind = "student" if name == STUDENT else "assistant"
        training = self.prepared.config.distil_training
        step = DistilStep(TEACHER, scale, name)
        made = self.prepared.expected_structure(Trial(MAIN_TRIAL, (step,)), step)
        macs = self._macs_of_step(training, forward_macs(self.prepared.expected_shape(name), made, 1, 128))
        return self._trial(kind, Trial(MAIN_TRIAL, (step,)), scale, training, self._num_steps(kind, macs))

    def _sandwich(self, step: SandwichStep) -> list[TimedStage]:
        training = self.prepared.config.sandwich_training
        shape = self.prepared.shape
        # A step trains num_trained of the candidates; take the mean over all.
        macs_of_row = sum(forward_macs(shape, self.prepared.structure(scale), 1, 128) for scale in step.scales)
        macs = self._macs_of_step(training, macs_of_row * step.num_trained / len(step.scales))
        trained = self._trial(
            "sandwich", Trial(MAIN_TRIAL, (step,)), TEACHER_PERCENT, training, self._num_steps("sandwich", macs)
        )
        # Runs the choice only, as the sandwich is already finished in this storage.
        choice = ChooseStep(step.rule, step.name, step.num_chosen, step.num_below)
        return [trained, self._trial("choose", Trial(MAIN_TRIAL, (step, choice)), TEACHER_PERCENT, None, 1)]

    def _shared(self, step: TeacherStep | ImportanceStep, training: TrainingConfig | None) -> TimedStage:
        kind: StageKind = "teacher" if training is not None else "importance"
        full = forward_macs(self.prepared.shape, self.prepared.shape.full(), 1, 128)
        if training is None:
            training = TrainingConfig(batch_size=IMPORTANCE_BATCH_SIZE)
        num_steps = self._num_steps(kind, self._macs_of_step(training, full))

        def run(context: Context) -> None:
            run_shared(context, (step,))

        return self._timed(kind, run, TEACHER_PERCENT, training, num_steps)

    def _trial(
        self, kind: StageKind, trial: Trial, scale: int, training: TrainingConfig | None, num_steps: int
    ) -> TimedStage:
        def run(context: Context) -> None:
            (*_, record) = run_trial(context, trial)
            nonlocal scale
            scale = scale if record.chosen_percent is None else record.chosen_percent

        timed = self._timed(kind, run, scale, training or TrainingConfig(), num_steps)
        return timed.model_copy(update={"scale_percent": scale})

    def _timed(
        self, kind: StageKind, run: Callable[[Context], None], scale: int, training: TrainingConfig, num_steps: int
    ) -> TimedStage:
        config = self.prepared.config
        rows = rows_to_train(self.prepared.train, training.batch_size, config.seed, num_steps)
        prepared = replace(self.prepared, encoded={**self.prepared.encoded, "train": rows})
        clock = _Clock(self.report, self.workers.device)
        context = Context(prepared, self.workers, MAIN_TRIAL, 1, clock.on_epoch, on_step=clock.on_step)
        started_at = time.perf_counter()
        run(context)
        seconds = time.perf_counter() - started_at
        ends = clock.step_ends
        if kind == "importance":
            batches = sizes_of(rows, evaluation_batches(rows.lengths, IMPORTANCE_BATCH_SIZE))
        else:
            batches = sizes_of(rows, epoch_batches(rows.lengths, training.batch_size, config.seed, 0)) if ends else ()
        return TimedStage(
            stage=kind,
            scale_percent=scale,
            seconds=seconds,
            batches=batches,
            step_seconds=tuple(after - before for before, after in pairwise(ends)),
            num_warm_up=2 if len(ends) > 9 else 1 if len(ends) > 5 else 0,
            epoch_end_seconds=clock.epoch_ends[-1] - ends[-1] if ends else 0.0,
            rows=scored_sizes(rows),
        )

    def _fill(self, teacher: PreTrainedModel) -> TimedPass | None:
        """Time the teacher's outputs that the objective needs; None if it needs none."""
        prepared, config = self.prepared, self.prepared.config
        step = DistilStep(TEACHER, config.student_percent, STUDENT)
        wanted = planned_objective(prepared, Trial(MAIN_TRIAL, (step,)), step).needs().teacher
        if not wanted:
            return None
        rows = rows_to_score(prepared.train, len(prepared.selection))
        started_at = time.perf_counter()
        TeacherOutputs(teacher, rows, wanted, prepared.pad_token_id, self.workers, config.precision, _ANY_SIZE)
        seconds = time.perf_counter() - started_at
        return TimedPass(scale_percent=TEACHER_PERCENT, batches=scored_sizes(rows), seconds=seconds)

    def _pass(self, model: PreTrainedModel, scale: int) -> TimedPass:
        rows = self.prepared.selection
        seconds = [self._score(model, rows) for _ in range(3)]
        return TimedPass(scale_percent=scale, batches=scored_sizes(rows), seconds=sum(seconds[1:]) / 2)

    def _score(self, model: PreTrainedModel, rows: EncodedRows) -> float:
        started_at = time.perf_counter()
        score_model(model, rows, self.prepared.pad_token_id, self.workers, self.prepared.config.precision)
        return time.perf_counter() - started_at

    def _probe(self) -> float:
        """About how many seconds a multiply-add of the teacher's forward pass takes; the same value on every worker."""
        prepared, workers = self.prepared, self.workers
        config, rows = prepared.config, prepared.train
        model = new_teacher(prepared).eval().to(workers.device)
        batches = evaluation_batches(rows.lengths, EVALUATION_BATCH_SIZE)
        batch = to_device(collate(rows, batches[len(batches) // 2], prepared.pad_token_id), workers.device)
        seconds = []
        with torch.inference_mode(), autocast(config.precision, workers.device):
            for _ in range(3):
                started_at = time.perf_counter()
                run_model(model, batch).logits.sum().item()
                seconds.append(time.perf_counter() - started_at)
        found = min(seconds) / forward_macs(prepared.shape, prepared.shape.full(), batch.rows, batch.length)
        return workers.agree(found)

    def _reduce_rows_to_score(self) -> None:
        prepared, plan = self.prepared, self.prepared.plan
        candidates = max((len(s.scales) for _, s in plan.own_steps() if isinstance(s, SandwichStep)), default=2)
        # In passes of the teacher: a model has half its size on average, and is scored after the epoch and at the end.
        times = {"selection": candidates, **{name: 6 for name in prepared.encoded if name.startswith("validation/")}}
        full = prepared.shape.full()
        for name, passes in times.items():
            rows = prepared.encoded[name]
            macs = sum(forward_macs(prepared.shape, full, *size) for size in scored_sizes(rows))
            affordable = _SCORING_SHARE * self.budget_seconds / (passes * self.pass_mac_seconds * macs)
            prepared.encoded[name] = rows_to_score(rows, max(_MIN_SCORED_ROWS, int(len(rows) * min(1.0, affordable))))

    def _macs_of_step(self, training: TrainingConfig, macs_of_row_of_128: float) -> float:
        """Multiply-adds of the forward pass of a mean batch."""
        rows = self.prepared.train
        tokens = float(rows.lengths.double().mean())
        return macs_of_row_of_128 * min(training.batch_size, len(rows)) * tokens / 128

    def _num_steps(self, kind: StageKind, macs: float) -> int:
        affordable = _SHARES[kind] * self.budget_seconds / (PASSES_OF_STEP * self.pass_mac_seconds * macs)
        return max(_MIN_STEPS, min(_MAX_STEPS, int(affordable)))


def _for_one_epoch(prepared: PreparedRun) -> PreparedRun:
    config = prepared.config
    once = {"num_epochs": 1}
    changed = {
        "finetune": config.finetune.model_copy(update=once),
        "sandwich": config.sandwich_training.model_copy(update=once),
        "distil": config.distil.model_copy(update=once),
        # Importance is measured on all rows of the sample.
        "pruning": config.pruning.model_copy(update={"importance_rows": None}),
    }
    return replace(prepared, config=config.model_copy(update=changed))
