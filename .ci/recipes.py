"""Plan every recipe and check every study on the data that is there, in one process; ``make recipes`` calls it."""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import yaml

from minidisc_ray.api.plans import describe_plan
from minidisc_ray.api.studies import prepare_study
from minidisc_ray.configs.base import UserError

ROOT = Path(__file__).parents[1]


def main() -> int:
    """Print a line for each file; 1 if a file has a mistake."""
    data = os.environ.get("MINIDISC_DATA")
    if data is None or "MINIDISC_MODELS" not in os.environ:
        print("recipes: not planned, MINIDISC_DATA and MINIDISC_MODELS are not set")
        return 0
    failed = 0
    with tempfile.TemporaryDirectory() as storage:
        for path in sorted((ROOT / "recipes").glob("*.yaml")):
            task = yaml.safe_load(path.read_text(encoding="utf-8"))["task"]
            if not (Path(data) / task).is_dir():
                print(f"{path.relative_to(ROOT)}: not planned, MINIDISC_DATA has no {task}", flush=True)
                continue
            failed += _check(path, partial(describe_plan, path, [f"storage={storage}"]))
        for path in sorted((ROOT / "studies").glob("*.yaml")):
            failed += _check(path, partial(prepare_study, path, storage=storage))
    return 1 if failed else 0


def _check(path: Path, call: Callable[[], object]) -> int:
    started = time.monotonic()
    try:
        call()
    except UserError as error:
        print(f"{path.relative_to(ROOT)}: {error}", flush=True)
        return 1
    print(f"{path.relative_to(ROOT)}: ok, {time.monotonic() - started:.1f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
