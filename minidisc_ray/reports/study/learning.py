"""Warnings on a study's models that have learned nothing: they score no better than the majority class."""

from collections.abc import Iterator, Sequence

from minidisc_ray.reports.words import sentence_case
from minidisc_ray.run_files.result import ModelRecord, RunResult
from minidisc_ray.study.cells import Outcome


def learning_warnings(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """A sentence for each teacher and task with students, or a teacher, no better than the majority class.

    Args:
        outcomes: of a study's cells.
    """
    several_teachers = len({outcome.cell.teacher for outcome in outcomes}) > 1
    places: dict[tuple[str | None, str], dict[str, RunResult]] = {}
    for one in outcomes:
        if one.result is not None:
            places.setdefault((one.cell.teacher, one.cell.task), {})[one.name] = one.result
    for (teacher, task), by_name in places.items():
        where = f"{task} with {teacher}" if several_teachers else task
        yield from _warnings(where, list(by_name.values()))


def _warnings(where: str, results: Sequence[RunResult]) -> Iterator[str]:
    count = sum(_has_learned_nothing(run, run.student) for run in results)
    teachers = {run.seed: _has_learned_nothing(run, run.teacher) for run in results}
    seeds = sorted(seed for seed, has_learned_nothing in teachers.items() if has_learned_nothing)
    if not count and not seeds:
        return
    students = f"{count} of {len(results)} students" if len(results) > 1 else "the student" if count else ""
    who = [students] if count else []
    who += [_teacher(seeds, len(teachers))] if seeds else []
    subject = ", and ".join(who)
    is_one = len(who) == 1 and (count == 1 or not count)
    text = f"{sentence_case(subject)}{',' if len(who) > 1 else ''} {'is' if is_one else 'are'} no better on "
    text += f"{where} than always answering the majority class: "
    # Without a teacher that has learned, no student's score counts; where a few students fail, the others' do.
    is_useless = len(seeds) == len(teachers) or count == len(results)
    yield text + ("methods cannot be compared there." if is_useless else "their scores say nothing about methods.")


def _teacher(seeds: Sequence[int], num_seeds: int) -> str:
    if len(seeds) == num_seeds:
        return "the teacher"
    return f"the teacher of seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def _has_learned_nothing(run: RunResult, model: ModelRecord) -> bool:
    found, majority = model.validation_metrics.get(run.primary_metric), run.majority_metrics.get(run.primary_metric)
    return found is not None and majority is not None and found <= majority
