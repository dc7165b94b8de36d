"""Commands on tables of observations: what mattered in earlier distillations, and what to try next."""

import shlex
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Literal

import typer

from minidisc_ray.cli.folders import check_output_folder
from minidisc_ray.cli.options import Set, console, messages, print_line, when_stopped
from minidisc_ray.configs.base import UserError
from minidisc_ray.reports.tables import Format

Table = Annotated[
    Path,
    typer.Argument(
        metavar="TABLE",
        help="A table of `minidisc observe`, a .parquet or .csv file, or Distiller's folder.",
    ),
]


def importance(
    table: Table,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="DIR", help="Write importance.csv, .svg and .png there.")
    ] = None,
    target: Annotated[
        Literal["ratio_to_teacher", "score", "ratio"],
        typer.Option("--target", help="The column to explain: ratio_to_teacher, score or ratio."),
    ] = "ratio_to_teacher",
    weights: Annotated[
        Literal["uniform", "observed"],
        typer.Option("--weights", help="Choices of a component count equally (uniform), or as observed."),
    ] = "uniform",
    student: Annotated[str | None, typer.Option("--student", help="Only rows of this student.")] = None,
    teacher: Annotated[str | None, typer.Option("--teacher", help="Only rows of this teacher.")] = None,
    format_: Annotated[Format, typer.Option("--format", help="table, md, csv or json.")] = "table",
) -> None:
    """Show which components explain the results of earlier distillations, alone and in pairs (fANOVA)."""
    if output is not None:
        check_output_folder(output, may_exist=True)
    with when_stopped("nothing was written"):
        from minidisc_ray.api import distillations
        from minidisc_ray.reports.importance.render import render_importance

        found = distillations.importance(table, target, weights, student, teacher)
    print(render_importance(found, format_), end="")  # noqa: T201 - csv and json must not be wrapped
    if output is not None:
        with _while_writing(output):
            from minidisc_ray.reports.importance.files import write_importance

            paths = write_importance(found, output)
        _print_written(paths, format_)


def recommend(
    recipe: Annotated[
        str,
        typer.Argument(metavar="TASK_OR_RECIPE", help="A recipe file, or the name of a task of the table or of GLUE."),
    ],
    tables: Annotated[
        list[Path],
        typer.Option("--from", metavar="TABLE", help="A table, as for importance; repeat to learn from several."),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="DIR", help="A new folder for the recipes and a table; needs a recipe."),
    ] = None,
    top: Annotated[int, typer.Option("--top", help="Configurations to recommend.")] = 5,
    without: Annotated[
        list[str] | None,
        typer.Option("--without", metavar="TASK", help="Leave out a task's observations; repeatable."),
    ] = None,
    student: Annotated[str | None, typer.Option("--student", help="For a task's name: another student.")] = None,
    teacher: Annotated[str | None, typer.Option("--teacher", help="For a task's name: another teacher.")] = None,
    set_: Set = None,
    format_: Annotated[Format, typer.Option("--format", help="table, md, csv or json.")] = "table",
) -> None:
    """Recommend objectives for a task or a recipe, from earlier distillations; trains nothing.

    With a recipe the best are checked against its data and models, and have their costs; a task's name needs neither.
    """
    if output is not None:
        check_output_folder(output, may_exist=False)
    with when_stopped("nothing was written"):
        from minidisc_ray.api import recommendations
        from minidisc_ray.reports.recommendation.files import NO_RECIPE, write_recommendation
        from minidisc_ray.reports.recommendation.render import render_recommendation

        if output is not None and recommendations.is_task_name(recipe):
            raise UserError(NO_RECIPE)
        found = recommendations.recommend(recipe, tables, set_ or [], top, without or [], student, teacher)
    print(render_recommendation(found, format_), end="")  # noqa: T201 - csv and json must not be wrapped
    if output is not None:
        with _while_writing(output):
            paths = write_recommendation(found, output)
        _print_written(paths, format_)
        if format_ == "table":
            print_line(console, f"next: minidisc run {shlex.quote(str(paths[0]))}")


def _while_writing(output: Path) -> AbstractContextManager[None]:
    return when_stopped(f"{output} may lack files; remove it, and run the same command again")


def _print_written(paths: Sequence[Path], format_: Format) -> None:
    for path in paths:
        print_line(console if format_ == "table" else messages, f"wrote {path}")
