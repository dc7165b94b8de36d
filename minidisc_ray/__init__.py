"""Compress a fine-tuned transformer through a teacher assistant found in one trial, on Ray.

Importing the package makes Hugging Face's Auto classes know pruned students.
"""

import importlib
from typing import Any

from minidisc_ray.models.pruned import register as _register

__version__ = "0.1.0"
__all__ = ["RunConfig", "RunResult", "UserError", "compare", "evaluate", "plan", "predict", "run"]

_HOMES = {"RunConfig": "configs", "UserError": "configs", "RunResult": "pipeline.result"}

_register()


def __getattr__(name: str) -> Any:
    """Load the rest of the package when it is first used: loading a student must not cost importing the pipeline."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES.get(name, 'api')}"), name)
