"""Pure functions and frozen dataclasses: tensors in, tensors out; no modules, no files, no Ray."""
