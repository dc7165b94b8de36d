"""One local Ray for all tests that need one: starting it costs more than most of them."""

import logging
import os
from collections.abc import Iterator

import pytest
from ray_kit import NOT_NICE, WATCHED_SANDWICH, prepared_run

from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.run_files.result import RunResult


@pytest.fixture(scope="session")
def in_one_process(tmp_path_factory: pytest.TempPathFactory) -> tuple[PreparedRun, RunResult]:
    """A run in one process, whose numbers a run on Ray has too, however it is disturbed."""
    prepared = prepared_run(tmp_path_factory.mktemp("one"), "minidisc", WATCHED_SANDWICH)
    return prepared, run_in_process(prepared)


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """Two CPUs, whatever the machine has, so that what waits for what is the same everywhere."""
    import ray

    if ray.is_initialized():
        yield
        return
    os.environ.pop("RAY_ADDRESS", None)
    settings = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1", "RAY_TRAIN_METRICS_ENABLED": "0", "RAY_AIR_NEW_OUTPUT": "0"}
    for name, value in {**settings, **NOT_NICE}.items():
        os.environ.setdefault(name, value)
    ray.init(address="local", num_cpus=2, include_dashboard=True, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()
