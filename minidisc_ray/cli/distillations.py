"""Commands on tables of observations: what mattered in earlier distillations, and what to try next."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from minidisc_ray.cli.options import RecipeFile, Set, console, messages, print_line, when_stopped
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
    from minidisc_ray.api import distillations
    from minidisc_ray.reports.importance.render import render_importance

    if output is not None and output.exists() and not output.is_dir():
        raise UserError(f"--output: {output} is a file; give a folder")
    if output is not None and output.is_dir() and any(output.iterdir()):
        raise UserError(f"--output: {output} is not empty; choose another name")
    with when_stopped("nothing was written"):
        found = distillations.importance(table, target, weights, student, teacher)
    print(render_importance(found, format_), end="")  # noqa: T201 - csv and json must not be wrapped
    if output is not None:
        from minidisc_ray.reports.importance.files import write_importance

        for path in write_importance(found, output):
            print_line(console if format_ == "table" else messages, f"wrote {path}")


def recommend(
    recipe: RecipeFile,
    tables: Annotated[
        list[Path],
        typer.Option("--from", metavar="TABLE", help="A table, as for importance; repeat to learn from several."),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", metavar="DIR", help="A new folder for the recipes and a table.")
    ] = None,
    top: Annotated[int, typer.Option("--top", help="Configurations to recommend.")] = 5,
    set_: Set = None,
    format_: Annotated[Format, typer.Option("--format", help="table, md, csv or json.")] = "table",
) -> None:
    """Recommend objectives for a recipe's task, from distillations of other tasks; trains nothing."""
    from minidisc_ray.api.recommendations import recommend as recommended
    from minidisc_ray.reports.recommendation.files import write_recommendation
    from minidisc_ray.reports.recommendation.render import render_recommendation

    if output is not None and output.exists():
        raise UserError(f"--output: {output} exists; choose another name")
    with when_stopped("nothing was written"):
        found = recommended(recipe, tables, set_ or [], top)
    print(render_recommendation(found, format_), end="")  # noqa: T201 - csv and json must not be wrapped
    if output is not None:
        for path in write_recommendation(found, output):
            print_line(console if format_ == "table" else messages, f"wrote {path}")
