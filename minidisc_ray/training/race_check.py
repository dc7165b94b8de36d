"""One check of a race, as checkpoints, records and results keep it."""

from typing import Literal

from pydantic import Field

from minidisc_ray.configs.base import Config
from minidisc_ray.core.grid import TEACHER_PERCENT


class RaceCheck(Config):
    """One check of a race: the scores of candidates, and what was decided from them."""

    step: int = Field(ge=0, description="Optimiser steps of the stage that are done; 0 for the pruned teacher.")
    num_rows: int = Field(ge=1, description="Selection rows that it scored.")
    alive: tuple[int, ...] = Field(description="Candidates left after it, largest first, in percent.")
    ruled_out: tuple[int, ...] = Field((), description="Candidates that it dropped, largest first, in percent.")
    metrics: dict[int, float] = Field(description="Selection score by scale percent, the student's slice included.")
    rises: bool = Field(description="Whether metrics rise with the scale, and were smoothed.")
    tradeoffs: dict[int, float] = Field(description="Trade-off of each scored candidate, from smoothed metrics.")
    probabilities: dict[int, float] = Field(description="Probability of each to have the best trade-off.")
    teacher_metric: float = Field(description="The teacher's, on the same rows: the trade-off of no assistant.")
    teacher_probability: float = Field(
        ge=0.0, le=1.0, description="Probability that it is above every candidate's trade-off."
    )
    has_learned: bool = Field(description="Whether the median candidate is half-way from chance to the teacher.")
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
    left = {*check.ruled_out, *(scale for scale in check.tradeoffs if scale not in check.alive)}
    parts = []
    if left:
        stay = ", ".join(f"{scale}%" for scale in check.alive) or "none"
        out = ", ".join(
            f"{scale}%" if scale in check.tradeoffs else f"{scale}% (not evaluated)"
            for scale in sorted(left, reverse=True)
        )
        parts.append(f"out of the race: {out}; still in it: {stay}")
    if check.choice is not None:
        parts.append(f"assistant chosen: {race_choice(check)}")
    return f"step {check.step}: {'; '.join(parts)}" if parts else None
