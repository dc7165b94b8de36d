"""Compress a fine-tuned transformer through a teacher assistant found in one trial, on Ray.

Importing the package makes Hugging Face's Auto classes know pruned students.
"""

from minidisc_ray.models.pruned import register as _register

__version__ = "0.1.0"

_register()
