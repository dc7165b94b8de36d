"""Real S3 and Google Cloud Storage servers on loopback, in processes of their own: the clients talk HTTP to them."""

import gc
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from minidisc_ray.files.bucket import Bucket
from minidisc_ray.files.uploads import Uploads
from minidisc_ray.files.waiting import Waiting

_SERVE_S3 = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""

_SERVE_GS = """
import socket, sys
from gcp_storage_emulator.server import create_server
with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
create_server("127.0.0.1", port, in_memory=True).start()
print(port, flush=True)
sys.stdin.read()
"""


@contextmanager
def _server(code: str) -> Iterator[str]:
    """Its address."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], text=True, **pipes) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


@contextmanager
def s3_server() -> Iterator[dict[str, str]]:
    """The environment in which its buckets are reached."""
    with _server(_SERVE_S3) as address:
        yield {
            "AWS_ENDPOINT_URL": address,
            "AWS_ACCESS_KEY_ID": "tester",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@contextmanager
def gs_server() -> Iterator[dict[str, str]]:
    """The environment in which its buckets are reached."""
    with _server(_SERVE_GS) as address:
        yield {"STORAGE_EMULATOR_HOST": address}


def make_bucket(scheme: str, name: str) -> None:
    if scheme == "s3":
        request = urllib.request.Request(f"{os.environ['AWS_ENDPOINT_URL']}/{name}", method="PUT")
    else:
        body = json.dumps({"name": name}).encode()
        headers = {"Content-Type": "application/json"}
        address = f"{os.environ['STORAGE_EMULATOR_HOST']}/storage/v1/b?project=tests"
        request = urllib.request.Request(address, body, headers, method="POST")
    urllib.request.urlopen(request, timeout=10).close()


def no_such(bucket: str) -> str:
    """A storage in a bucket that is not there, of the same store."""
    return f"{bucket.partition(':')[0]}://no-such-bucket/runs"


def lose_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on nothing listens where the store was.

    Google's client tries each call again for a while of its own, before ours does: most of the wait, for a test.
    """
    monkeypatch.setattr("minidisc_ray.files.bucket._RETRY_SECONDS", 0.3)
    for name in ("AWS_ENDPOINT_URL", "STORAGE_EMULATOR_HOST"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")


def another_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on the process has the cache of another node."""
    monkeypatch.setenv("MINIDISC_CACHE", str(tmp_path / "other-cache"))


def bucket_at(uri: str) -> Bucket:
    """The objects below a URI, without waiting."""
    return Bucket(uri, Waiting(Path("/")))


def flush_uploads() -> None:
    """Send now what waits in this process, of every storage."""
    for found in [one for one in gc.get_objects() if type(one) is Uploads]:
        found.flush()


def names(uri: str) -> list[str]:
    """What lies below a URI."""
    return sorted(bucket_at(uri).entries())
