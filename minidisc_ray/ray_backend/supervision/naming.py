"""Names of actors in the dashboard, the state API and prefixes of log lines: the run and the trial.

Ray takes an actor's name there from ``repr`` once its constructor is done. Ray Train makes its own actors, so their
classes get a ``__repr__`` in the controller's process; that is a developer interface, so Ray is pinned to a minor
release, and a test reads the names of a real group.
"""

from typing import Any

from ray.train.v2._internal.execution.callback import ControllerCallback
from ray.train.v2._internal.execution.controller.controller import TrainController
from ray.train.v2._internal.execution.worker_group.worker import RayTrainWorker
from ray.train.v2._internal.execution.worker_group.worker_group import WorkerGroup


def actor_name(run: str, trial: str) -> str:
    """The name of a trial's actors: ``RUN/TRIAL``."""
    return f"{run}/{trial}"


class NamingCallback(ControllerCallback):
    """Names a Ray Train controller and its workers after their trial.

    Args:
        name: of the trial, from :func:`actor_name`.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def after_controller_start(self, train_run_context: Any) -> None:  # noqa: ARG002
        """Name this process's controller, whose constructor calls this, and the workers that it will start."""
        # The process is this controller's alone, so other trials keep their own names.
        TrainController.__repr__ = _returning(f"{self.name} controller")
        named = {"__repr__": _returning(f"{self.name} worker"), "__module__": __name__}
        WorkerGroup._worker_cls = type(RayTrainWorker.__name__, (RayTrainWorker,), named)


def _returning(text: str) -> Any:
    # A closure, which Ray can send to the workers' processes by value.
    return lambda _: text
