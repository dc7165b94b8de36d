"""What a study's findings support, in few sentences; nothing more than their intervals say."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from minidisc_ray.evaluation.rules import BestStudentRule
from minidisc_ray.reports.study.findings import interval_text, is_same, signed_points
from minidisc_ray.study.answers import EVERY_TASK
from minidisc_ray.study.findings import Finding, Findings
from minidisc_ray.study.gains import GAP, GainTrend
from minidisc_ray.study.sweep_rules import Hits

_OfTask = TypeVar("_OfTask", Finding, Hits)
_Any = TypeVar("_Any", Finding, Hits, GainTrend)


def conclusions(findings: Findings) -> list[str]:
    """A sentence for each method that others are compared with, for regret, for the rules' hits, and for trends.

    Differences, regret and hits are over every task if there is such a mean, else on the study's only task.
    """
    found: list[Finding | Hits | GainTrend] = [*findings.differences, *findings.regrets, *findings.hits]
    found += findings.gain_trends
    several = len({(each.teacher, each.scale_percent) for each in found}) > 1
    hits = [each for each in _widest(findings.hits) if each.rule != BestStudentRule().label]
    return [
        *(_differences(each, several) for each in _split(_widest(findings.differences), lambda one: one.against)),
        *(_regrets(each, several) for each in _split(_widest(findings.regrets), lambda one: one.against)),
        *(_hits(each, several) for each in _split(hits, lambda one: one.task)),
        *(_trends(each, several) for each in _split(findings.gain_trends, lambda one: (one.against, one.same_data))),
    ]


def _differences(found: Sequence[Finding], several: bool) -> str:
    parts: dict[str, list[str]] = {"better:": [], "worse:": [], "not shown to differ:": []}
    for each in found:
        interval = each.interval
        if interval.excludes_zero:
            parts["better:" if interval.mean > 0 else "worse:"].append(_points(each))
        else:
            bound = "" if is_same(interval) else f"; above {signed_points(interval.lower_bound)} one-sided"
            parts["not shown to differ:"].append(f"{_points(each)[:-1]}{bound})")
    return f"Against {found[0].against}{_where(found[0], several)}, in points, {_listed(parts)}."


def _regrets(found: Sequence[Finding], several: bool) -> str:
    parts: dict[str, list[str]] = {"worse:": [], "better:": [], "not shown to differ:": []}
    for each in found:
        shown = "worse:" if each.interval.mean > 0 else "better:"
        parts[shown if each.interval.excludes_zero else "not shown to differ:"].append(_points(each))
    return f"Against {found[0].against}{_where(found[0], several)}, by regret in points, {_listed(parts)}."


def _hits(found: Sequence[Hits], several: bool) -> str:
    parts: dict[str, list[str]] = {"more often than by chance:": [], "not shown to beat chance:": []}
    for each in found:
        shown = "more often than by chance:" if each.share.low > each.chance else "not shown to beat chance:"
        parts[shown].append(f"{each.rule} ({each.share.count} of {each.share.total})")
    first = found[0]
    expected = f"{first.chance * first.share.total:.1f} of {first.share.total}"
    return f"Best of MaxiDisc's students picked{_where(first, several)}, {_listed(parts)}; by chance {expected}."


def _trends(found: Sequence[GainTrend], several: bool) -> str:
    parts: dict[str, list[str]] = {"rises:": [], "falls:": [], "no trend shown:": []}
    for each in found:
        trend = each.trend
        shown = "rises:" if trend.spearman > 0 else "falls:"
        text = (
            f"{each.method} ({trend.spearman:+.2f}, {trend.low:+.2f} to {trend.high:+.2f}, {trend.num_points} points)"
        )
        parts[shown if trend.excludes_zero else "no trend shown:"].append(text)
    first = found[0]
    what = "the gap" if first.against == GAP else f"training rows of {first.same_data}"
    place = _place(first.teacher, first.scale_percent) if several else ""
    return f"Gain of an assistant with {what}{place}, by Spearman's correlation, {_listed(parts)}."


def _widest(found: Sequence[_OfTask]) -> list[_OfTask]:
    """Findings over every task; those on a task if its teacher and scale have no other."""
    tasks: dict[tuple[str | None, int | None], set[str]] = {}
    for each in found:
        tasks.setdefault((each.teacher, each.scale_percent), set()).add(each.task)
    return [each for each in found if each.task == EVERY_TASK or len(tasks[each.teacher, each.scale_percent]) == 1]


def _split(found: Sequence[_Any], key: Callable[[_Any], object]) -> Iterator[list[_Any]]:
    """Findings by teacher, scale and ``key``."""
    groups: dict[tuple[object, ...], list[_Any]] = {}
    for each in found:
        groups.setdefault((each.teacher, each.scale_percent, key(each)), []).append(each)
    yield from groups.values()


def _points(found: Finding) -> str:
    return f"{found.what} ({signed_points(found.interval.mean)}, {interval_text(found.interval)})"


def _listed(parts: dict[str, list[str]]) -> str:
    return "; ".join(f"{heading} {', '.join(items)}" for heading, items in parts.items() if items)


def _where(found: Finding | Hits, several: bool) -> str:
    task = " over every task" if found.task == EVERY_TASK else f" on {found.task}"
    return task + (_place(found.teacher, found.scale_percent) if several else "")


def _place(teacher: str | None, scale_percent: int | None) -> str:
    at_scale = "" if scale_percent is None else f" at {scale_percent}%"
    return at_scale + ("" if teacher is None else f" from {teacher}")
