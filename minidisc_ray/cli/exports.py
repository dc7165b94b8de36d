"""Commands that write finished models: for other runtimes, in other sizes, to a folder or the hub."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from minidisc_ray.cli.lines import log_lines
from minidisc_ray.cli.options import Set, console, messages, print_line, when_stopped
from minidisc_ray.cli.places import StorageOption, complete_finished, run_place
from minidisc_ray.reports.tables import Format

Output = Annotated[Path, typer.Option("--output", metavar="DIR", help="A new folder.")]
Run = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="A finished run's name, folder or URI.", autocompletion=complete_finished),
]


def export(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN",
            help="A finished run's name or folder, or a model's folder; or a URI.",
            autocompletion=complete_finished,
        ),
    ],
    output: Output,
    to: Annotated[Literal["onnx", "openvino"], typer.Option("--to", help="onnx or openvino.")] = "onnx",
    int8: Annotated[bool, typer.Option("--int8", help="Add an int8 copy; time all copies.")] = False,
    max_drop: Annotated[float, typer.Option("--max-drop", help="Points that the int8 copy may lose.")] = 0.5,
    recipe: Annotated[
        Path | None,
        typer.Option("--recipe", metavar="RECIPE", help="Check on this recipe's rows; by default the run's."),
    ] = None,
    threads: Annotated[int | None, typer.Option("--threads", help="CPU threads; by default PyTorch's own.")] = None,
    repeats: Annotated[int, typer.Option("--repeats", help="Timed passes of each copy; 0 times none.")] = 20,
    format_: Annotated[Format, typer.Option("--format", help="Format of the table: table, md, csv or json.")] = "table",
    storage: StorageOption = None,
) -> None:
    """Export a student to ONNX Runtime or OpenVINO, checked on every validation row; --int8 adds a smaller copy."""
    from minidisc_ray.api import exports
    from minidisc_ray.reports.run.export import export_sentences, render_speed

    out = console if format_ == "table" else messages
    with when_stopped("nothing was written"), log_lines(out):
        if messages.is_terminal:
            messages.print("exporting and checking; half a minute or so for a small model", soft_wrap=True)
        report = exports.export(run_place(run, storage), output, to, int8, max_drop, recipe, threads, repeats)
    print_line(out, f"wrote {output}")
    for sentence in export_sentences(report):
        print_line(out, sentence)
    if report.speed:
        print(render_speed(report, format_), end="")  # noqa: T201 - csv and json must not be wrapped


def extract(
    run: Run,
    scale: Annotated[int, typer.Option("--scale", metavar="PERCENT", help="One of the family's scales.")],
    output: Output,
    storage: StorageOption = None,
) -> None:
    """Save one size of a run's nested family as a model, without training."""
    from minidisc_ray.api import exports

    with when_stopped("nothing was written"):
        size = exports.extract(run_place(run, storage), scale, output)
    metrics = ", ".join(f"{name} {100 * value:.1f}" for name, value in size.metrics.items())
    print_line(
        console,
        f"wrote {output}: {size.scale_percent}% of the teacher's heads and neurons, {size.total_parameters:,} "
        f"parameters; {metrics} on the run's selection rows",
    )


def push(
    run: Run,
    to: Annotated[str, typer.Option("--to", metavar="hub:NAME|DIR", help="A repository on the hub, or a new folder.")],
    set_: Set = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    threads: Annotated[int | None, typer.Option("--threads", help="CPU threads; by default PyTorch's own.")] = None,
    repeats: Annotated[int, typer.Option("--repeats", help="Timed passes for the model card; 0 times none.")] = 20,
    storage: StorageOption = None,
) -> None:
    """Copy a student with a model card to a folder, or to the Hugging Face hub."""
    from minidisc_ray.api import exports

    with when_stopped("nothing was pushed"):
        if messages.is_terminal:
            messages.print("measuring for the card; larger models take a minute", soft_wrap=True)
        place = exports.push(run_place(run, storage), to, set_ or [], private, threads, repeats)
    print_line(console, f"pushed to {place}; its card is README.md there")
