"""Prints the losses of recipes to the last digit, at a small budget; compare the output before and after a change.

    python benchmarks/loss_digits.py recipes/*.yaml > before.txt
    # change the code
    python benchmarks/loss_digits.py recipes/*.yaml > after.txt
    diff before.txt after.txt

Each line is one epoch of one stage, with the ``repr`` of its mean loss terms and selection metrics. The two files are
equal unless the change is meant to change numbers. One thread, fixed seed, no teacher cache.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from minidisc_ray.configs.loader import load_recipe
from minidisc_ray.files.storage import Storage
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.pipeline.stages import distil, sandwich, teacher
from minidisc_ray.preparation.prepare import prepare

# Two rows a step give about 220 steps an epoch, more than the 50 batches of a length pool.
SMALL = (
    "data.max_train_rows=500",
    "data.max_validation_rows=100",
    "data.max_length=32",
    "compute.teacher_cache_gib=0",
    "compute.cpus_per_worker=1",
    "teacher.allow_at_chance=true",
    *(
        f"{stage}={{num_epochs: 1, batch_size: 2, learning_rate: 1e-4, early_stop_epochs: null}}"
        for stage in ("finetune", "distil")
    ),
)


def main() -> None:
    """Print the losses of the given recipes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="+", type=Path)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="a.b=c")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for recipe in arguments.recipes:
        print_digits(recipe, (*SMALL, *arguments.overrides))


def print_digits(recipe: Path, overrides: tuple[str, ...]) -> None:
    """Run a recipe in a temporary storage, and print the losses and metrics of each stage and model."""
    for module in (distil, sandwich, teacher):
        module.train = _printing(module.train, recipe.stem)  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as storage:
        result = run_in_process(prepare(load_recipe(recipe, [*overrides, f"storage={storage}"])))
    for name, metrics in (("teacher", result.teacher), ("student", result.student)):
        print(recipe.stem, name, dict(sorted(metrics.validation_metrics.items())))
    sys.stdout.flush()


def _printing(train: Any, recipe: str) -> Any:
    train = getattr(train, "unwrapped", train)

    def printing(
        learner: Any, rows: Any, training: Any, seed: int, storage: Storage, folder: Path, *others: Any
    ) -> Any:
        state = train(learner, rows, training, seed, storage, folder, *others)
        for epoch in state.history:
            metrics = {scale: dict(sorted(found.items())) for scale, found in sorted(epoch.metrics.items())}
            print(recipe, folder.name, epoch.epoch, dict(sorted(epoch.losses.items())), metrics, flush=True)
        return state

    printing.unwrapped = train  # type: ignore[attr-defined]
    return printing


if __name__ == "__main__":
    main()
