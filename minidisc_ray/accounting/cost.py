"""Sums over a ledger."""

from collections.abc import Iterable
from dataclasses import dataclass

from minidisc_ray.accounting.ledger import Attempt


@dataclass(frozen=True)
class Held:
    """Seconds and device-hours held, all attempts together."""

    seconds: float
    devices: float
    device_type: str
    device_hours: float


def held_by_stage(attempts: Iterable[Attempt], trial: str | None = None) -> dict[str, Held]:
    """What each stage held over all its attempts, failed and interrupted ones included."""
    sums: dict[str, Held] = {}
    for attempt in attempts:
        if attempt.kind != "stage" or (trial is not None and attempt.trial != trial):
            continue
        before = sums.get(attempt.name)
        sums[attempt.name] = Held(
            seconds=attempt.seconds + (before.seconds if before else 0.0),
            devices=attempt.devices,
            device_type=attempt.device_type,
            device_hours=attempt.device_hours + (before.device_hours if before else 0.0),
        )
    return sums


def startup_device_hours(attempts: Iterable[Attempt]) -> float:
    """Device-hours held outside every stage: from granted until the first stage began, between, and after the last."""
    held: dict[str, float] = {}
    worked: dict[str, float] = {}
    for attempt in attempts:
        sums = held if attempt.kind == "hold" else worked
        sums[attempt.trial] = sums.get(attempt.trial, 0.0) + attempt.device_hours
    return sum(max(0.0, hours - worked.get(trial, 0.0)) for trial, hours in held.items())
