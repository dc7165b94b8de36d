"""The image: hadolint's judgement, and that it is pinned, not root, and made of what is there."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from cluster_kit import CLUSTER, RAY_VERSION, ROOT

TEXT = (CLUSTER / "Dockerfile").read_text(encoding="utf-8")


def steps() -> list[tuple[str, str]]:
    """Instructions with their arguments, continued lines as one."""
    joined = re.sub(r"^\s*#.*\n", "", TEXT, flags=re.MULTILINE).replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in joined.splitlines()) if word]


def hadolint(path: Path) -> subprocess.CompletedProcess[str]:
    program = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if program is None:
        pytest.skip("no hadolint: it comes with the extra dev on Linux, x86-64")
    return subprocess.run([program, "--no-color", str(path)], capture_output=True, text=True, timeout=60, check=False)


def test_hadolint_has_nothing_to_say():
    done = hadolint(CLUSTER / "Dockerfile")
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("USER 1000:1000", "USRE 1000:1000"),
        ("WORKDIR /opt/minidisc", "WORKDIR opt/minidisc"),
        ("slim-bookworm", "slim-bookworm AS"),
        ("--no-install-recommends ", ""),
    ],
)
def test_hadolint_finds_a_mistake(tmp_path, before, after):
    assert before in TEXT
    (tmp_path / "Dockerfile").write_text(TEXT.replace(before, after), encoding="utf-8")
    assert hadolint(tmp_path / "Dockerfile").returncode != 0


def test_every_install_is_held_to_the_constraints():
    installs = [rest for word, rest in steps() if word == "RUN" and "pip install" in rest]
    assert len(installs) == 2
    assert all("--constraint constraints.txt" in install for install in installs)
    assert "'.[cluster]'" in installs[1]
    (base,) = [rest for word, rest in steps() if word == "FROM"]
    assert base.startswith("python:3.11-slim")
    assert f"minidisc-ray:{RAY_VERSION}-" in TEXT


def test_what_the_launcher_needs_is_pinned_too():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {re.split(r"[<>=]", need)[0] for need in project["optional-dependencies"]["cluster"]}
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pinned = set(re.findall(r"^(\S+)==", constraints, re.MULTILINE))
    assert needed == {"boto3", "google-api-python-client"}
    assert needed <= pinned


def test_it_ends_as_a_user_without_rights_and_with_a_token_asked_for():
    users = [rest for word, rest in steps() if word == "USER"]
    assert users == ["1000:1000"]
    (environment,) = [rest for word, rest in steps() if word == "ENV"]
    settings = dict(word.split("=", 1) for word in environment.split())
    # The launcher reads HOME from here, and takes /root where it is missing.
    assert (settings["RAY_AUTH_MODE"], settings["HOME"]) == ("token", "/home/ray")
    assert "EXPOSE" not in {word for word, _ in steps()}


def test_what_it_copies_is_there_and_travels_to_the_builder():
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored
    travels = {line[1:] for line in ignored if line.startswith("!")}
    copied = {source for word, rest in steps() if word == "COPY" for source in rest.split()[:-1]}
    assert copied == travels
    assert all((ROOT / path).exists() for path in copied)
