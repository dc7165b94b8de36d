"""Two nodes with a token, as the README starts them in an office, on one machine: head, worker, a job."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp

import psutil
import pytest
import yaml
from cluster_kit import ROOT, load

pytestmark = [pytest.mark.ray, pytest.mark.chaos, pytest.mark.timeout(600)]

_ONCE = {"num_epochs": 1, "batch_size": 16, "learning_rate": 2e-3, "early_stop_epochs": None}
RECIPE = {
    "data": {"kind": "builtin", "train_rows": 128, "validation_rows": 64, "test_rows": 32},
    "teacher": {"kind": "builtin", "num_layers": 2, "hidden_size": 32, "num_heads": 4, "intermediate_size": 64},
    "pruning": {"neuron_multiple": 1},
    "finetune": _ONCE,
    "distil": _ONCE,
}


@dataclass
class Office:
    """A home with a token of its own, a head and a worker beside whatever else runs here."""

    home: Path
    ports: dict[str, int]
    nodes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        return {
            **kept,
            "HOME": str(self.home),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "RAY_AUTH_MODE": "token",
            "RAY_API_SERVER_ADDRESS": self.dashboard,
        }

    @property
    def dashboard(self) -> str:
        return f"http://127.0.0.1:{self.ports['dashboard']}"

    def ray(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["ray", *words],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )

    def start(self, name: str, *words: str) -> None:
        """One node, in a process group of its own, with ports of its own."""
        own = [
            f"--dashboard-agent-listen-port={self.ports[f'{name}_agent']}",
            f"--dashboard-agent-grpc-port={self.ports[f'{name}_agent_grpc']}",
            f"--metrics-export-port={self.ports[f'{name}_metrics']}",
            "--min-worker-port=0",
            "--max-worker-port=0",
            "--node-ip-address=127.0.0.1",
            "--disable-usage-stats",
            "--block",
        ]
        log = (self.home / f"{name}.log").open("wb")
        command = ["ray", "start", *words, *own]
        with log:
            self.nodes.append(
                subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, start_new_session=True)
            )

    def is_healthy(self, name: str) -> bool:
        return asked(f"http://127.0.0.1:{self.ports[f'{name}_agent']}/api/local_raylet_healthz") == 200

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Minutes, on a machine with other work; what the nodes said where it does not come to that."""
        deadline = time.monotonic() + 240
        while not condition():
            is_alive = all(node.poll() is None for node in self.nodes)
            if not is_alive or time.monotonic() > deadline:
                said = "\n".join(path.read_text(errors="replace")[-2000:] for path in sorted(self.home.glob("*.log")))
                raise AssertionError(f"{'too late' if is_alive else 'a node ended'}: {what}\n{said}")
            time.sleep(0.3)

    def end(self) -> None:
        """All of it is ours, and nothing in it is worth a graceful end."""
        for node in self.nodes:
            with suppress(psutil.NoSuchProcess):
                ours = [psutil.Process(node.pid), *psutil.Process(node.pid).children(recursive=True)]
                for process in ours:
                    with suppress(psutil.NoSuchProcess):
                        process.send_signal(signal.SIGKILL)
            node.wait(20)
        shutil.rmtree(self.home, ignore_errors=True)


def asked(url: str, token: str | None = None) -> int:
    """The status that a GET ends with; 0 where nobody answers."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except OSError:
        return 0


def free_ports(names: list[str]) -> dict[str, int]:
    with ExitStack() as stack:
        sockets = {name: stack.enter_context(socket.socket()) for name in names}
        for one in sockets.values():
            one.bind(("127.0.0.1", 0))
        return {name: one.getsockname()[1] for name, one in sockets.items()}


def started_office() -> Office:
    of_nodes = [f"{node}_{what}" for node in ("head", "worker") for what in ("agent", "agent_grpc", "metrics")]
    # Short, since Ray's sockets lie below it.
    made = Office(Path(mkdtemp(prefix="mdo", dir="/tmp")), free_ports(["gcs", "dashboard", "client", *of_nodes]))
    try:
        generated = made.ray("get-auth-token", "--generate")
        assert generated.returncode == 0, generated.stderr
        (made.home / ".ray" / "auth_token").chmod(0o600)
        made.start(
            "head",
            "--head",
            "--num-cpus=0",
            f"--port={made.ports['gcs']}",
            "--dashboard-host=127.0.0.1",
            f"--dashboard-port={made.ports['dashboard']}",
            f"--ray-client-server-port={made.ports['client']}",
            f"--temp-dir={made.home / 'ray'}",
        )
        made.wait_until(lambda: asked(made.dashboard) > 0 and made.is_healthy("head"), "the head answers")
        made.start("worker", f"--address=127.0.0.1:{made.ports['gcs']}", "--num-cpus=2")
        made.wait_until(lambda: made.is_healthy("worker"), "the worker answers")
    except BaseException:
        made.end()
        raise
    return made


@pytest.fixture(scope="module")
def office() -> Iterator[Office]:
    # Ray gives a node 30 s to start, which a machine with much other work does not always keep.
    for attempt in range(3):
        try:
            made = started_office()
            break
        except AssertionError as error:
            if attempt == 2 or "a node ended" not in str(error):
                raise
    yield made
    made.end()


def token_of(office: Office) -> str:
    return (office.home / ".ray" / "auth_token").read_text(encoding="utf-8").strip()


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
    (here / "recipe.yaml").write_text(yaml.safe_dump(RECIPE), encoding="utf-8")
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
