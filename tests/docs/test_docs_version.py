"""One version: pyproject's, which the changelog's newest section and the command have too."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

import minidisc_ray
from minidisc_ray.cli import main

ROOT = Path(__file__).parents[2]


def test_the_changelogs_newest_version_is_pyprojects():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    versions = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    released = [number for number in versions if number != "Unreleased"]
    assert released[0] == project["version"]
    assert "Unreleased" not in versions[1:], "it stands first"
    assert released == sorted(released, key=lambda number: [int(part) for part in number.split(".")], reverse=True)


def test_the_command_and_the_package_say_what_is_installed(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code in (0, None)
    assert capsys.readouterr().out == f"minidisc {version('minidisc-ray')}\n"
    assert minidisc_ray.__version__ == version("minidisc-ray")
