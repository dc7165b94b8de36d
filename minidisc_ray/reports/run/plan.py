"""What ``minidisc plan`` prints: steps, sizes and closed-form cost, before anything runs."""

from collections.abc import Iterator, Sequence

from minidisc_ray.configs.schedule import AutoConfig, ConventionalConfig, SparseTeacherConfig
from minidisc_ray.core.flops import EncoderShape, encoder_parameters, forward_macs, total_parameters
from minidisc_ray.core.structure import Structure
from minidisc_ray.preparation.closed_form import Estimator, early_end_cost_share
from minidisc_ray.preparation.objective import untrained_head_note
from minidisc_ray.preparation.outcomes import with_outcome
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.preparation.race_costs import race_times
from minidisc_ray.reports.run.law import law_sentence
from minidisc_ray.reports.run.plan_report import PlanReport, PlanTable
from minidisc_ray.reports.run.plan_warnings import plan_warnings
from minidisc_ray.reports.words import compute_text, count_text
from minidisc_ray.schedules.expected import expected_events, expected_promoted, expected_sandwich, expected_scale
from minidisc_ray.schedules.plan import ChooseStep, ChosenScale, DecideStep, DistilStep, RaceStep, SandwichStep
from minidisc_ray.schedules.training import last_epoch, training_of

_SLICE = "a slice of the student's scale"


def plan_report(prepared: PreparedRun) -> PlanReport:
    """The report of a checked recipe: data, sizes, steps with their FLOPs, what these assume, and the run's folder."""
    return PlanReport(name=prepared.name, identity=prepared.identity, parts=tuple(_parts(prepared)))


def _parts(prepared: PreparedRun) -> Iterator[str | PlanTable]:
    splits = prepared.splits
    rows = ", ".join(f"{name} {len(found):,}" for name, found in splits.validation.items())
    yield (
        f"{prepared.task.name}: train {len(splits.train):,} rows, selection {len(splits.selection):,} "
        f"({splits.selection_description}), {rows}; metric {prepared.task.primary_metric}{_chosen_by(prepared)}"
    )
    if not prepared.task.is_regression:
        kind = "labels" if prepared.task.is_multilabel else "classes"
        yield f"{kind}: {', '.join(prepared.task.label_names)}"
    yield from (f"note: {each}" for each in splits.notes)
    yield f"objective: {prepared.config.objective.label}"
    if (note := untrained_head_note(prepared)) is not None:
        yield f"note: {note}"
    yield from (f"warning: {each}" for each in plan_warnings(prepared))
    yield _sizes(prepared)
    yield _steps(prepared)
    yield from _assumed(prepared)
    probes, trials = len(prepared.plan.probes), len(expected_promoted(prepared.plan))
    first = f"{probes} probes and " if probes else ""
    yield f"{first}{trials} trial{'s' if trials > 1 else ''}, each on {compute_text(prepared.config.compute)}"
    yield f"run: {prepared.run_folder}"


def _chosen_by(prepared: PreparedRun) -> str:
    task = prepared.task
    return "" if task.chosen_by == (task.primary_metric,) else f", chosen by {task.selection_label}"


def _sizes(prepared: PreparedRun) -> PlanTable:
    shape = prepared.shape
    config = prepared.config
    between = "sparse teacher" if isinstance(config.schedule, SparseTeacherConfig) else "candidate"
    rows = [("teacher", shape, shape.full())]
    rows += [(f"{between} {scale}%", shape, prepared.structure(scale)) for scale in config.candidate_scales()]
    student = _student(prepared)
    rows.append((f"student {config.student_percent}%{_origin(prepared, student)}", prepared.student_shape, student))
    return PlanTable(
        title="Sizes",
        columns=("Model", "Heads", "Neurons", "Encoder params", "Total params", "MACs at 128"),
        rows=tuple(
            (
                name + (" (estimated)" if _is_estimate(prepared, structure, shape) else ""),
                f"{sum(structure.heads)}",
                f"{sum(structure.neurons):,}",
                count_text(encoder_parameters(shape, structure)),
                count_text(total_parameters(shape, structure)),
                count_text(forward_macs(shape, structure, rows=1, length=128)),
            )
            for name, shape, structure in rows
        ),
    )


