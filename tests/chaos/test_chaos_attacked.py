"""Runs over Ray whose storage, a folder or a bucket, was attacked while their head was away."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import yaml
from bucket_kit import make_bucket, s3_server
from chaos_kit import MAIN, end, poll
from office_kit import Office, start_office
from pyarrow import fs
from ray_kit import LONG_SANDWICH, clean_environment, is_in_sandwich, prepared_run, student_weights, write_recipe

from minidisc_ray.configs.redact import MASK
from minidisc_ray.pipeline.in_process import run_in_process

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

LINKED = ["stages", "progress", "predictions", "figures", "tensorboard", "student", "trials", "ledger.jsonl"]
LINKED += ["config.yaml", "identity.json", "result.json", "report.html"]


@dataclass
class Place:
    """A storage with one run, as another user who can write to it sees it."""

    files: fs.FileSystem
    root: str
    uri: str
    name: str
    outside: Path

    def path(self, name: str) -> str:
        return f"{self.root}/{self.name}/{name}"

    def write(self, name: str, content: bytes) -> None:
        if isinstance(self.files, fs.LocalFileSystem):
            Path(self.path(name)).parent.mkdir(parents=True, exist_ok=True)
        with self.files.open_output_stream(self.path(name)) as stream:
            stream.write(content)

    def read(self, name: str) -> bytes:
        with self.files.open_input_stream(self.path(name)) as stream:
            return bytes(stream.read())


@dataclass
class Attacked:
    """What all cases start from, and what each of them must end with."""

    office: Office
    snapshot: Path
    name: str
    recipe: Path
    weights: bytes
    environment: dict[str, str]

    def command(self, uri: str) -> list[str]:
        return [sys.executable, "-c", MAIN, "run", str(self.recipe), "--storage", uri]

    def start(self, uri: str) -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen(self.command(uri), env=self.environment, text=True, **pipes)

    def run(self, place: Place) -> subprocess.CompletedProcess[str]:
        """The command that resumes the run; it must not trace back, and must change nothing outside the storage."""
        done = subprocess.run(
            self.command(place.uri), env=self.environment, capture_output=True, text=True, timeout=240, check=False
        )
        said = done.stdout + done.stderr
        assert "Traceback" not in said, said[-4000:]
        assert contents(place.outside) == {"victim.json": b"theirs", "file/precious": b"theirs"}
        return done


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def kill_office(office: Office) -> None:
    """Without notice, as a machine that loses power; its folder goes too."""
    for node in office.nodes:
        with suppress(psutil.NoSuchProcess):
            for process in (psutil.Process(node.pid), *psutil.Process(node.pid).children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGKILL)
    office.end()


@pytest.fixture(scope="module")
def attacked(tmp_path_factory) -> Iterator[Attacked]:
    """A run whose head was killed in its sandwich, and a new head."""
    folder = tmp_path_factory.mktemp("attacked")
    recipe = write_recipe(folder / "recipe.yaml", folder / "unused", "minidisc")
    raw = yaml.safe_load(recipe.read_text())
    key, _, value = LONG_SANDWICH.partition("=")
    recipe.write_text(yaml.safe_dump({**raw, key: yaml.safe_load(value)}))
    alone = prepared_run(folder / "alone", "minidisc", LONG_SANDWICH)
    run_in_process(alone)
    with s3_server() as bucket, pytest.MonkeyPatch.context() as patch:
        for variable, content in bucket.items():
            patch.setenv(variable, content)
        make_bucket("s3", "attacked")
        patch.setenv("MINIDISC_CACHE", str(folder / "cache"))
        first = start_office(head_cpus=2, num_workers=0)
        state = Attacked(first, folder / "snapshot", alone.name, recipe, student_weights(alone), environment_of(first))
        driver = None
        try:
            driver = state.start(str(state.snapshot))
            assert poll(lambda: is_in_sandwich(state.snapshot / state.name), 300)
            kill_office(first)
            said, _ = driver.communicate(timeout=240)
            assert driver.returncode not in (0, None), said
        finally:
            end(driver)
            first.end()
        state.office = start_office(head_cpus=2, num_workers=0)
        state.environment = environment_of(state.office)
        try:
            yield state
        finally:
            kill_office(state.office)


def environment_of(office: Office) -> dict[str, str]:
    return {**clean_environment(), **office.environment, "RAY_ADDRESS": office.address}


@pytest.fixture(params=["folder", "bucket"])
def place(request, tmp_path, attacked) -> Place:
    """A copy of the unfinished run for one case."""
    outside = tmp_path / "outside"
    (outside / "file").mkdir(parents=True)
    (outside / "file" / "precious").write_text("theirs")
    (outside / "victim.json").write_text("theirs")
    root = tmp_path / "runs"
    files: fs.FileSystem = fs.LocalFileSystem()
    uri = str(root)
    if request.param == "bucket":
        files = fs.S3FileSystem(endpoint_override=os.environ["AWS_ENDPOINT_URL"], scheme="http")
        uri = f"s3://attacked/{tmp_path.name}"
        root = Path(uri.removeprefix("s3://"))
    for path in sorted(attacked.snapshot.rglob("*")):
        if path.is_file() and "ray" not in path.relative_to(attacked.snapshot).parts:
            copy = f"{root}/{path.relative_to(attacked.snapshot)}"
            if request.param == "folder":
                Path(copy).parent.mkdir(parents=True, exist_ok=True)
            with files.open_output_stream(copy) as stream:
                stream.write(path.read_bytes())
    return Place(files, str(root), uri, attacked.name, outside)


def forged_progress(trial: str) -> bytes:
    made = {"trial": trial, "status": "running", "stage": "sandwich", "stage_index": 1, "num_stages": 3}
    return json.dumps(made | {"started_at": 0.0, "updated_at": 0.0}).encode()


@pytest.mark.parametrize("form", ["absolute", "parent", "another", "nul", "long"])
def test_forged_progress_leads_nowhere(attacked, place, form):
    trial = {
        "absolute": str(place.outside / "victim"), "parent": "../../outside/victim", "another": "other", "nul": "a\0b",
        "long": "x" * 5_000,
    }[form]  # fmt: skip
    place.write("progress/main.json", forged_progress(trial))
    place.write("progress/x.json", forged_progress(trial))
    done = attacked.run(place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert place.read("student/model.safetensors") == attacked.weights


def giant(place: Place) -> None:
    place.write("result.json", b'{"a": "' + b"x" * (64 * 2**20) + b'"}')


def giant_progress(place: Place) -> None:
    place.write("progress/main.json", b"[" * (64 * 2**20))


def outside_seal(place: Place) -> None:
    seal = {"files": {"../../../../outside/victim.json": {"bytes": 6, "sha256": "0"}}}
    place.write("stages/sandwich/newest/seal.json", json.dumps(seal).encode())


def no_state(place: Place) -> None:
    place.write("stages/sandwich/newest/state.json", b"\xff\xfe{")


def not_a_record(place: Place) -> None:
    place.write("stages/sandwich/record.json", b'{"format": 1e999, "metric": NaN}')


@pytest.mark.parametrize("attack", [giant, giant_progress, outside_seal, no_state, not_a_record])
def test_damage_is_found_and_the_student_is_the_same(attacked, place, attack: Callable[[Place], None]):
    attack(place)
    done = attacked.run(place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert place.read("student/model.safetensors") == attacked.weights


def test_a_pattern_in_an_identity_is_answered_in_one_sentence(attacked, place):
    place.write("identity.json", json.dumps({"name": (MASK + "a") * 3_000}).encode())
    done = attacked.run(place)
    assert done.returncode == 2, done.stdout + done.stderr


def test_one_of_two_drivers_goes_on(attacked, place):
    drivers = [attacked.start(place.uri) for _ in range(2)]
    said = [driver.communicate(timeout=240)[0] for driver in drivers]
    assert sorted(driver.returncode for driver in drivers) == [0, 2], said
    (refused,) = (text for text, driver in zip(said, drivers, strict=True) if driver.returncode == 2)
    assert "is being run by" in refused
    assert "Traceback" not in "".join(said)
    assert place.read("student/model.safetensors") == attacked.weights


def test_a_student_that_was_removed_is_there_again(attacked, place):
    assert attacked.run(place).returncode == 0
    place.files.delete_dir(place.path("student"))
    done = attacked.run(place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert place.read("student/model.safetensors") == attacked.weights


@pytest.mark.parametrize("name", LINKED)
@pytest.mark.parametrize("place", ["folder"], indirect=True)
def test_links_are_refused_by_name(attacked, place, name):
    link = Path(place.path(name))
    if link.exists():
        link.rename(place.outside.parent / "aside")
    link.symlink_to(place.outside / "file" if "." not in name else place.outside / "victim.json")
    done = attacked.run(place)
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"{link} is a link" in (done.stdout + done.stderr).replace("\n", " ")
    for command in (["ls", "--storage", place.uri], ["status", place.uri], ["clean", place.uri]):
        words = [sys.executable, "-c", MAIN, *command]
        subprocess.run(words, env=attacked.environment, capture_output=True, timeout=120, check=False)
    assert contents(place.outside) == {"victim.json": b"theirs", "file/precious": b"theirs"}
