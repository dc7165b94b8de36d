"""What a command that needs a finished run says of one that is not: how far it is, and what resumes it."""

import shlex
import time
from pathlib import Path

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.redact import MASK
from minidisc_ray.configs.yaml_text import load_yaml
from minidisc_ray.driver.driver import driver_of, seems_alive
from minidisc_ray.files.places import place_of, uri_of
from minidisc_ray.files.reading import read_regular
from minidisc_ray.run_files.failures import read_failure
from minidisc_ray.run_files.progress import read_progress
from minidisc_ray.schedules.plan import MAIN_TRIAL


def unfinished_error(folder: Path) -> UserError | None:
    """The error for the folder of a run without a result; None if it is no run's, or the run is finished.

    Raises:
        OSError: if the folder cannot be read.
    """
    if not (folder / "identity.json").is_file() or (folder / "result.json").exists():
        return None
    driver, place = driver_of(folder), place_of(folder)
    if driver is not None and seems_alive(driver, time.time()):
        after = f"{driver.title} runs it now, and `minidisc status {place}` shows how far it is"
        return UserError(f"{place}: this run is not finished{_where(folder)}; {after}")
    if (reason := read_failure(folder, MAIN_TRIAL)) is not None:
        return UserError(f"{place}: this run failed{_where(folder)} ({reason}); {_resume_text(folder)}")
    return UserError(f"{place}: this run is not finished{_where(folder)}; {_resume_text(folder)}")


def resume_command(folder: Path) -> str | None:
    """The command that resumes a run, by the config in its folder; None if secrets were masked in it, or it is gone."""
    path = folder / "config.yaml"
    try:
        text = read_regular(path).decode()
        config = load_yaml(text)
    except (OSError, ValueError):
        return None
    if MASK in text or not isinstance(config, dict):
        return None
    # The folder may have moved, or this machine may have it at another path.
    has_moved = uri_of(folder) is None and config.get("storage") != str(folder.resolve().parent)
    storage = ["--storage", str(folder.parent)] if has_moved else []
    return shlex.join(["minidisc", "run", str(path), *storage])


def _resume_text(folder: Path) -> str:
    command = resume_command(folder)
    return "run its recipe again to resume it" if command is None else f"`{command}` resumes it"


def _where(folder: Path) -> str:
    """The stage that the run was at last, of the trial that was last at work; empty where no progress is known."""
    progress = max(read_progress(folder), key=lambda one: one.updated_at, default=None)
    if progress is None:
        return ""
    trial = "" if progress.trial == MAIN_TRIAL else f"trial {progress.trial}, "
    step = f", step {progress.step} of {progress.num_steps}" if progress.num_steps else ""
    return f": {trial}stage {progress.stage_index} of {progress.num_stages}, {progress.stage}{step}"
