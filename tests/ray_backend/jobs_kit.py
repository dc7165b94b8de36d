"""What a dashboard answers about jobs, with its token and without."""

import json
import secrets
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from wait_kit import wait_until

JOBS = Path(__file__).parents[2] / "jobs"


def request(
    address: str, path: str, token: str | None, submitted: dict[str, str] | None = None
) -> tuple[int, dict[str, Any] | list[Any]]:
    """What the dashboard answers, with its status; 0 and nothing where it does not yet."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    data = None if submitted is None else json.dumps(submitted).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{address}{path}", data, headers), timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code, {}
    except OSError:
        return 0, {}


def check_strangers_are_refused(address: str, token: str) -> None:
    """Without the token, or with another one, everything is refused, a job too."""
    wait_until(lambda: request(address, "/api/jobs/", token)[0] == 200, 60, "the jobs' own answer", every=0.3)
    for path in ("/api/jobs/", "/api/cluster_status", "/nodes?view=summary"):
        assert request(address, path, None)[0] == 401
        assert request(address, path, secrets.token_hex(32))[0] in (401, 403)
    job = {"entrypoint": "true", "submission_id": "stranger"}
    assert request(address, "/api/jobs/", None, job)[0] == 401
    status, jobs = request(address, "/api/jobs/", token)
    assert status == 200
    assert not [job for job in jobs if job["submission_id"] == "stranger"]
