"""Compress a fine-tuned transformer through a teacher assistant found in one trial, on Ray.

Importing the package makes Hugging Face's Auto classes know pruned students, whichever is imported first. It imports
neither torch nor transformers by itself.
"""

import importlib
from typing import Any

from minidisc_ray.models.registration import register_when_imported as _register_when_imported

__all__ = ["RunConfig", "RunResult", "UserError", "compare", "evaluate", "open_family", "plan", "predict", "run"]

_HOMES = {"RunConfig": "configs", "UserError": "configs", "RunResult": "run_files.result"}

_register_when_imported()


def __getattr__(name: str) -> Any:
    """Load the rest of the package when it is first used: loading a student must not cost importing the pipeline."""
    if name == "__version__":
        # Here and not above: few ask, and importing it takes a third of importing this package.
        from importlib.metadata import version

        return version("minidisc-ray")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'api')}"), name)
