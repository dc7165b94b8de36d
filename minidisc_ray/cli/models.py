"""Commands that use finished models: predict, evaluate, profile."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from minidisc_ray.cli.options import QuotingOption, Set, messages, print_line
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
        Path | None,
        typer.Option("--output", metavar="FILE", help=".jsonl, .csv, .tsv or .parquet; by default JSON to stdout."),
    ] = None,
    quoting: QuotingOption = None,
    storage: StorageOption = None,
) -> None:
    """Label the rows of a file: its columns, then prediction and probability."""
    from minidisc_ray import api
    from minidisc_ray.inference.prediction_files import check_output, json_lines, prediction_bytes

    if output is not None and is_uri(output):
        raise UserError(
            f"--output: {output.name} would be in a bucket; give a path on this machine, and copy the file from there"
        )
    if output is not None:
        check_output(output)
        if output.exists():
            raise UserError(f"--output: {output} exists; choose another name")
    frame = api.predict(student_place(student, storage), file, columns, quoting)
    for note in frame.attrs["notes"]:
        print_line(messages, f"note: {note}")
    if output is None:
        sys.stdout.write(json_lines(frame))
        return
    content = prediction_bytes(frame, output.suffix)
    try:
        output.write_bytes(content)
    except OSError as error:
        raise UserError(f"--output: {output} cannot be written ({error.strerror})") from error


def evaluate(
    student: Student,
    rows: Annotated[
        Path, typer.Argument(metavar="FILE|RECIPE", help="JSON Lines, CSV, TSV or Parquet; or a recipe (.yaml).")
    ],
    columns: Annotated[list[str] | None, typer.Option("--columns", help="A column of text; repeat for a pair.")] = None,
    label: Annotated[
        str | None, typer.Option("--label", help="The file's column of the label; by default the student's.")
    ] = None,
    quoting: QuotingOption = None,
    set_: Set = None,
    format_: Annotated[Format, typer.Option("--format", help="table, md, csv or json.")] = "table",
    storage: StorageOption = None,
) -> None:
    """Score a student on a labelled file, or on a recipe's validation rows: metrics, classes and their confusion."""
    from minidisc_ray import api
    from minidisc_ray.reports.run.evaluation import render_evaluation

    found = api.evaluate(student_place(student, storage), rows, set_ or [], columns or None, label, quoting)
    print(render_evaluation(found, format_), end="")  # noqa: T201 - csv and json must not be wrapped


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
