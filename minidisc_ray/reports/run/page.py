"""``report.html``: one self-contained page that describes a run."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minidisc_ray.files.storage import Storage
from minidisc_ray.reports import words
from minidisc_ray.reports.comparison.columns import comparison_tables
from minidisc_ray.reports.comparison.render import footnotes, seen_warning
from minidisc_ray.reports.comparison.table import compare
from minidisc_ray.reports.held import held_by_result, teacher_hours
from minidisc_ray.reports.pages.page import environment, page_figures
from minidisc_ray.reports.run.candidates import candidate_table, trial_table
from minidisc_ray.reports.run.early_end import early_end_line
from minidisc_ray.reports.run.predictions import prediction_sections
from minidisc_ray.reports.run.race import chose_no_assistant, never_evaluated, race_rule, race_table
from minidisc_ray.run_files.history import read_history
from minidisc_ray.run_files.result import ModelRecord, RunResult
from minidisc_ray.run_files.result_costs import AttemptCost, StageCost

if TYPE_CHECKING:
    from minidisc_ray.reports.figures import Drawing

_TEMPLATE = "report.html.jinja"


def write_report(storage: Storage, folder: Path, result: RunResult, others: Sequence[RunResult] = ()) -> Path:
    """Write ``report.html``, and its figures to ``figures/``, into a run directory; returns the page's path.

    Args:
        storage: that holds the run.
        folder: the run directory; the page ends with its ``config.yaml``.
        result: of the run.
        others: runs to compare it with.

    Raises:
        UserError: if the others cannot be compared with the run.
    """
    # Imported here, so that only what writes a page loads matplotlib.
    from minidisc_ray.reports.figures import drawings_of, learning_drawings, write_figures

    drawings = drawings_of([result, *others], structures_of=[result])
    history = read_history(folder)
    drawings += learning_drawings(result, history)
    context = (
        _context(result, others)
        | _figures(result, drawings)
        | {
            "config_text": _config_text(folder),
            "predictions": prediction_sections(folder, result),
            "race_rule": race_rule(result, history),
            "never_evaluated": never_evaluated(result),
        }
    )
    page = environment().get_template(_TEMPLATE).render(context)
    write_figures(storage, folder / "figures", {drawing.name: drawing.figure for drawing in drawings})
    path = folder / "report.html"
    storage.write_text(path, page)
    return path


def _figures(result: RunResult, drawings: Sequence["Drawing"]) -> dict[str, Any]:
    """The figures of each section; trade-offs that only other runs have go to the section on other runs."""
    # A single candidate was given, not chosen.
    of_candidates = ("tradeoff",) if len(result.candidates) > 1 or result.trials else ()
    of_others = ("accuracy", "assistants") if of_candidates else ("accuracy", "assistants", "tradeoff")
    kinds = {
        "figures_of_others": of_others,
        "figures_of_candidates": of_candidates,
        "figures_of_learning": ("learning",),
        "figures_of_structure": ("structure",),
        "figures_of_cost": ("cost",),
    }
    return {place: page_figures(drawings, *chosen) for place, chosen in kinds.items()}


def _config_text(folder: Path) -> str:
    """The text of the resolved config; empty if it cannot be read."""
    try:
        return (folder / "config.yaml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _context(result: RunResult, others: Sequence[RunResult]) -> dict[str, Any]:
    frame = compare([result, *others]) if others else None
    return {
        "result": result,
        "method": words.method_name(result),
        "metric_name": words.metric_title(result.primary_metric),
        "scores": _scores(result),
        "models": _models(result),
        "kept": _kept(result),
        "comparison": [] if frame is None else comparison_tables(frame),
        "footnotes": [] if frame is None else footnotes(frame),
        "warning": seen_warning([result.task]) if result.teacher_may_have_seen_selection else "",
        "candidates": candidate_table(result),
        "race": race_table(result),
        "chose_no_assistant": chose_no_assistant(result),
        "choices": sorted(result.choice_by_lambda.items()),
        "trials": trial_table(result),
        "early_end": early_end_line(result),
        "stages": [(stage, _note(stage)) for stage in result.cost.stages],
        "attempts": _attempts(result),
        "num_attempts": num_attempts(result),
        "held": held_by_result(result.cost),
        "teacher_hours": teacher_hours(result.cost),
        "exact": _exact(result),
    }


def _models(result: RunResult) -> list[tuple[str, ModelRecord]]:
    between = "Sparse teacher" if result.method == "sparse_teacher" else "Assistant"
    assistants = [(f"{between} ({model.scale_percent}%)", model) for model in result.assistants]
    return [("Teacher", result.teacher), *assistants, (f"Student ({result.student.scale_percent}%)", result.student)]


def _kept(result: RunResult) -> list[list[tuple[int | None, int | None, float | None]]]:
    """For each layer every model's heads, neurons and share of the teacher's neurons; None if it lacks the layer.

    Layers are the teacher's. A student with its own checkpoint has its own layers, without shares.
    """
    models = [model for _, model in _models(result)]
    is_own = [model is result.student and result.student_source is not None for model in models]
    rows = []
    for layer in range(max(len(model.heads) for model in models)):
        row: list[tuple[int | None, int | None, float | None]] = []
        for model, own in zip(models, is_own, strict=True):
            layers = model.source_layers or range(len(model.heads))
            if layer not in layers:
                row.append((None, None, None))
                continue
            place = layers.index(layer)
            neurons = model.neurons[place]
            whole = 0 if own else result.teacher.neurons[layer]
            row.append((model.heads[place], neurons, neurons / whole if whole else None))
        rows.append(row)
    return rows


def _scores(result: RunResult) -> dict[str, float | None]:
    metrics = {
        "student": result.student.validation_metrics,
        "teacher": result.teacher.validation_metrics,
        "majority": result.majority_metrics,
    }
    return {name: found.get(result.primary_metric) for name, found in metrics.items()}


def _note(stage: StageCost) -> str:
    notes = ["reused: executed earlier, charged in full"] if stage.reused else []
    return "; ".join(notes if stage.in_ratio else [*notes, "outside the sums and ratios"])


def _attempts(result: RunResult) -> tuple[AttemptCost, ...]:
    """All attempts if one did not finish; else none, as the stages then say the same."""
    attempts = result.cost.attempts
    return attempts if any(attempt.status != "finished" for attempt in attempts) else ()


def num_attempts(result: RunResult) -> int:
    """How often the trial that was interrupted most was started, retries included."""
    stopped = Counter(attempt.trial for attempt in result.cost.attempts if attempt.status != "finished")
    return 1 + max(stopped.values(), default=0)


def _exact(result: RunResult) -> list[tuple[str, str]]:
    """Every number that the page rounds, in full; without those that were not measured."""
    found: list[tuple[str, object]] = []
    for name, model in _models(result):
        found += [
            (f"{name}, encoder parameters", model.encoder_parameters),
            (f"{name}, total parameters", model.total_parameters),
            (f"{name}, multiply-adds of 128 tokens", model.macs_at_128),
        ]
        found += [(f"{name}, {key} on selection", value) for key, value in model.selection_metrics.items()]
        found += [(f"{name}, {key} on validation", value) for key, value in model.validation_metrics.items()]
    found += [(f"Majority class, {key} on validation", value) for key, value in result.majority_metrics.items()]
    found += [
        ("Median step of the student's distillation, seconds", result.student_step_seconds),
        ("Memory that its largest step adds, bytes", result.student_step_memory_bytes),
        ("Useful and lost device-hours", result.cost.device_hours),
        ("Held device-hours of this run itself", held_by_result(result.cost).held_hours),
        ("Training FLOPs", result.cost.training_flops),
        ("Training FLOPs in closed form", result.closed_form_training_flops),
        ("Evaluation FLOPs", result.cost.evaluation_flops),
        ("Evaluation FLOPs in closed form", result.closed_form_evaluation_flops),
        ("Teacher device-hours", teacher_hours(result.cost)),
        ("Teacher training FLOPs", result.cost.teacher_training_flops),
        ("Teacher evaluation FLOPs", result.cost.teacher_evaluation_flops),
        ("Start-up device-hours", result.cost.startup_device_hours),
        ("Useful device-hours", result.cost.useful_device_hours),
        ("Lost device-hours", result.cost.lost_device_hours),
        *((f"Candidate at {one.scale_percent}%, metric", one.metric) for one in candidate_table(result).rows),
    ]
    return [(name, repr(value)) for name, value in found if value is not None]
