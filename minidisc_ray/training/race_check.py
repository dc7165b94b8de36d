"""What one evaluation of a race found and decided: kept in checkpoints, records and results."""

from typing import Literal

from pydantic import Field

from minidisc_ray.configs.base import Config
from minidisc_ray.core.grid import TEACHER_PERCENT


class RaceCheck(Config):
    """One evaluation of a race's candidates, and what it decided."""

    step: int = Field(ge=0, description="Optimiser steps of the stage that are done; 0 is the pruned teacher itself.")
    num_rows: int = Field(ge=1, description="Selection rows that it looked at.")
    alive: tuple[int, ...] = Field(description="Candidates that are in after it, largest first, in percent.")
    ruled_out: tuple[int, ...] = Field((), description="Candidates that its bounds took out, largest first.")
    metrics: dict[int, float] = Field(description="What choices use, by scale percent, the student's slice too.")
    rises: bool = Field(description="Whether metrics rise with the scale, and were smoothed.")
    tradeoffs: dict[int, float] = Field(description="Of each candidate that it looked at, from smoothed metrics.")
    probabilities: dict[int, float] = Field(description="Of having the best trade-off among these.")
    teacher_metric: float = Field(description="On the same rows: the trade-off of going without an assistant.")
    teacher_probability: float = Field(ge=0.0, le=1.0, description="Of that being above every candidate's.")
    has_learned: bool = Field(description="Whether the middle one is half-way from chance to the teacher.")
    favourite: int = Field(description="The candidate that is most probably the best.")
    choice: int | None = Field(None, description="The assistant chosen now, in percent; 100: none.")
    reason: Literal["stable", "only_one", "latest", "not_learned"] | None = Field(
        None, description="Why it was chosen now."
    )


_REASONS = {
    "stable": "the same choice three times",
    "only_one": "the only candidate left",
    "latest": "the latest moment for a choice",
    "not_learned": "the latest moment, with little learned by then",
}


def race_choice(check: RaceCheck) -> str:
    """The choice that a check made, in words."""
    assert check.choice is not None
    assert check.reason is not None
    which = "no assistant" if check.choice == TEACHER_PERCENT else f"{check.choice}%"
    return f"{which} ({_REASONS[check.reason]})"


def race_event(check: RaceCheck) -> str | None:
    """Which candidates left at a check, and what was chosen, in words; None if neither happened."""
    left = [scale for scale in sorted(check.tradeoffs, reverse=True) if scale not in check.alive]
    parts = []
    if left:
        stay = ", ".join(f"{scale}%" for scale in check.alive) or "none"
        parts.append(f"out of the race: {', '.join(f'{scale}%' for scale in left)}; still in it: {stay}")
    if check.choice is not None:
        parts.append(f"assistant chosen: {race_choice(check)}")
    return f"step {check.step}: {'; '.join(parts)}" if parts else None
