"""The commented recipe that ``minidisc init`` writes."""

import json
import os
import re
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import yaml

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.data import FilesDataConfig
from minidisc_ray.configs.printable import printable
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.configs.task import GlueTask
from minidisc_ray.configs.task_name import name_from_data
from minidisc_ray.configs.unions import kinds_of, union_at

if TYPE_CHECKING:
    from minidisc_ray.data.infer_task import InferredTask

# Learning rates are larger than the papers': on a laptop a 22M model trains for few steps.
_TEMPLATE = """\
# {title}, compressed to 10%. Needs: {needs}.
#   minidisc plan {file}
#   minidisc run {file}
#   minidisc run {file} --set schedule.kind=conventional      # or another kind of schedule: the same recipe
{more}
{task}

data:
  kind: files                # files, hub, or builtin
{files}
  max_length: 128            # tokens; longer rows are cut, and counted in the result
  selection_fraction: 0.1    # share of train held out for early stopping and choices
  # max_train_rows: 1000     # a seeded sample, for a quick try

teacher:
  kind: pretrained
  path: {model}
  fine_tuned: auto           # a checkpoint with a trained head is used as it is; others are fine-tuned first

student:
  scale_percent: 10          # share kept of attention heads and of feed-forward neurons
  # or fewer layers: {{kind: layers, num_layers: 2}}
  # or a smaller model with the same vocabulary: {{kind: checkpoint, path: ...}}

{schedule}

objective:
  kind: ltsd                 # {objectives}

pruning:
  ranking: global            # heads and neurons of all layers compete; local: each layer keeps its share
  neuron_multiple: 8
  importance_rows: auto      # ranked by a sample that grows until the ranking is settled; null: by all rows

finetune: {{num_epochs: 3, batch_size: 32, learning_rate: 1e-4}}
distil: {{num_epochs: 10, batch_size: 32, learning_rate: 3e-4, early_stop_epochs: 5}}
# sandwich: as distil unless given

protocol: held_out           # paper: select on validation, as the papers do
seed: 0

compute:                     # not part of the run's identity
  num_workers: 1
  cpus_per_worker: {cpus}
  gpus_per_worker: 0

storage: minidisc-runs
"""


# The schedule that a new recipe has.
_SCHEDULE = """\
schedule:
  kind: minidisc             # SCHEDULES: docs/guide/recipes.md
  search: race               # drops candidates that cannot win, and chooses early; paper: as in the paper
  scales: {kind: times}      # six candidates of 1.5 to 4 times the student's scale; or step, slices, a list
# or: schedule: {kind: law}  # an assistant of 2.5 times the student's size, no search: a third cheaper, may score less
# or: schedule: {kind: auto} # no assistant if a short try shows that the student does well without
"""
_ON_THE_HUB = "# From the hub instead: --set data.kind=hub --set teacher.path=bert-base-uncased\n"
_NOTES = {
    "folder": "holds train.* and validation.*: .jsonl[.gz], .csv, .tsv or .parquet",
    "train": "",
    "validation": "",
    "validation_fraction": "share of train held out for the reported score; or validation: FILE",
    "drop_unlabelled": "rows without a label are left out, and counted by plan",
    "quoting": "quotation marks in CSV and TSV: csv, they enclose cells; none, they are text",
}
_MAX_CLASSES = 10  # in a comment
_COMMENT_COLUMN, _COMMENT_WIDTH = 29, 90
_METRICS = {
    "classification": ("accuracy", "accuracy, macro_f1, weighted_f1, matthews, ...; f1 of two classes"),
    "multilabel": ("micro_f1", "micro_f1, macro_f1, weighted_f1, or accuracy: rows with every label right"),
    "regression": ("spearman", "spearman or pearson"),
}


def recipe_for(
    task: str | None,
    data: str | None,
    model: str,
    quoting: Literal["csv", "none"] | None,
    output: Path | None,
    cpus: int,
    drop_unlabelled: bool = False,
) -> tuple[Path, str, list[str]]:
    """The path and text of a recipe, and what to say of the user's own data, a line each.

    Args:
        task: a GLUE task; None for the user's own data.
        data: its file or folder.
        model: the teacher's folder or its name on the hub.
        quoting: of the user's CSV and TSV files.
        output: the recipe's path; by default in the current folder, called after the task.
        cpus: of each worker.
        drop_unlabelled: whether rows of the user's data that have no label are left out.

    Raises:
        UserError: if the task is not a GLUE task, the model is empty, the data has no column that looks like a text
            or like a label, or rows are to be left out where none can be.
    """
    if task is not None:
        if quoting is not None:
            raise UserError("--quoting: a GLUE task has its own; leave it out, or leave out --task")
        if drop_unlabelled:
            raise UserError(
                "--drop-unlabelled: all rows of a GLUE task have a label; leave it out, or leave out --task"
            )
        path = output or Path(f"{task}.yaml")
        return path, _glue_recipe(task, model, data, str(path), cpus), []
    if data is None:
        raise UserError("--task: missing; give a GLUE task, or your own file or folder with --data")
    # Data is slow to import, and only the user's own is looked into.
    from minidisc_ray.data.files import read_file
    from minidisc_ray.data.infer_files import find_data_files
    from minidisc_ray.data.infer_task import infer_task

    files = find_data_files(data, "--data", quoting)
    found = infer_task(read_file(files.train, "--data", {}, quoting, "--quoting", with_others=True))
    if drop_unlabelled and found.kind == "multilabel":
        raise UserError("--drop-unlabelled: in a multilabel task a row may have no label; leave it out")
    config = files.config.model_copy(update={"drop_unlabelled": drop_unlabelled})
    name = name_from_data(config)
    path = output or Path(f"{name or found.kind}.yaml")
    text = _own_recipe(found, name, config, model, str(path), cpus)
    said = [f"assumed: {found.sentence}", f"assumed: {files.sentence}"]
    if found.missing and drop_unlabelled:
        said.append(f"note: {found.missing} and are left out")
    elif found.missing:
        said.append(f"warning: {found.missing}, and `plan` refuses that: label them, or give --drop-unlabelled --force")
    return path, text, said


