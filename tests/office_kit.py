"""Two nodes with a token, as an office starts them, on one machine beside whatever else runs here."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp

import psutil

ROOT = Path(__file__).parents[1]


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

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.ports['gcs']}"

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
    """The status that a GET ends with; 0 where no one answers."""
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


def start_office(head_cpus: int = 0, worker_cpus: int = 2, num_workers: int = 1) -> Office:
    """A started office; tries thrice, for Ray gives a node 30 s, which a machine with much other work does not keep."""
    for attempt in range(3):
        try:
            return _started(head_cpus, worker_cpus, num_workers)
        except AssertionError as error:
            if attempt == 2 or "a node ended" not in str(error):
                raise
    raise AssertionError("unreachable")


def _started(head_cpus: int, worker_cpus: int, num_workers: int) -> Office:
    workers = ["worker", *(f"worker{number}" for number in range(2, num_workers + 1))]
    of_nodes = [f"{node}_{what}" for node in ("head", *workers) for what in ("agent", "agent_grpc", "metrics")]
    # Short, since Ray's sockets lie below it.
    made = Office(Path(mkdtemp(prefix="mdo", dir="/tmp")), free_ports(["gcs", "dashboard", "client", *of_nodes]))
    try:
        generated = made.ray("get-auth-token", "--generate")
        assert generated.returncode == 0, generated.stderr
        (made.home / ".ray" / "auth_token").chmod(0o600)
        made.start(
            "head",
            "--head",
            f"--num-cpus={head_cpus}",
            f"--port={made.ports['gcs']}",
            "--dashboard-host=127.0.0.1",
            f"--dashboard-port={made.ports['dashboard']}",
            f"--ray-client-server-port={made.ports['client']}",
            f"--temp-dir={made.home / 'ray'}",
        )
        made.wait_until(lambda: asked(made.dashboard) > 0 and made.is_healthy("head"), "the head answers")
        for worker in workers:
            # One after the other: two that start at once on one machine choose the same sockets.
            made.start(worker, f"--address={made.address}", f"--num-cpus={worker_cpus}")
            made.wait_until(lambda worker=worker: made.is_healthy(worker), f"{worker} answers")
    except BaseException:
        made.end()
        raise
    return made


def token_of(office: Office) -> str:
    return (office.home / ".ray" / "auth_token").read_text(encoding="utf-8").strip()
