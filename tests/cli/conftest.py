from collections.abc import Iterator
from contextlib import nullcontext

import pytest
from cli_kit import CommandLine


@pytest.fixture(autouse=True)
def _no_ray() -> Iterator[None]:
    """What is tested here needs no cluster, and a local one takes seconds to start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minidisc_ray.cli.app.early_cluster", lambda address: nullcontext())
        yield


@pytest.fixture
def minidisc(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)
