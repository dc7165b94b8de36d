"""The README's commands: ten a way, and each that we or Ray can parse is parsed by the program that it calls."""

import importlib.util
import itertools
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import typer
import yaml
from cluster_kit import CLUSTER, ROOT, Command, code_blocks, commands, load

from minidisc_ray.cli.app import app
from minidisc_ray.configs import load_recipe
from minidisc_ray.configs.study.study import load_study, study_runs

README = CLUSTER / "README.md"
WAYS = ("AWS", "Kubernetes", "Two machines in an office")
# Programs of others, which are not asked.
FOREIGN = {"aws", "chmod", "curl", "docker", "gcloud", "helm", "kubectl", "mkdir", "pip", "scp", "ssh", "umask"}
SHELL = {"export", "for", "source", "python3"}
REFUSALS = (click.ClickException, typer.BadParameter.__mro__[1])
JOBS = {"study.py": "study", "compare.py": "compare"}


def check(command: Command) -> None:
    """Whether the program that a command calls takes its words.

    Raises:
        Exception: click's, if Ray's or our own command line refuses them.
        AssertionError: if it is nobody's, or names a file or a module that is not there.
    """
    name, *words = command.words
    for word in command.words:
        path = word.rpartition("=")[2]
        if path.startswith(("cluster/", "jobs/", "recipes/", "studies/")):
            assert (ROOT / path).is_file(), path
    if name == "ray":
        from ray.scripts.scripts import cli

        _parse(cli, "ray", words)
    elif name == "minidisc":
        _parse(typer.main.get_command(app), "minidisc", words)
    elif name == "python":
        _check_python(words)
    else:
        assert name in FOREIGN | SHELL, f"nobody's command: {name}"


def _parse(command: Any, name: str, words: list[str]) -> None:
    # Ray's is click's own; Typer carries a click of its own, whose classes are others.
    if words[-1:] == ["--"]:
        # What follows is a command of its own.
        words = [*words, "true"]
    while hasattr(command, "commands"):
        assert words[0] in command.commands, f"{name} has no command {words[0]}"
        command, name, words = command.commands[words[0]], words[0], words[1:]
    command.make_context(name, list(words))


def _check_python(words: list[str]) -> None:
    script, *arguments = words
    if script == "cluster/wait_for_nodes.py":
        numbers = dict(zip(arguments[0::2], arguments[1::2], strict=False))
        assert set(numbers) - {"--"} <= {"--nodes", "--cpus", "--gpus", "--minutes"}
        return
    assert script.startswith("jobs/"), script
    subcommand = JOBS.get(Path(script).name, "run")
    _parse(typer.main.get_command(app), "minidisc", [subcommand, *arguments])
    overrides = [after for before, after in itertools.pairwise(arguments) if before == "--set"]
    if subcommand == "study":
        budget = arguments[arguments.index("--budget") + 1] if "--budget" in arguments else None
        assert list(study_runs(load_study(ROOT / arguments[0], overrides, budget)))
    elif subcommand == "run":
        load_recipe(ROOT / arguments[0], overrides)


@pytest.fixture
def anywhere(monkeypatch):
    monkeypatch.setenv("MINIDISC_DATA", "/data/of/anybody")
    monkeypatch.setenv("MINIDISC_MODELS", "/models/of/anybody")


@pytest.mark.parametrize("way", WAYS)
def test_each_way_has_ten_commands_in_order(way):
    block = next(block for section, block in code_blocks(README) if section == way)
    numbers = [match.group(1) for line in block if (match := re.match(r"# (\d+)\. ", line))]
    assert numbers == [str(number) for number in range(1, 11)]
    assert all(not line.startswith("#") for line in block[1::2]), "a line of words, a command, and so on"
    assert len(block) == 20
    for line in block[1::2]:
        subprocess.run(["bash", "-n", "-c", line], check=True, capture_output=True)


def test_every_command_is_taken_by_the_program_that_it_calls(anywhere):
    found = commands(README)
    for command in found:
        check(command)
    called = {command.words[:2] for command in found}
    assert {("ray", "up"), ("ray", "down"), ("ray", "dashboard"), ("ray", "start"), ("minidisc", "status")} <= called
    assert sum(command.words[0] == "python" for command in found) == 5
    assert {Path(c.words[1]).name for c in found if c.words[0] == "python"} == {"study.py", "wait_for_nodes.py"}


@pytest.mark.parametrize(
    "line",
    [
        "ray upp cluster/aws.yaml",
        "ray up --yess cluster/aws.yaml",
        "ray job submit --no-wiat -- true",
        "minidisc statsu /mnt/minidisc/runs",
        "minidisc status --wach /mnt/minidisc/runs",
        "python jobs/study.py studies/table-5.yaml",
        "python jobs/study.py studies/table-05.yaml --budget papre",
        "python jobs/study.py studies/table-05.yaml --set recipe.compute.max_trials=4",
        "kubeclt apply",
    ],
)
def test_a_mistake_in_a_command_is_found(anywhere, line):
    with pytest.raises((*REFUSALS, ValueError, AssertionError)):
        check(Command("", tuple(shlex.split(line))))


def test_no_command_opens_the_dashboard_or_leaves_out_the_token():
    text = README.read_text(encoding="utf-8")
    assert "0.0.0.0" not in text
    for way in WAYS:
        words = [c.words for c in commands(README) if c.section == way]
        assert any("RAY_AUTH_MODE=token" in command for command in words)
        assert ("ray", "get-auth-token", "--generate") in words
    for command in commands(README):
        if "--head" in command.words:
            assert "--dashboard-host=127.0.0.1" in command.words


def test_a_rayjobs_entrypoint_is_a_command_of_ours(anywhere):
    entrypoint = load("kuberay/rayjob.yaml")["spec"]["entrypoint"].replace("/opt/minidisc/", "")
    waiting, job = entrypoint.split(" -- ")
    for line in (f"{waiting} --", job):
        check(Command("", tuple(shlex.split(line))))


def test_waiting_refuses_what_makes_no_sense(capsys):
    spec = importlib.util.spec_from_file_location("wait_for_nodes", CLUSTER / "wait_for_nodes.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    for arguments in (["--nodes", "0", "--", "true"], ["--nodes", "1"], ["--nodes", "1", "--cpus", "0", "--", "true"]):
        with pytest.raises(SystemExit) as ended:
            script.main(arguments)
        assert ended.value.code == 2
        assert "needs --nodes of 1 or more" in capsys.readouterr().err


def test_every_yaml_file_is_named_in_the_readme():
    text = README.read_text(encoding="utf-8")
    for path in CLUSTER.rglob("*.y*ml"):
        yaml.compose_all(path.read_text(encoding="utf-8"))
        assert path.name in text or f"{path.parent.name}/" in text, path
