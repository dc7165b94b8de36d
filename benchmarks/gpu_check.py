"""Runs the sections of the GPU check independently; benchmarks/gpu.sh describes how to run it, and what it needs.

The exit status is 1 if a section failed: its numbers are wrong, it raised an error, or it exceeded its budget. A missed
target is no failure; the table and gpu.json list it.
"""

import argparse
import importlib
import importlib.metadata
import json
import os
import platform
import signal
import subprocess
import sys
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import torch

# Name -> module, function and budget in seconds; 7.5 minutes in all.
SECTIONS = {
    "objectives": ("gpu_numerics", "objectives", 70),
    "sandwich": ("gpu_speed", "sandwich", 100),
    "cache": ("gpu_speed", "cache", 40),
    "latency": ("gpu_speed", "latency", 40),
    "sharing": ("gpu_speed", "sharing", 80),
    "mrpc": ("gpu_numerics", "mrpc", 120),
}
VERSIONS = ("torch", "transformers", "numpy", "pydantic", "POT", "tensorboardX")


def main() -> int:
    """Run the sections, write gpu.json, print a table, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="cuda or cpu")
    parser.add_argument("--small", action="store_true", help="tiny sizes, on the built-in task")
    parser.add_argument("--only", nargs="*", choices=list(SECTIONS), help="sections to run; by default all of them")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("there is no GPU here; use --device cpu --small to try the check")
    if arguments.device == "cpu":
        torch.set_num_threads(1)  # more threads do not speed up tiny products
    sections: dict[str, Any] = {}
    report = {"machine": _machine(arguments), "versions": _versions(), "commit": _commit(), "sections": sections}
    path = Path(os.environ.get("OUT") or ".") / "gpu.json"
    started_at = time.perf_counter()
    for name in arguments.only or SECTIONS:
        print(f"{name} ...", flush=True)
        sections[name] = _run(name, arguments)
        report["seconds"] = time.perf_counter() - started_at
        # After each section, so that its results are kept if the next one crashes.
        path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    _print_table(report, path)
    return int(any(section["status"] == "failed" for section in sections.values()))


class _OverBudgetError(BaseException):
    """A BaseException, so that code that catches every Exception lets it through."""


def _run(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run one section; an error of it becomes part of the outcome."""
    module, function, budget = SECTIONS[name]
    outcome: dict[str, Any] = {"status": "failed", "budget_seconds": budget, "numbers": {}, "targets": {}}
    started_at = time.perf_counter()

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        raise _OverBudgetError(f"the section took longer than its {budget} seconds")

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(budget)
    try:
        found = asdict(getattr(importlib.import_module(module), function)(_bench(arguments)))
        outcome |= {**found, "status": "failed" if found["flaws"] else "ok"}
    except (Exception, _OverBudgetError) as error:  # noqa: BLE001
        traceback.print_exc()
        outcome["flaws"] = [f"{type(error).__name__}: {error}"]
    finally:
        signal.alarm(0)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return {**outcome, "seconds": time.perf_counter() - started_at}


def _bench(arguments: argparse.Namespace) -> Any:
    kit = importlib.import_module("gpu_kit")
    places = {"MINIDISC_DATA": "mrpc", "MINIDISC_MODELS": "minilm-l6"}
    folders = [Path(os.environ.get(variable) or "/nowhere") / name for variable, name in places.items()]
    if arguments.small or not all(folder.is_dir() for folder in folders):
        folders = []
    sizes = kit.SMALL if arguments.small else kit.Sizes()
    return kit.Bench(torch.device(arguments.device), sizes, *(str(folder) for folder in folders))


def _machine(arguments: argparse.Namespace) -> dict[str, Any]:
    is_gpu = arguments.device == "cuda"
    return {
        "device": torch.cuda.get_device_name() if is_gpu else platform.processor() or platform.machine(),
        "device_memory_gib": torch.cuda.get_device_properties(0).total_memory / 2**30 if is_gpu else None,
        "cpus": os.cpu_count(),
        "system": platform.platform(),
        "small": arguments.small,
    }


def _versions() -> dict[str, str | None]:
    found: dict[str, str | None] = {"python": platform.python_version(), "cuda": torch.version.cuda}
    for name in VERSIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def _commit() -> str | None:
    if given := os.environ.get("MINIDISC_COMMIT"):
        return given
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() or None
    except (OSError, subprocess.CalledProcessError):
        return None


def _print_table(report: dict[str, Any], path: Path) -> None:
    versions, machine = report["versions"], report["machine"]
    print(f"\n{machine['device']}, torch {versions['torch']}, transformers {versions['transformers']}, "
          f"commit {report['commit']}, {report['seconds']:.0f} s")  # fmt: skip
    for name, section in report["sections"].items():
        print(f"\n{name:<12} {section['status']:<7} {section['seconds']:5.1f} s")
        if name == "objectives":  # targets have the worst of them
            print(f"  {'objectives that agree':<34} {_agreeing(section)}")
        else:
            for key, value in section["numbers"].items():
                print(f"  {key:<34} {_shown(value)}")
        for key, target in section["targets"].items():
            print(f"  {key:<34} {_shown(target['value'])}   {target['target']}: {target['result']}")
        for line in (*section["flaws"], *section.get("notes", ())):
            print(f"  {line}")
    print(f"\nall numbers: {path}")


def _agreeing(section: dict[str, Any]) -> str:
    compared = len(section["numbers"])
    wrong = sum(flaw.split(":")[0] in section["numbers"] for flaw in section["flaws"])
    return f"{compared - wrong} of {compared}"


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(one)}" for key, one in value.items()) or "-"
    if isinstance(value, list):
        return " | ".join(_shown(one) for one in value)
    return "-" if value is None else str(value)


if __name__ == "__main__":
    sys.exit(main())
