"""Commands for AutoDistiller's data: observe, features."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minidisc_ray.cli.options import RecipeFile, Set, console, messages, print_error, print_line, when_stopped
from minidisc_ray.cli.places import DEFAULT_STORAGE, StorageArgument, StorageOption, storage_of
from minidisc_ray.configs.base import UserError
from minidisc_ray.files.places import is_uri
from minidisc_ray.reports.tables import Format

if TYPE_CHECKING:
    from minidisc_ray.autodistiller.tables.observe import Observed

Vectors = Annotated[
    Path | None,
    typer.Option("--vectors", metavar="FILE", help="Word vectors in GloVe's text format; by default the teacher's."),
]
_MAX_NAMES = 5


def observe(
    place: StorageArgument = None,
    storage: StorageOption = None,
    to: Annotated[Path, typer.Option("--to", metavar="TABLE", help="A folder or URI; created if it is not there.")] = (
        Path("observations")
    ),
    public: Annotated[
        Path | None, typer.Option("--public", metavar="DIR", help="Add the published observations in this folder.")
    ] = None,
    features: Annotated[
        bool, typer.Option("--features", help="Also compute dataset features where a run's rows can be read.")
    ] = False,
    vectors: Vectors = None,
) -> None:
    """Add finished runs, or the published observations, to a table that AutoDistiller learns from, each once."""
    from minidisc_ray.api import observations as api

    if public is not None and (place or storage or features or vectors):
        raise UserError("--public: the published observations have features and come from no storage; give it alone")
    if vectors is not None and not features:
        raise UserError("--vectors: these are for dataset features; add --features, or leave it out")
    if to == Path():
        raise UserError("--to: give a folder of the table's own, or a URI")
    with when_stopped("nothing was added; the same command begins again"):
        if public is not None:
            observed = api.observe_public(public, to)
            _print_added(observed, "published observation")
        else:
            root = storage_of(place, storage)
            if root == DEFAULT_STORAGE and not root.exists():
                raise UserError(
                    f"storage: there is no {DEFAULT_STORAGE} here; give the folder that runs were written to"
                )
            if not is_uri(to) and not is_uri(root) and to.resolve().is_relative_to(root.resolve()):
                raise UserError(f"--to: {to} is in the storage; give a folder beside it")
            observed = api.observe(root, to, features, vectors, _report)
            _print_added(observed, "run")
    _print_missing(observed, features)
    print_line(
        console,
        f"{observed.table} now has {_counted(observed.num_observations, 'observation')} of "
        f"{_counted(observed.num_tasks, 'task')}",
    )
    for name, reason in observed.damaged.items():
        print_error(UserError(f"{name} is left out: {reason}"))
    if observed.damaged:
        raise typer.Exit(1)


def features(
    recipe: RecipeFile,
    set_: Set = None,
    vectors: Vectors = None,
    baseline: Annotated[bool, typer.Option("--baseline/--no-baseline", help="Train the Bi-LSTM.")] = True,
    format_: Annotated[Format, typer.Option("--format", help="table, md, csv or json, which has every number.")] = (
        "table"
    ),
) -> None:
    """Show the features of a recipe's data set, by which AutoDistiller compares it with others."""
    from dataclasses import asdict

    from minidisc_ray.api import observations as api
    from minidisc_ray.reports.tables import Table, write

    with when_stopped("nothing was written"):
        if messages.is_terminal and baseline:
            messages.print("training the baseline; up to two minutes, and once for the same rows", soft_wrap=True)
        found = api.dataset_features(recipe, set_ or [], vectors, baseline)
    score = "" if found.baseline_score is None else f"{100 * found.baseline_score:.1f}"
    rows = [
        ("Task", found.task),
        ("Description", found.description),
        ("Training rows", f"{found.num_examples:,}"),
        ("Outputs", str(found.num_labels)),
        (f"Bi-LSTM's {found.metric}", score),
        ("Word vectors", found.space),
        ("Words without a vector", f"{100 * found.missing_share:.1f}%"),
        ("Features", str(len(found.values))),
    ]
    record = asdict(found)
    table = Table.of_texts(("Feature", "Value"), rows, num_names=2)
    flat = {key: value for key, value in record.items() if key != "values"}
    print(write(format_, [table], [flat], document=record), end="")  # noqa: T201 - csv and json must not be wrapped


def _report(task: str) -> None:
    if messages.is_terminal:
        messages.print(f"computing dataset features of {task}; up to two minutes", soft_wrap=True)


def _print_added(observed: "Observed", what: str) -> None:
    known = f"; {observed.num_known:,} known already" if observed.num_known else ""
    completed = f"; {_counted(len(observed.completed), 'known run')} now with features" if observed.completed else ""
    print_line(console, f"added {_counted(len(observed.added), what)} to {observed.table}{known}{completed}")
    if observed.unfinished:
        print_line(console, f"left out, not finished: {_named(observed.unfinished)}")
    if observed.damaged:
        print_line(console, f"left out, damaged: {_named(tuple(observed.damaged))}")


def _print_missing(observed: "Observed", with_features: bool) -> None:
    for reason, count in observed.without_ratio.items():
        print_line(console, f"no ratio of equation 2 for {count:,}: {reason}")
    for name, reason in observed.without_features.items():
        print_line(console, f"no dataset features for {name}: {reason}")
    if observed.num_without_features and not with_features:
        print_line(
            console,
            f"no dataset features for {observed.num_without_features:,}: --features adds them where rows can be read",
        )


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _named(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return f"{', '.join(names[:_MAX_NAMES])}{more}"
