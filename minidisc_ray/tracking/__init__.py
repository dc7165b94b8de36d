"""Sends epochs and results to TensorBoard and MLflow; never stops a run."""