def _glue_recipe(task: str, model: str, data: str | None, file: str, cpus: int) -> str:
    tasks = get_args(GlueTask)
    if task not in tasks:
        raise UserError(
            f"--task: {task} is not a GLUE task; use one of {', '.join(tasks)}, or leave it out and name your own file "
            "with --data"
        )
    if data is not None and Path(data).is_file():
        raise UserError(f"--data: {data} is a file; give the folder of {task}'s train and validation files")
    folder = data or f"${{MINIDISC_DATA}}/{task}"
    rows = _line("folder", _quoted(folder), _NOTES["folder"])
    return _render(task.upper(), folder, f"task: {task}", rows, model, file, cpus, _ON_THE_HUB)


def _own_recipe(task: "InferredTask", name: str | None, data: FilesDataConfig, model: str, file: str, cpus: int) -> str:
    classes = ", ".join(task.classes[:_MAX_CLASSES]) + (", ..." if len(task.classes) > _MAX_CLASSES else "")
    many = "labels" if task.kind == "multilabel" else "classes"
    text = _quoted(task.text[0]) if len(task.text) == 1 else f"[{', '.join(map(_in_list, task.text))}]"
    section = [
        "task:",
        _line("kind", task.kind, "classification, multilabel for any number of labels, or regression for numbers"),
        *([_line("name", _quoted(name), "in run names and tables")] if name else []),
        _line("text", text, "a column, or two that are a pair: [question, answer]"),
        _line("label", _quoted(task.label), f"{len(task.classes)} {many}: {classes}" if classes else "numbers"),
        _line("metric", *_METRICS[task.kind]),
    ]
    if classes:
        # Only a short list of names is complete.
        names = f"[{', '.join(map(_in_list, task.classes))}]" if len(task.classes) <= _MAX_CLASSES else "[...]"
        section.append(f"  # label_names: {_comment(names)}   # the order of a fine-tuned model's outputs; or sorted")
    named = (*task.text, task.label, *(value for key in _NOTES if isinstance(value := getattr(data, key), str)))
    if (odd := next((each for each in named if "${" in each), None)) is not None:
        raise UserError(f"--data: {odd!r} would be read as an environment variable in a recipe; rename it")
    rows = [
        _line(key, _quoted(value) if isinstance(value, str) else json.dumps(value), note)
        for key, note in _NOTES.items()
        if (value := getattr(data, key)) not in (None, False)
    ]
    needs = data.folder or data.train or ""
    return _render(name or task.kind, needs, "\n".join(section), "\n".join(rows), model, file, cpus, "")


def _line(key: str, value: str, note: str) -> str:
    """A key of a section, with a comment."""
    return f"{f'  {key}: {value}'.ljust(28)} # {_comment(note)}" if note else f"  {key}: {value}"


def _render(title: str, needs: str, task: str, rows: str, model: str, file: str, cpus: int, more: str) -> str:
    if not model.strip():
        raise UserError("--model: empty; give a model's folder or a name on the hub")
    models = os.environ.get("MINIDISC_MODELS")
    if models and not Path(model).exists() and (Path(models) / model).is_dir():
        raise UserError(f"--model: there is no folder {model} here; is '${{MINIDISC_MODELS}}/{model}' meant?")
    others = [kind for kind in _kinds("objective") if kind != "ltsd"]
    return _TEMPLATE.format(
        title=title,
        needs=_comment(f"{needs}, {Path(model).name}"),
        file=file,
        more=more,
        task=task,
        files=rows,
        model=_quoted(model),
        schedule=_SCHEDULE.replace("SCHEDULES", ", ".join(_kinds("schedule"))).rstrip(),
        objectives=_wrapped(f"logits and last hidden states; {', '.join(others)}: docs/objectives.md"),
        cpus=cpus,
    )


def _kinds(section: str) -> list[str]:
    """The kinds of a section of the recipe, in the config's order."""
    return [kind for member in union_at(RunConfig, (section,)) for kind in kinds_of(member)]


def _wrapped(comment: str) -> str:
    """A comment beside a key, in lines as long as the template's."""
    return f"\n{' ' * _COMMENT_COLUMN}# ".join(textwrap.wrap(comment, _COMMENT_WIDTH))


def _comment(text: str) -> str:
    """A text as part of a comment, which ends with its line."""
    return " ".join(printable(text, kept="").split())


def _in_list(text: str) -> str:
    """Quote a text for a list in brackets, where commas and brackets separate."""
    return json.dumps(text, ensure_ascii=False) if re.search(r"[\[\]{},]", text) else _quoted(text)


def _quoted(text: str) -> str:
    """Quote a text for YAML where it would be read as something else than text."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{text!r} is not valid Unicode; give another name") from error
    return yaml.safe_dump(text, default_style=None, width=10_000).removesuffix("\n").removesuffix("\n...")
