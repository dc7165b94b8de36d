"""Numbers and methods as people read them; every table and page spells them the same way."""

import math

from minidisc_ray.configs.training import ComputeConfig
from minidisc_ray.run_files.result import RunResult

_TIMES = "\N{MULTIPLICATION SIGN}"
_METHODS = {
    "conventional": "Conventional",
    "matched": "Conventional (compute-matched)",
    "sparse_teacher": "StarK",
    "assistant": "TA",
    "law": "TA (law)",
    "minidisc": "MiniDisc",
    "maxidisc": "MaxiDisc",
}
# Beyond these a number's zeros say nothing.
_EXPONENT_BELOW, _EXPONENT_ABOVE = 1e-9, 1e18
# Those whose model between teacher and student is given by the recipe.
FIXED_METHODS = ("sparse_teacher", "assistant", "law")
_METRICS = {"f1": "F1", "matthews": "Matthews", "accuracy": "Accuracy", "spearman": "Spearman", "pearson": "Pearson"}


def method_name(result: RunResult) -> str:
    """What tables call the run's method; what was fixed carries its scale, so that two scales are two methods."""
    if result.label:
        return result.label
    # Results of the first release have no label.
    name = _METHODS[result.method]
    if result.method not in FIXED_METHODS:
        return name
    return f"{name} ({scales_text([model.scale_percent for model in result.assistants], '%')})"


def scales_text(scales: list[int], unit: str = "") -> str:
    """The scales of one chain's assistants in order, in percent; empty where there is none."""
    return " → ".join(f"{scale}{unit}" for scale in scales)


def metric_title(name: str) -> str:
    """A metric's name as a heading; ``accuracy@validation_mismatched`` keeps its set."""
    metric, _, split = name.partition("@")
    title = _METRICS.get(metric, metric)
    return f"{title} ({split})" if split else title


def count_text(value: float | None, billions: str = "G") -> str:
    """A count in three significant digits: 10.6M, 1.36G.

    Args:
        value: parameters, multiply-adds or FLOPs.
        billions: the letter for 10^9; parameters say B.
    """
    if value is None:
        return ""
    # Rounded first, so that 999,999 becomes 1.00M and never 1000K.
    rounded = float(f"{value:.3g}")
    for power, letter in ((18, "E"), (15, "P"), (12, "T"), (9, billions), (6, "M"), (3, "K")):
        if rounded >= 10**power:
            return f"{_three_digits(rounded / 10**power)}{letter}"
    return f"{rounded:g}"


def parameters_text(count: float | None) -> str:
    """A number of parameters in three significant digits: 22.7B."""
    return count_text(count, "B")


def percent_text(mean: float | None, std: float | None = None) -> str:
    """A metric in percent with one decimal, with its standard deviation where there is one."""
    if mean is None:
        return ""
    return f"{100 * mean:.1f}" if std is None else f"{100 * mean:.1f} ± {100 * std:.1f}"


def share_text(share: float | None) -> str:
    """A share kept, in percent with one decimal and its sign."""
    return "" if share is None else f"{100 * share:.1f}%"


def number_text(value: float) -> str:
    """Three significant digits, all whole digits above that."""
    return f"{value:,.0f}" if value >= 99.95 else f"{value:#.3g}"


def ratio_text(ratio: float | None) -> str:
    """How many times the conventional cost: 4.1×."""
    if ratio is None:
        return ""
    if ratio >= 100:
        return f"{ratio:.0f}{_TIMES}"
    return f"{ratio:.1f}{_TIMES}" if ratio >= 0.95 else f"{ratio:.2g}{_TIMES}"


def hours_text(hours: float | None) -> str:
    """Hours in three significant digits, all whole digits above that."""
    return "" if hours is None else _three_digits(hours)


def price_text(price: float | None) -> str:
    """A price in cents, in three significant digits where it is less than a unit."""
    if price is None:
        return ""
    if price >= _EXPONENT_ABOVE:
        return f"{price:.3g}"
    # Rounded first, so that 0.9999 becomes 1.00.
    return f"{price:,.2f}" if float(f"{price:.3g}") >= 1 or price == 0 else _three_digits(price)


def compute_text(compute: ComputeConfig) -> str:
    """What one trial holds: 1 x 4 CPUs and 1 GPUs."""
    gpus = f" and {compute.gpus_per_worker:g} GPUs" if compute.gpus_per_worker else ""
    return f"{compute.num_workers} x {compute.cpus_per_worker} CPUs{gpus}"


def age_text(seconds: float) -> str:
    """How long ago, in the largest unit that says it."""
    for size, letter in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {letter}"
    return f"{seconds:.0f} s"


def _three_digits(value: float) -> str:
    if value == 0:
        return "0"
    # Rounded first, so that 9.999 becomes 10.0.
    rounded = abs(float(f"{value:.3g}"))
    if not _EXPONENT_BELOW <= rounded < _EXPONENT_ABOVE:
        return f"{value:.3g}"
    decimals = max(0, 2 - math.floor(math.log10(rounded)))
    return f"{value:,.{decimals}f}"


def trained_text(trained: bool) -> str:
    """Whether a candidate's own slice was trained or only evaluated from the shared parameters."""
    return "trained" if trained else "evaluated"
