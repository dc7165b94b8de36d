"""Two nodes with a token, as the README starts them in an office, on one machine: head, worker, a job."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest
from cluster_kit import ROOT, load
from office_kit import Office, asked, free_ports, start_office, token_of
from tiny_teacher import TINY_TEACHER

pytestmark = [pytest.mark.ray, pytest.mark.chaos, pytest.mark.timeout(600)]

_ONCE = {"num_epochs": 1, "batch_size": 16, "learning_rate": 2e-3, "early_stop_epochs": None}
RECIPE = {
    "data": {"kind": "builtin", "train_rows": 128, "validation_rows": 64, "test_rows": 32},
    "teacher": TINY_TEACHER,
    "pruning": {"neuron_multiple": 1},
    "finetune": _ONCE,
    "distil": _ONCE,
}


@pytest.fixture(scope="module")
def office() -> Iterator[Office]:
    made = start_office()
    yield made
    made.end()


def test_the_dashboard_asks_for_the_token_and_listens_on_loopback_alone(office):
    jobs = f"{office.dashboard}/api/jobs/"
    assert asked(jobs) == 401
    assert asked(jobs, "0" * 64) == 403
    assert asked(jobs, token_of(office)) == 200
    listening = {
        connection.laddr.ip
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port == office.ports["dashboard"]
    }
    assert listening == {"127.0.0.1"}


def test_the_probes_of_the_manifests_find_both_nodes_alive_without_the_token(office):
    spec = load("kuberay/raycluster.yaml")["spec"]
    templates = {"head": spec["headGroupSpec"]["template"], "worker": spec["workerGroupSpecs"][0]["template"]}
    for name, template in templates.items():
        *interpreter, code = template["spec"]["containers"][0]["livenessProbe"]["exec"]["command"]
        assert interpreter == ["python", "-c"]
        here = code.replace(":52365/", f":{office.ports[f'{name}_agent']}/")
        here = here.replace(":8265/", f":{office.ports['dashboard']}/")
        assert here != code
        assert subprocess.run([sys.executable, "-c", here], timeout=60, check=False).returncode == 0
        dead = code.replace(":52365/", f":{free_ports(['nobody'])['nobody']}/")
        done = subprocess.run([sys.executable, "-c", dead], timeout=60, check=False, stderr=subprocess.DEVNULL)
        assert done.returncode != 0


def test_a_job_without_the_token_is_refused(office):
    job = ["job", "submit", "--submission-id", "stranger", "--", "true"]
    nothing = office.ray(*job, RAY_AUTH_MODE="disabled")
    assert nothing.returncode != 0
    assert "401" in nothing.stdout + nothing.stderr or "uthenticat" in nothing.stdout + nothing.stderr
    assert office.ray(*job, RAY_AUTH_TOKEN="0" * 64).returncode != 0
    assert "stranger" not in office.ray("job", "list").stdout


def test_a_job_with_the_token_waits_for_the_node_and_leaves_its_result(office, tmp_path):
    here, storage = tmp_path / "working", tmp_path / "runs" / "me"
    for name in ("jobs", "cluster"):
        shutil.copytree(ROOT / name, here / name, ignore=shutil.ignore_patterns("__pycache__"))
    # Which is YAML as well, and has no aliases.
    (here / "recipe.yaml").write_text(json.dumps(RECIPE), encoding="utf-8")
    waiting = ["python", "cluster/wait_for_nodes.py", "--nodes", "1", "--cpus", "2", "--minutes", "3", "--"]
    job = ["python", "jobs/conventional.py", "recipe.yaml", "--storage", str(storage)]
    options = ["--submission-id", "me-first", "--working-dir", str(here)]
    done = office.ray("job", "submit", *options, "--", *waiting, *job)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "waiting for 1 x 2 CPUs" in done.stdout
    (result,) = storage.glob("*/result.json")
    assert json.loads(result.read_text(encoding="utf-8"))["method"] == "conventional"
    # A name is given once.
    again = office.ray("job", "submit", *options, "--", "true")
    assert again.returncode != 0
    assert "me-first" in again.stdout + again.stderr


def test_waiting_for_more_than_there_is_ends_with_a_sentence(office):
    waiting = ["python", "cluster/wait_for_nodes.py", "--nodes", "3", "--cpus", "2", "--minutes", "0.1", "--", "true"]
    options = ["--submission-id", "too-much", "--working-dir", str(ROOT / "cluster")]
    waiting[1] = "wait_for_nodes.py"
    done = office.ray("job", "submit", *options, "--", *waiting)
    assert done.returncode != 0
    assert "did not grow to 3 x 2 CPUs and 0 GPUs in 0.1 minutes" in done.stdout + done.stderr
