"""Trains a sandwich as a race: candidates that cannot win are dropped, and one is chosen during training."""

from minidisc_ray.core.grid import TEACHER_PERCENT
from minidisc_ray.evaluation import majority_scores
from minidisc_ray.models.surgery import cut
from minidisc_ray.pipeline.context import Context, StageAttempt
from minidisc_ray.pipeline.stages._build import teacher_and_source
from minidisc_ray.pipeline.stages._scores import scoring_flops, selection_logits
from minidisc_ray.pipeline.stages._train import training_stage
from minidisc_ray.pipeline.structures import structures_of
from minidisc_ray.preparation.race_costs import race_times
from minidisc_ray.run_files.records import StageRecord
from minidisc_ray.schedules.plan import RaceStep
from minidisc_ray.training.distil import NestedModels
from minidisc_ray.training.learner import Scores
from minidisc_ray.training.loop import train
from minidisc_ray.training.race import Race, RaceSetting


def train_race(context: Context, step: RaceStep, attempt: StageAttempt) -> StageRecord:
    """Train the candidates left in the race until one is chosen, then that one and the student's slice to the end.

    The kept state is the best epoch after the choice, by the mean metric of assistant and slice: the student is trained
    from the slice, with the assistant as its teacher.
    """
    prepared = context.prepared
    config, task = prepared.config, prepared.task
    training = config.sandwich_training
    structures = structures_of(prepared, step.scales)
    teacher, source = teacher_and_source(context, step)
    labels = prepared.selection.labels.numpy()
    race = Race(
        RaceSetting(
            candidates=step.candidates,
            student_percent=step.student_percent,
            num_networks=step.num_sampled,
            lam=step.lam,
            seed=config.seed,
            times=race_times(prepared),
            task=task,
            labels=labels,
            teacher_logits=selection_logits(context, teacher),
            chance_metric=task.selection_score(majority_scores(task, prepared.train.labels.numpy(), labels)),
        )
    )

    def selection_score(scores: Scores) -> float:
        return sum(map(task.selection_score, scores.values())) / len(scores)

    models = NestedModels(
        cut(source, structures[step.scales[0]]), structures, race.scales_of_step, selection_score, race, step.in_place
    )
    with training_stage(context, step, attempt, training, models, teacher) as (learner, observer):
        state = train(learner, prepared.train, training, config.seed, context.storage, attempt.folder, observer)
    # This also frees its cache of the teacher's outputs.
    del learner
    assert state.best is not None
    choice = race.choice
    assert choice is not None
    kept = [step.student_percent] if choice == TEACHER_PERCENT else [choice, step.student_percent]
    steps = race.setting.times.steps_per_epoch * state.best_epoch
    return StageRecord(
        stage=step.name,
        trial=context.trial,
        num_epochs=state.epochs_done,
        best_epoch=state.best_epoch,
        training_flops=state.training_flops,
        evaluation_flops=state.evaluation_flops + scoring_flops(teacher, [prepared.selection]),
        step_seconds=state.step_seconds,
        step_memory_bytes=state.step_memory_bytes,
        history=state.history,
        trained_scales=race.trained_until(steps),
        selection_metrics={scale: state.best.metrics[scale] for scale in kept},
        race=race.checks,
    )
