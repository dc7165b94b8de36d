"""MLflow, an optional extra: whether it is there, and with which settings it is imported."""

import importlib
import os
from typing import Any

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.run import RunConfig
from minidisc_ray.configs.tracking import MLflowTrackingConfig

_ENVIRONMENT = {
    # Neither Git's revision nor usage statistics are this package's to send.
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Who names a folder means a folder, though MLflow would rather have a database.
    "MLFLOW_ALLOW_FILE_STORE": "true",
    # By default a server that is away would hold up a finished run for many minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}


def check_tracking(config: RunConfig) -> None:
    """Refuse a recipe that asks for MLflow where there is none, before anything starts.

    Raises:
        UserError: if the package is not installed.
    """
    if isinstance(config.track, MLflowTrackingConfig):
        import_mlflow()


def import_mlflow() -> Any:
    """The module.

    Raises:
        UserError: if the package is not installed.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        return importlib.import_module("mlflow")
    except ImportError as error:
        raise UserError(
            "track.kind: mlflow needs the package of that name, which is not installed; install minidisc_ray[mlflow]"
        ) from error
