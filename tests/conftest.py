"""Fixtures that several rooms share; models and rows themselves are made in ``tiny_models``."""

import functools
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch
from bucket_kit import flush_uploads, gs_server, make_bucket, s3_server
from storage_kit import mount, unmount
from tiny_models import FAMILY_NAMES, tiny_model
from transformers import PreTrainedModel

from minidisc_ray.data import Rows, builtin_rows, splits
from minidisc_ray.data.builtin import Split

torch.set_num_threads(1)
REPOSITORY = Path(__file__).parents[1]
# Rooms by their longest files, as ``--durations`` shows them. What starts a Ray of its own comes late: beside the
# shared one, each would take the other's cores.
LONG_ROOMS = (
    "files", "pipeline", "benchmarks", "security", "training", "cli", "export", "models", "study", "ray_backend",
    "fuzz", "reports", "recipes",
)  # fmt: skip


# What tests of several files of a room share for a session, as their files name it.
SHARED = (("ray_backend", "local_ray"), ("study", "findings_kit"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Over several processes tests go file by file, but files whose tests share what is costly go to one, as one."""
    from xdist.scheduler import LoadScopeScheduling

    class OneProcessForShared(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::")[0]
            return _shared_by(file) or file

    return OneProcessForShared(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first: the shared Ray, then rooms by their longest file, which else ends after all."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: _place_in_line(item.nodeid.split("::")[0]))


def _place_in_line(file: str) -> int:
    if _shared_by(file) == "local_ray":
        return 0
    room = Path(file).parts[1]
    return 1 + (LONG_ROOMS.index(room) if room in LONG_ROOMS else len(LONG_ROOMS))


@functools.cache
def _shared_by(file: str) -> str | None:
    """What a file's tests share with those of other files: one Ray (others start their own, or none), or runs."""
    text = (REPOSITORY / file).read_text(encoding="utf-8")
    return next((name for room, name in SHARED if f"/{room}/" in file and name in text), None)


@pytest.fixture(params=FAMILY_NAMES)
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def model(family: str) -> PreTrainedModel:
    """A tiny model in eval mode, fresh for each test."""
    return tiny_model(family)


@pytest.fixture(autouse=True, scope="session")
def _no_power_cuts() -> Iterator[None]:
    """Syncing to the disk takes most of a tiny run's time, and no test cuts the power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def _same_rows() -> Iterator[None]:
    """The built-in task's rows are made once: hundreds of tests prepare a run, and of each most is this."""

    @functools.cache
    def made(split: Split, rows: int, seed: int, but_weight: int) -> Rows:
        return builtin_rows(split, rows, seed, but_weight)

    def copied(split: Split, rows: int, seed: int, but_weight: int) -> Rows:
        found = made(split, rows, seed, but_weight)
        return Rows(tuple(list(texts) for texts in found.texts), found.labels.copy())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splits, "builtin_rows", copied)
        yield


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither use nor fill the cache of the user who runs them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINIDISC_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a storage of some size (``2m``), where the system lets us."""
    mounted: list[Path] = []

    def make(size: str) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        mount(folder, size)
        mounted.append(folder)
        return folder

    yield make
    for folder in mounted:
        unmount(folder)


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[str], dict[str, str]]]:
    """Starts a bucket's server, once for each scheme, and gives the environment in which it is reached."""
    with ExitStack() as stack:

        @functools.cache
        def started(scheme: str) -> dict[str, str]:
            for module in ("moto", "flask_cors") if scheme == "s3" else ("gcp_storage_emulator",):
                pytest.importorskip(module)
            return stack.enter_context(s3_server() if scheme == "s3" else gs_server())

        yield started


@pytest.fixture(scope="session", params=("s3", "gs"))
def store(request: pytest.FixtureRequest, servers: Callable[[str], dict[str, str]]) -> tuple[str, dict[str, str]]:
    """A scheme, and the environment of a server on loopback that it is of."""
    return request.param, servers(request.param)


@pytest.fixture
def bucket(
    store: tuple[str, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[str]:
    """The URI of a storage in a bucket of the test's own, with a cache of its own."""
    scheme, environment = store
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("MINIDISC_CACHE", str(tmp_path / "cache"))
    # A bucket's name has 63 letters at most, and parameters stand at the end of a test's.
    name = re.sub("[^a-z0-9]+", "-", request.node.name.lower())[-50:].strip("-")
    make_bucket(scheme, name)
    yield f"{scheme}://{name}/team/runs"
    flush_uploads()
