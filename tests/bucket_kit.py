"""A real S3 server on loopback, in a process of its own: what pyarrow's client talks to is HTTP."""

import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from minidisc_ray.files.remote import Remote

_SERVE = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


@contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """The environment in which its buckets are reached."""
    command = [sys.executable, "-W", "ignore", "-c", _SERVE]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, text=True, **pipes) as process:
        assert process.stdout is not None
        try:
            yield {
                "AWS_ENDPOINT_URL": f"http://127.0.0.1:{int(process.stdout.readline())}",
                "AWS_ACCESS_KEY_ID": "tester",
                "AWS_SECRET_ACCESS_KEY": "secret",
                "AWS_REGION": "us-east-1",
                "AWS_EC2_METADATA_DISABLED": "true",
            }
        finally:
            process.kill()


def make_bucket(name: str) -> None:
    request = urllib.request.Request(f"{os.environ['AWS_ENDPOINT_URL']}/{name}", method="PUT")
    urllib.request.urlopen(request, timeout=10).close()


def another_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on the process has the cache of another node."""
    monkeypatch.setenv("MINIDISC_CACHE", str(tmp_path / "other-cache"))


def names(uri: str) -> list[str]:
    """What lies below a URI."""
    return sorted(Remote(uri).entries())
