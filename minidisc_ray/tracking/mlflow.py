"""Imports MLflow, an optional extra, with this package's settings, and checks that it is installed."""

import importlib
import os
from typing import Any

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.configs.tracking import MLflowTrackingConfig

_ENVIRONMENT = {
    # A run must not send the Git revision or usage statistics.
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # MLflow refuses a folder as its store by default, but a recipe may name one.
    "MLFLOW_ALLOW_FILE_STORE": "true",
    # With MLflow's defaults an unreachable server would delay the end of a run by many minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}


def check_tracking(config: RunConfig) -> None:
    """Refuse a recipe that asks for MLflow if it is not installed, before anything starts.

    Raises:
        UserError: if the package is not installed.
    """
    if isinstance(config.track, MLflowTrackingConfig):
        import_mlflow()


def import_mlflow() -> Any:
    """The ``mlflow`` module, imported with this package's settings in the environment.

    Raises:
        UserError: if the package is not installed.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        return importlib.import_module("mlflow")
    except ImportError as error:
        raise UserError(
            "track.kind: mlflow needs the mlflow package, which is not installed; install minidisc_ray[mlflow]"
        ) from error
