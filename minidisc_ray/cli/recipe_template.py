"""The commented recipe that ``minidisc init`` writes."""

from pathlib import Path
from typing import get_args

import yaml

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.task import GlueTask

# Learning rates are larger than the papers': on a laptop a 22M model trains for few steps.
_TEMPLATE = """\
# {title}, compressed to 10% by MiniDisc. Needs: {needs}.
#   minidisc plan {file}
#   minidisc run {file}
#   minidisc run {file} --set schedule.kind=conventional      # or sparse_teacher, assistant, maxidisc: the same recipe
# From the hub instead: --set data.kind=hub --set teacher.path=bert-base-uncased

task: {task}

data:
  kind: files                # files, hub, or builtin
  folder: {folder}   # holds train.* and validation.*: .jsonl[.gz], .csv, .tsv or .parquet
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

schedule:
  kind: minidisc             # conventional, assistant (one at schedule.assistant_percent), minidisc, maxidisc
  scales: {{kind: step, step_percent: 5}}     # candidates 95, 90, ..., 15
  # search: race             # drops candidates that cannot win, and chooses early: about a third of the cost
  # num_sampled: 6           # candidates trained at each step; in a race 3
  selection: {{kind: lambda, lam: 0.2}}       # or {{kind: negative_derivative}}

objective:
  kind: ltsd                 # logits and last hidden states; labels, kd, pkd, ckd, ltad, tinybert, minilm, od, hs,
                             # minilmv2, directminilm, distiller, sum, sequence: docs/objectives.md

pruning:
  ranking: global            # heads and neurons of all layers compete; local: each layer keeps its share
  neuron_multiple: 8

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


def render_recipe(task: str, model: str, data: str | None, file: str, cpus: int) -> str:
    """Make the text of a recipe for a GLUE task.

    Raises:
        UserError: if the task is not a GLUE task, or the model is empty.
    """
    tasks = get_args(GlueTask)
    if task not in tasks:
        raise UserError(f"--task: {task} is not a GLUE task; use one of {', '.join(tasks)}, or write your own recipe")
    if not model.strip():
        raise UserError("--model: empty; give a model's folder or a name on the hub")
    folder = data or f"${{MINIDISC_DATA}}/{task}"
    return _TEMPLATE.format(
        title=task.upper(),
        needs=" ".join(f"{folder}, {Path(model).name}".split()),
        file=file,
        task=task,
        folder=_quoted(folder),
        model=_quoted(model),
        cpus=cpus,
    )


def _quoted(text: str) -> str:
    """Quote a text for YAML where it would be read as something else than text."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{text!r} is not valid Unicode; give another name") from error
    return yaml.safe_dump(text, default_style=None, width=10_000).removesuffix("\n").removesuffix("\n...")
