"""Commands that use finished models: predict, evaluate, profile."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from minidisc_ray.cli.options import RecipeFile, Set, console, messages, overrides_of
from minidisc_ray.cli.places import StorageOption, complete_finished, run_place, student_place
from minidisc_ray.configs.base import UserError
from minidisc_ray.files.places import is_uri
from minidisc_ray.reports.tables import Format

Student = Annotated[
    Path,
    typer.Argument(
        metavar="STUDENT",
        help="A student's folder or URI, or the name of its run.",
        autocompletion=complete_finished,
    ),
]


def predict(
    student: Student,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="JSON Lines, CSV, TSV or Parquet.")],
    columns: Annotated[list[str] | None, typer.Option("--columns", help="A column of text; repeat for a pair.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="JSON Lines; by default stdout.")
    ] = None,
    quoting: Annotated[
        Literal["csv", "none"] | None,
        typer.Option("--quoting", help="Quotation marks in CSV and TSV: csv, they enclose cells; none, they are text."),
    ] = None,
    storage: StorageOption = None,
) -> None:
    """Label the rows of a file."""
    from minidisc_ray import api

    if output is not None and is_uri(output):
        raise UserError(
            f"--output: {output.name} would be in a bucket; give a path on this machine, and copy the file from there"
        )
    if output is not None and output.exists():
        raise UserError(f"--output: {output} exists; choose another name")
    text = api.predict(student_place(student, storage), file, columns, quoting).to_json(
        orient="records", lines=True, force_ascii=False
    )
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"--output: {output} cannot be written ({error.strerror})") from error


def evaluate(
    student: Student,
    recipe: RecipeFile,
    set_: Set = None,
    storage: StorageOption = None,
) -> None:
    """Score a student on a recipe's validation rows."""
    from minidisc_ray import api

    for metric, value in api.evaluate(
        student_place(student, storage), recipe, overrides_of(set_, None, None, None)
    ).items():
        console.print(f"{metric} {value:.6f}")


def profile(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="A finished run's name or folder, or a student's folder; or a URI.",
            autocompletion=complete_finished,
        ),
    ],
    threads: Annotated[int | None, typer.Option("--threads", help="CPU threads; by default PyTorch's own.")] = None,
    repeats: Annotated[int, typer.Option("--repeats", help="Timed passes of each model.")] = 20,
    length: Annotated[int, typer.Option("--length", help="Tokens of a row.")] = 128,
    storage: StorageOption = None,
    format_: Annotated[Format, typer.Option("--format", help="table, md, csv or json.")] = "table",
) -> None:
    """Measure a run's models: parameters, MACs, latency and throughput, teacher beside student."""
    from minidisc_ray import api
    from minidisc_ray.reports.run.profile import render_profile

    if messages.is_terminal:
        # A line and not a progress bar, whose thread would disturb the timing.
        messages.print(f"measuring; larger models take minutes with {repeats} repeats", soft_wrap=True)
    frame = api.profile(run_place(run, storage), threads, repeats, length)
    print(render_profile(frame, format_), end="")  # noqa: T201 - csv and json must not be wrapped
