"""Warnings on a checked recipe's rows, which ``minidisc plan`` and ``minidisc run`` print before anything starts."""

from collections.abc import Iterator

from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.preparation.tokenizer import unknown_token_warnings
from minidisc_ray.reports.run.law import law_warning
from minidisc_ray.schedules.plan import ChooseStep, DecideStep

_FEW_ROWS = 100


def plan_warnings(prepared: PreparedRun) -> tuple[str, ...]:
    """A sentence each on unknown tokens, too few selection rows and a law without a fitting one; encodes the rows."""
    law = law_warning(prepared)
    return (*unknown_token_warnings(prepared), *_few_rows(prepared), *([] if law is None else [law]))


def _few_rows(prepared: PreparedRun) -> Iterator[str]:
    """A warning if so few rows choose that neighbouring candidates differ by chance."""
    rows = len(prepared.splits.selection)
    chooses = prepared.plan.is_sweep or any(isinstance(step, ChooseStep) for _, step in prepared.plan.own_steps())
    if chooses and rows < _FEW_ROWS:
        text = f"{rows} selection row{'s' if rows != 1 else ''} choose{'s' if rows == 1 else ''}"
        is_share = prepared.task.primary_metric == "accuracy"
        text += f": metrics move in steps of {100 / rows:.1f} points" if is_share else ", which is few"
        yield f"{text}; raise data.selection_fraction, or take more rows"
    if rows < _FEW_ROWS and any(isinstance(step, DecideStep) for _, step in prepared.plan.own_steps()):
        yield (
            f"{rows} selection row{'s' if rows != 1 else ''} decide{'s' if rows == 1 else ''} whether an "
            "assistant is used, so the interval of the gap will be wide"
        )
