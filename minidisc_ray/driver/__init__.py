"""Which process owns a run, and how another one stops it."""
