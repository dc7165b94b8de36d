"""What quick commands import: a listing must cost neither torch nor Ray."""

import json
import subprocess
import sys

import pytest
from pipeline_kit import run

SLOW = {"torch", "transformers", "ray", "pandas", "sklearn", "scipy", "matplotlib", "pyarrow"}
CODE = """
import json, sys
from minidisc_ray.cli import main
try:
    main(sys.argv[1:])
except SystemExit as ended:
    code = ended.code
print()
print("IMPORTED", code, json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    root = tmp_path_factory.mktemp("quick")
    run(root, "conventional")
    return root


def imported(*arguments):
    done = subprocess.run(
        [sys.executable, "-c", CODE, *map(str, arguments)], check=False, capture_output=True, text=True
    )
    _, code, modules = done.stdout.splitlines()[-1].split(" ", 2)
    assert code == "0", done.stdout + done.stderr
    return set(json.loads(modules))


def test_the_package_itself():
    code = "import sys, minidisc_ray; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert SLOW.isdisjoint(done.stdout.split())


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("--version",),
        ("ls", "--storage", "{storage}"),
        ("ls", "--storage", "{storage}", "--format", "json"),
        ("status", "{storage}"),
        ("clean", "{storage}", "--dry-run"),
        ("init", "--task", "mrpc", "--model", "m", "--output", "{storage}/recipe.yaml", "--force"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_commands_over_a_folder(storage, arguments):
    assert SLOW.isdisjoint(imported(*(argument.format(storage=storage) for argument in arguments)))


def test_stopping_what_does_not_run(storage):
    (name,) = [path.name for path in storage.iterdir() if path.name != "_shared" and path.is_dir()]
    assert SLOW.isdisjoint(imported("stop", name, "--storage", storage))


def test_ctrl_c_while_the_commands_are_imported_is_one_line():
    code = """
import signal, sys
from minidisc_ray.cli import main

class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == "minidisc_ray.cli.app":
            signal.raise_signal(signal.SIGINT)

# A shell's background jobs start with SIGINT ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Interrupts())
main(["ls"])
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "minidisc: stopped\n")
