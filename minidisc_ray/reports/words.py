"""Text of numbers, units and method names, the same in every table and page."""

import math

from minidisc_ray.configs.training import ComputeConfig
from minidisc_ray.core.task import ERROR_METRICS
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
    "auto": "Auto",
}
# Outside this range a number is written with an exponent, not with rows of zeros.
_EXPONENT_BELOW, _EXPONENT_ABOVE = 1e-9, 1e18
# Below these a rough duration is a few seconds, so many seconds, minutes, or hours and minutes.
_FEW_SECONDS, _SECONDS_BELOW, _MINUTES_BELOW, _HOURS_BELOW = 5, 90, 90, 48
# Methods that do not search for the scale between teacher and student; the scale is part of their name.
FIXED_METHODS = ("sparse_teacher", "assistant", "law")
_METRICS = {
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "f1": "F1",
    "macro_f1": "Macro F1",
    "weighted_f1": "Weighted F1",
    "micro_f1": "Micro F1",
    "matthews": "Matthews",
    "spearman": "Spearman",
    "pearson": "Pearson",
    "mean_squared_error": "Mean squared error",
    "mean_absolute_error": "Mean absolute error",
}


def method_name(result: RunResult) -> str:
    """The method as tables call it; a fixed scale of the assistant is part of the name, so each scale has a row."""
    if result.label:
        return result.label
    # Results of the first release have no label.
    name = _METHODS[result.method]
    if result.method not in FIXED_METHODS:
        return name
    return f"{name} ({scales_text([model.scale_percent for model in result.assistants], '%')})"


def scales_text(scales: list[int], unit: str = "") -> str:
    """The scales of a chain of assistants, joined by arrows; empty without assistants."""
    return " → ".join(f"{scale}{unit}" for scale in scales)


def metric_title(name: str) -> str:
    """A metric's name as a heading: ``Accuracy (validation_mismatched)`` for ``accuracy@validation_mismatched``."""
    metric, _, split = name.partition("@")
    title = _METRICS.get(metric, metric)
    return f"{title} ({split})" if split else title


def count_text(value: float | None, billions: str = "G") -> str:
    """A count in three significant digits: 10.6M, 1.36G.

    Args:
        value: parameters, multiply-adds or FLOPs.
        billions: the letter for 10^9; ``B`` for parameters.
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
    # z: no minus before a zero.
    return f"{100 * mean:z.1f}" if std is None else f"{100 * mean:z.1f} ± {100 * std:.1f}"


def score_text(metric: str, mean: float | None, std: float | None = None) -> str:
    """A metric as tables show it: in percent, an error in the unit of its label (squared, of the squared one)."""
    if mean is None or metric.partition("@")[0] not in ERROR_METRICS:
        return percent_text(mean, std)
    return number_text(mean) if std is None else f"{number_text(mean)} ± {number_text(std)}"


def share_text(share: float | None) -> str:
    """A share in percent with one decimal: 12.5%."""
    return "" if share is None else f"{100 * share:.1f}%"


def number_text(value: float) -> str:
    """A number in three significant digits; from 100 up rounded to a whole number."""
    return f"{value:,.0f}" if value >= 99.95 else f"{value:#.3g}"


def ratio_text(ratio: float | None) -> str:
    """A ratio with one decimal, none from 100 up, two significant digits below 1: 4.1×."""
    if ratio is None:
        return ""
    if ratio >= 100:
        return f"{ratio:.0f}{_TIMES}"
    return f"{ratio:.1f}{_TIMES}" if ratio >= 0.95 else f"{ratio:.2g}{_TIMES}"


def hours_text(hours: float | None) -> str:
    """Hours in three significant digits; from 100 up rounded to whole hours."""
    return "" if hours is None else _three_digits(hours)


def price_text(price: float | None) -> str:
    """A price with two decimals; in three significant digits below 1."""
    if price is None:
        return ""
    if price >= _EXPONENT_ABOVE:
        return f"{price:.3g}"
    # Rounded first, so that 0.9999 becomes 1.00.
    return f"{price:,.2f}" if float(f"{price:.3g}") >= 1 or price == 0 else _three_digits(price)


def compute_text(compute: ComputeConfig) -> str:
    """The CPUs and GPUs that one trial reserves: 1 x 4 CPUs and 1 GPUs."""
    gpus = f" and {compute.gpus_per_worker:g} GPUs" if compute.gpus_per_worker else ""
    return f"{compute.num_workers} x {compute.cpus_per_worker} CPUs{gpus}"


def time_left_text(seconds: float) -> str:
    """A duration that is only known roughly: a few seconds, 40 s, 12 min, 3 h 20 min, 2 days 5 h."""
    if seconds < _FEW_SECONDS:
        return "a few seconds"
    if seconds < _SECONDS_BELOW:
        return f"{10 * math.ceil(seconds / 10)} s"
    minutes = math.ceil(seconds / 60)
    if minutes < _MINUTES_BELOW:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < _HOURS_BELOW:
        return f"{hours} h {minutes} min"
    days, hours = divmod(hours, 24)
    return f"{days} days {hours} h"


def seeds_text(count: int) -> str:
    """A number of seeds: 1 seed, 3 seeds."""
    return f"{count} seed{'s' if count != 1 else ''}"


def sentence_case(text: str) -> str:
    """The text with its first letter in upper case; other letters stay: ``GPU-hours``, ``Core-hours``."""
    return text[0].upper() + text[1:]


def age_text(seconds: float) -> str:
    """A time span in its largest unit of days, hours, minutes and seconds: 3 h."""
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
