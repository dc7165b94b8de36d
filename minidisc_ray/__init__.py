"""Compress a fine-tuned transformer through a teacher assistant found in one trial, on Ray.

Importing the package registers pruned students with Hugging Face's Auto classes, whether transformers is imported
before or after it. It imports neither torch nor transformers by itself.
"""

import importlib
from typing import Any

from minidisc_ray.models.registration import register_when_imported as _register_when_imported

__all__ = [
    "RunConfig",
    "RunResult",
    "UserError",
    "compare",
    "evaluate",
    "observe",
    "open_family",
    "plan",
    "predict",
    "run",
]

# Where each name is defined; the others are in the API.
_MODULES = {"RunConfig": "configs", "UserError": "configs", "RunResult": "run_files.result"}

_register_when_imported()


def __getattr__(name: str) -> Any:
    """Import a name's module when the name is first used, so that loading a student does not import the pipeline."""
    if name == "__version__":
        # Imported here: few callers need the version, and this import takes a third of the package's import time.
        from importlib.metadata import version

        return version("minidisc-ray")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES.get(name, 'api')}"), name)
