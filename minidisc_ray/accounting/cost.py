"""Sums over a ledger: device time held, and how much was useful, lost or idle (docs/notation.md, "True costs")."""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from minidisc_ray.accounting.attempts import Attempt

_SECONDS_PER_HOUR = 3600.0
# A live attempt writes a beat every two seconds.
_MAX_SILENT_SECONDS = 10.0


@dataclass
class Share:
    """Device-seconds of one stage attempt, or of a hold in which no stage began, by what they were used for.

    Attributes:
        attempt: that held them.
        useful: for work that was kept.
        lost: for work that had to be done again.
        idle: held before this attempt began, and after it if it was the trial's last.
    """

    attempt: Attempt
    useful: float = 0.0
    lost: float = 0.0
    idle: float = 0.0

    @property
    def held(self) -> float:
        """All three together."""
        return self.useful + self.lost + self.idle


@dataclass(frozen=True)
class Held:
    """Seconds and device-hours of a stage over all its attempts; ``device_hours`` is useful plus lost."""

    seconds: float
    devices: float
    device_type: str
    device_hours: float
    useful_device_hours: float = 0.0
    lost_device_hours: float = 0.0
    idle_device_hours: float = 0.0
    attempts: int = 0
    energy_joules: float | None = None


@dataclass(frozen=True)
class _Piece:
    """A part of an attempt that is useful or lost as a whole, in seconds since its trial began."""

    share: Share = field(compare=False)
    begin: float
    end: float
    is_useful: bool


def shares(attempts: Iterable[Attempt], live_at: float | None = None) -> list[Share]:
    """Divide what each trial held among its stage attempts; a hold in which no stage began has a share too.

    At each moment a trial holds the devices of its holds, or those of its largest attempt where that is more (older
    ledgers have no holds). Attempts take their devices from these, useful parts first, then the latest attempt, so
    time that two attempts claim is counted once. The rest is idle, and is charged to the attempt that begins next, at
    the end to the last one. So the shares of a trial add up to exactly what it held, and none is negative.

    Args:
        attempts: of one ledger.
        live_at: seconds since the epoch; an open attempt that beat shortly before then has lost nothing yet.
    """
    by_trial: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        by_trial.setdefault(attempt.trial, []).append(attempt)
    found: list[Share] = []
    for of_trial in by_trial.values():
        found += _shares_of_trial(of_trial, live_at)
    return found


def held_by_stage(
    attempts: Iterable[Attempt], trial: str | None = None, live_at: float | None = None
) -> dict[str, Held]:
    """Seconds and device-hours of each stage over all its attempts, failed and interrupted ones included.

    Args:
        attempts: of one ledger.
        trial: count this trial alone; None counts all of them.
        live_at: see :func:`shares`.
    """
    sums: dict[str, Held] = {}
    for share in shares(attempts, live_at):
        attempt = share.attempt
        if attempt.kind != "stage" or (trial is not None and attempt.trial != trial):
            continue
        before = sums.get(attempt.name, Held(0.0, 0.0, "", 0.0))
        worked = share.useful + share.lost
        sums[attempt.name] = Held(
            seconds=before.seconds + (worked / attempt.devices if attempt.devices else 0.0),
            devices=attempt.devices,
            device_type=attempt.device_type,
            device_hours=before.device_hours + worked / _SECONDS_PER_HOUR,
            useful_device_hours=before.useful_device_hours + share.useful / _SECONDS_PER_HOUR,
            lost_device_hours=before.lost_device_hours + share.lost / _SECONDS_PER_HOUR,
            idle_device_hours=before.idle_device_hours + share.idle / _SECONDS_PER_HOUR,
            attempts=before.attempts + 1,
            energy_joules=sum_known(before.energy_joules, attempt.energy_joules),
        )
    return sums


def startup_device_hours(attempts: Iterable[Attempt]) -> float:
    """Device-hours held outside every stage: before the first one began, between them, and after the last."""
    return sum(share.idle for share in shares(attempts)) / _SECONDS_PER_HOUR


def sum_known(first: float | None, second: float | None) -> float | None:
    """The sum of two values; None counts as 0, but two of them give None."""
    return first if second is None else second if first is None else first + second


def _shares_of_trial(attempts: Sequence[Attempt], live_at: float | None) -> list[Share]:
    # Seconds since the epoch are so large that their differences would lose digits.
    began_at = min(attempt.started_at for attempt in attempts)
    stages = [Share(attempt) for attempt in attempts if attempt.kind == "stage"]
    holds = [attempt for attempt in attempts if attempt.kind == "hold"]
    pieces = [piece for share in stages for piece in _pieces(share, share.attempt.started_at - began_at, live_at)]
    held = [(hold.started_at - began_at, hold.started_at - began_at + hold.seconds, hold.devices) for hold in holds]
    order = sorted(stages, key=lambda share: share.attempt.started_at)
    idle_alone = Share(holds[0]) if holds and not stages else None
    begins = [share.attempt.started_at - began_at for share in order]
    stretches, holding = [(piece.begin, piece.end) for piece in pieces], [(start, stop) for start, stop, _ in held]
    times = sorted({time for span in (*stretches, *holding) for time in span})
    spans = zip(pairwise(times), _covering(stretches, times), _covering(holding, times), strict=True)
    for (begin, end), of_pieces, of_holds in spans:
        active = [pieces[index] for index in of_pieces]
        devices = sum(held[index][2] for index in of_holds)
        left = max(devices, max((piece.share.attempt.devices for piece in active), default=0.0))
        for piece in sorted(active, key=lambda one: (not one.is_useful, -one.share.attempt.started_at)):
            taken = min(left, piece.share.attempt.devices)
            left -= taken
            if piece.is_useful:
                piece.share.useful += taken * (end - begin)
            else:
                piece.share.lost += taken * (end - begin)
        if left > 0:
            waiting = idle_alone or order[min(bisect_left(begins, end), len(order) - 1)]
            waiting.idle += left * (end - begin)
    return [*stages, *([idle_alone] if idle_alone is not None else [])]


def _covering(spans: Sequence[tuple[float, float]], times: Sequence[float]) -> Iterator[list[int]]:
    """For each time but the last, the indices of the spans open just after it; ``times`` has all their ends."""
    arriving = sorted(range(len(spans)), key=lambda index: spans[index][0], reverse=True)
    active: list[int] = []
    for begin in times[:-1]:
        while arriving and spans[arriving[-1]][0] <= begin:
            insort(active, arriving.pop())
        active = [index for index in active if spans[index][1] > begin]
        yield active


def _pieces(share: Share, begin: float, live_at: float | None) -> list[_Piece]:
    attempt = share.attempt
    end = begin + attempt.seconds
    is_alive = (
        live_at is not None
        and attempt.status == "open"
        and live_at - (attempt.started_at + attempt.seconds) <= _MAX_SILENT_SECONDS
    )
    if attempt.status == "finished" or is_alive:
        return [_Piece(share, begin, end, is_useful=True)]
    safe = begin + min(attempt.seconds, attempt.safe_seconds)
    return [_Piece(share, begin, safe, is_useful=True), _Piece(share, safe, end, is_useful=False)]