def _is_estimate(prepared: PreparedRun, structure: Structure, shape: EncoderShape) -> bool:
    """Whether a model's size is known only once importance is measured, which decides what each layer loses."""
    if prepared.checkpoint_student is not None and structure is prepared.checkpoint_student.structure:
        return False
    is_whole = set(structure.heads) == {shape.num_heads} and set(structure.neurons) == {shape.intermediate_size}
    # By local ranking every layer keeps its share; a student of some layers also depends on its assistant.
    is_local = prepared.config.pruning.ranking == "local" and len(structure.heads) == shape.num_layers
    return not is_whole and not is_local


def _origin(prepared: PreparedRun, student: Structure) -> str:
    """The student's own checkpoint, or the layers that it keeps; empty if it is pruned in all layers."""
    if prepared.checkpoint_student is not None:
        return f" ({prepared.checkpoint_student.source})"
    layers = ", ".join(str(layer + 1) for layer in prepared.kept_layers)
    return f" (layers {layers})" if len(student.heads) < prepared.shape.num_layers else ""


def _student(prepared: PreparedRun) -> Structure:
    """The student's structure; if it depends on the assistant, that of the trial in the middle of the grid."""
    ends = prepared.plan.ends
    trial = ends[len(ends) // 2]
    last = trial.steps[-1]
    assert isinstance(last, DistilStep)
    return prepared.expected_structure(trial, last)


def _steps(prepared: PreparedRun) -> PlanTable:
    stages = Estimator(prepared).stages()
    rows = [
        (
            stage.trial,
            stage.stage + ("" if stage.in_ratio else " (not in the sum)"),
            *_tera(stage.training_flops, stage.evaluation_flops),
        )
        for stage in stages
    ]
    charged = [stage for stage in stages if stage.in_ratio]
    sums = (sum(stage.training_flops for stage in charged), sum(stage.evaluation_flops for stage in charged))
    return PlanTable(
        title="Steps (closed form, every epoch trained)",
        columns=("Trial", "Step", "Training TFLOPs", "Evaluation TFLOPs"),
        rows=(*rows, ("", "sum", *_tera(*sums))),
        num_names=2,
    )


def _tera(*flops: float) -> tuple[str, ...]:
    return tuple(f"{each / 1e12:,.3f}" for each in flops)


def _assumed(prepared: PreparedRun) -> Iterator[str]:
    """Lines on what each step trains, and on what its FLOPs assume."""
    plan = prepared.plan
    if (law := law_sentence(prepared)) is not None:
        yield law
    for trial, step in plan.own_steps():
        if isinstance(step, RaceStep):
            yield from _race_assumed(prepared, step)
        elif isinstance(step, SandwichStep):
            sandwich = expected_sandwich(plan, trial, step)
            if sandwich.trained is None:
                which = f"{sandwich.num_trained} of {_percents(sandwich.scales)}, drawn again at each step"
            elif len(sandwich.trained) == len(sandwich.scales):
                which = f"{_percents(sandwich.trained)}, every scale"
            else:
                which = f"{_percents(sandwich.trained)}; the other candidates are only evaluated"
            yield f"{step.name} trains: {which}"
        elif isinstance(step, DecideStep):
            yield from _decision_assumed(prepared, step)
        elif isinstance(step, ChooseStep):
            if step.sandwich is not None and isinstance(trial.step(step.sandwich), RaceStep):
                continue
            chosen = [expected_scale(plan, trial, ChosenScale(step.name, index)) for index in range(step.num_chosen)]
            where = "the middle of the grid" if len(chosen) == 1 and not step.num_below else "dividing the grid evenly"
            yield f"{step.name} is assumed to pick {_percents(chosen)}, {where}; FLOPs of later steps follow from it"
    if plan.probes:
        yield _probes_assumed(prepared)
    schedule = prepared.config.schedule
    if isinstance(schedule, ConventionalConfig) and schedule.match is not None:
        grid = _percents(schedule.match.scales.scales(prepared.config.student_percent))
        yield (
            f"matched: the FLOPs, in closed form and evaluation included, of {schedule.match.label} over {grid} with "
            f"eta {schedule.match.num_sampled}; reached in {prepared.config.distil_training.num_epochs} epochs"
        )


def _decision_assumed(prepared: PreparedRun, decision: DecideStep) -> Iterator[str]:
    """What a run with ``schedule.kind: auto`` decides by, and what both ways cost."""
    schedule = prepared.config.schedule
    assert isinstance(schedule, AutoConfig)
    small, large = (
        sum(stage.flops for stage in Estimator(with_outcome(prepared, uses)).stages() if stage.in_ratio) / 1e12
        for uses in (False, True)
    )
    probe = last_epoch(prepared.config, prepared.plan.trials[0].steps[0])  # type: ignore[arg-type]
    yield (
        f"auto: after {probe} of {prepared.config.distil_training.num_epochs} epochs of the conventional distillation, "
        f"its best student is compared with the teacher on {len(prepared.splits.selection):,} selection rows"
    )
    yield (
        f"auto: a gap above {decision.min_gap_points:g} points is followed by {schedule.then.label}, as assumed above: "
        f"{large:,.3f} TFLOPs with evaluation; a smaller one by the rest of that distillation: {small:,.3f}"
    )


def _probes_assumed(prepared: PreparedRun) -> str:
    plan = prepared.plan
    kept = [trial.assistant_percent or 0 for trial in expected_promoted(plan)]
    epochs = training_of(prepared.config, plan.probes[0].steps[-1]).num_epochs  # type: ignore[arg-type]
    share = early_end_cost_share(prepared)
    return (
        f"probes train for {epochs} of {prepared.config.distil_training.num_epochs} epochs; {len(kept)} of "
        f"{len(plan.trials)} trials then run in full and from their beginning, assumed to be {_percents(kept)}, spread "
        f"over the grid: {share:.0%} of the FLOPs of all in full"
    )


def _race_assumed(prepared: PreparedRun, race: RaceStep) -> Iterator[str]:
    times = race_times(prepared)
    _, *events, chosen = expected_events(race, times, len(prepared.selection))
    if len(race.candidates) == 1:
        yield f"{race.name} trains: {_percents(race.candidates)} and {_SLICE}; with one candidate nothing races"
        return
    yield (
        f"{race.name} trains: {_trained_at_each_step(race)}; candidates that cannot win leave, and one is chosen by "
        f"step {times.latest_step:,} of {times.num_steps:,}, or by {times.latest_unlearned_step:,} if little is learned"
    )
    if events:
        left = f"be left with {_percents(events[0].alive)} after {events[0].step:,} steps, and to "
        dropped = len(events[0].alive) < len(race.candidates)
        yield (
            f"{race.name} is assumed to {left if dropped else ''}"
            f"choose {_percents(chosen.alive)} after {chosen.step:,}; a result counts what its own race trained"
        )


def _trained_at_each_step(race: RaceStep) -> str:
    if race.num_sampled == 1:
        return f"at each step one of the candidates that are left or {_SLICE}"
    more = min(race.num_sampled - 2, len(race.candidates) - 1)
    others = f", {more} more" if more > 0 else ""
    teaches = "; the largest one teaches the others" if race.in_place else ""
    return f"at each step the largest candidate that is left{others} and {_SLICE}{teaches}"


def _percents(scales: Sequence[int]) -> str:
    return ", ".join(f"{scale}%" for scale in scales)
