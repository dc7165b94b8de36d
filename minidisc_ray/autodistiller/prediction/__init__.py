"""Predicts results of configurations on a task, and recommends the best (Distiller, section 3.1)."""
