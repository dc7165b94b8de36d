"""A run's costs and progress as Ray metrics, which Prometheus scrapes and ``cluster/grafana`` draws.

The driver publishes them from the run's ledger and progress files, so that they survive the death of a worker. All are
gauges: the hours of a live attempt count as useful and may become lost later, and a counter cannot decrease. Several
drivers may publish one run, one after the other, so queries take the maximum over samples that differ only in process.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import ray
from ray.util.metrics import Gauge

from minidisc_ray.accounting.attempts import Attempt
from minidisc_ray.accounting.cost import shares
from minidisc_ray.accounting.ledger import read_attempts
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.run_files.progress import Progress, is_stale, read_progress

KINDS = ("useful", "lost", "idle")
OUTCOMES = ("open", "finished", "failed", "interrupted")
STATES = (*get_args(Progress.model_fields["status"].annotation), "stale")
SECONDS_BETWEEN_PUBLISHES = 15.0
_SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True)
class Metric:
    """One metric: its name without Ray's prefix, description, unit and labels."""

    name: str
    description: str
    unit: str
    labels: tuple[str, ...]


DEVICE_HOURS = Metric(
    "minidisc_device_hours_total",
    "Device-hours held: useful, lost or idle.",
    "device-hours",
    ("run", "trial", "stage", "kind", "device_type"),
)
PRICE = Metric(
    "minidisc_price_total",
    "Price of the held device-hours, where the recipe has one.",
    "units of the currency",
    ("run", "trial", "kind", "currency"),
)
ENERGY = Metric(
    "minidisc_energy_joules_total", "Energy that GPUs used, where it is measured.", "joules", ("run", "trial", "stage")
)
ATTEMPTS = Metric(
    "minidisc_attempts_total",
    "Attempts at stages, by how they ended.",
    "attempts",
    ("run", "trial", "stage", "outcome"),
)
PROGRESS = Metric(
    "minidisc_stage_progress", "Share of the stage's steps that are done.", "share", ("run", "trial", "stage")
)
SELECTION = Metric(
    "minidisc_selection_metric",
    "The latest value on the selection split.",
    "metric, mostly between 0 and 1",
    ("run", "trial", "stage", "metric"),
)
TRIALS = Metric("minidisc_trials", "Trials that have started, by state.", "trials", ("run", "state"))


@dataclass(frozen=True)
class Sample:
    """One value of one metric; label values are in the order of the metric's labels."""

    metric: Metric
    labels: tuple[str, ...]
    value: float


_gauges: dict[str, Gauge] = {}
_published_at: dict[Path, float] = {}


def publish(run: PreparedRun) -> bool:
    """Set the run's metrics from its files, at most every 15 s; returns whether it did.

    Without Ray, or while the storage is away, nothing is published.
    """
    folder, compute = run.run_folder, run.config.compute
    now = time.monotonic()
    if (
        now - _published_at.get(folder, -SECONDS_BETWEEN_PUBLISHES) < SECONDS_BETWEEN_PUBLISHES
        or not ray.is_initialized()
    ):
        return False
    _published_at[folder] = now
    try:
        found = samples(folder, compute.price_per_device_hour, compute.currency)
    except OSError:
        return False
    for sample in found:
        metric = sample.metric
        if metric.name not in _gauges:
            _gauges[metric.name] = Gauge(metric.name, metric.description, tag_keys=metric.labels)
        _gauges[metric.name].set(sample.value, tags=dict(zip(metric.labels, sample.labels, strict=True)))
    return True


def samples(folder: Path, price: float | None = None, currency: str = "") -> list[Sample]:
    """Read all metric values of a run from its files.

    Args:
        folder: of the run.
        price: of a device-hour, if the recipe has one.
        currency: of the price.

    Raises:
        OSError: if the files cannot be read.
    """
    attempts = read_attempts(folder / "ledger.jsonl")
    return [
        *_of_costs(folder.name, attempts, price, currency),
        *_of_attempts(folder.name, attempts),
        *_of_progress(folder.name, read_progress(folder)),
    ]


def _of_costs(run: str, attempts: Sequence[Attempt], price: float | None, currency: str) -> Iterator[Sample]:
    hours: defaultdict[tuple[str, ...], float] = defaultdict(float)
    paid: defaultdict[tuple[str, ...], float] = defaultdict(float)
    joules: defaultdict[tuple[str, ...], float] = defaultdict(float)
    for share in shares(attempts, live_at=time.time()):
        of = share.attempt
        for kind in KINDS:
            held = getattr(share, kind) / _SECONDS_PER_HOUR
            hours[run, of.trial, of.name, kind, of.device_type] += held
            paid[run, of.trial, kind, currency] += held * (price or 0.0)
        if of.energy_joules is not None:
            joules[run, of.trial, of.name] += of.energy_joules
    yield from (Sample(DEVICE_HOURS, labels, value) for labels, value in hours.items())
    yield from (Sample(ENERGY, labels, value) for labels, value in joules.items())
    if price is not None:
        yield from (Sample(PRICE, labels, value) for labels, value in paid.items())


def _of_attempts(run: str, attempts: Sequence[Attempt]) -> Iterator[Sample]:
    counts = Counter((one.trial, one.name, one.status) for one in attempts if one.kind == "stage")
    for trial, stage in dict.fromkeys((trial, stage) for trial, stage, _ in counts):
        for outcome in OUTCOMES:
            yield Sample(ATTEMPTS, (run, trial, stage, outcome), float(counts[trial, stage, outcome]))


def _of_progress(run: str, trials: Sequence[Progress]) -> Iterator[Sample]:
    for trial in trials:
        if trial.num_steps:
            yield Sample(PROGRESS, (run, trial.trial, trial.stage), trial.step / trial.num_steps)
        if trial.metric is not None and trial.metric_name is not None:
            yield Sample(SELECTION, (run, trial.trial, trial.stage, trial.metric_name), trial.metric)
    states = Counter("stale" if is_stale(trial) else trial.status for trial in trials)
    yield from (Sample(TRIALS, (run, state), float(states[state])) for state in STATES)
