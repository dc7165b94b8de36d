"""Seconds from a command to the first optimiser step of each of its runs.

python benchmarks/first_step.py --storage NEW_FOLDER -- demo
python benchmarks/first_step.py --storage NEW_FOLDER --stop -- run recipe.yaml      # stop at the first step

The storage must be new, as finished runs are not run again. Times are from the progress files, which are written about
once a second and read every 20 ms.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from minidisc_ray.run_files.progress import read_progress

_POLL_SECONDS = 0.02


def main() -> None:
    """Run the command, and print when each of its runs took its first step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--storage", type=Path, required=True, help="a folder that does not exist yet")
    parser.add_argument("--stop", action="store_true", help="stop the command at its first step")
    parser.add_argument("command", nargs="+", help="of minidisc, without --storage")
    arguments = parser.parse_args()
    if arguments.storage.exists():
        parser.error(f"--storage: {arguments.storage} exists; give a new one")
    started_at = time.time()
    process = subprocess.Popen(
        [sys.executable, "-m", "minidisc_ray.cli", *arguments.command, "--storage", str(arguments.storage)],
        stdout=subprocess.DEVNULL,
        env=dict(os.environ),
    )
    first_steps, results = watch(process, arguments.storage, arguments.stop)
    for name, at in sorted(first_steps.items(), key=lambda entry: entry[1]):
        before = [result_at for result_at in results.values() if result_at < at]
        after_result = f", {at - max(before):.1f} s after the result before" if before else ""
        print(f"{name}: first step after {at - started_at:.1f} s{after_result}")
    print(f"whole command: {time.time() - started_at:.1f} s, exit code {process.returncode}")


def watch(process: subprocess.Popen[bytes], storage: Path, stop: bool) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds since the epoch at which each run took its first step, and at which it had its result."""
    first_steps: dict[str, float] = {}
    results: dict[str, float] = {}
    while process.poll() is None:
        for folder in storage.glob("*/progress"):
            run = folder.parent
            if run.name not in first_steps and any(progress.step for progress in read_progress(run)):
                first_steps[run.name] = time.time()
            if (run / "result.json").exists():
                results.setdefault(run.name, time.time())
        if stop and first_steps:
            process.terminate()
            process.wait()
        time.sleep(_POLL_SECONDS)
    return first_steps, results


if __name__ == "__main__":
    main()
