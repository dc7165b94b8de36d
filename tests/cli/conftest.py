import pytest
from cli_kit import CommandLine


@pytest.fixture
def minidisc(capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(capsys)
