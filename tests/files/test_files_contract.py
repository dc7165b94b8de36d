"""What every storage promises, whichever it is: a folder, a bucket of S3, a bucket of Google Cloud Storage."""

import pickle
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from bucket_kit import another_node, lose_the_store, make_bucket
from slow_kit import mostly_slow

from minidisc_ray.accounting.ledger import Ledger
from minidisc_ray.files.bucket import Bucket
from minidisc_ray.files.storage import Storage
from minidisc_ray.files.waiting import StorageError
from minidisc_ray.training.checkpoints import Checkpoints
from minidisc_ray.training.state import TrainingState
from minidisc_ray.training.workers import Workers


class Killed(BaseException):
    """Ends a process at any of its calls: nothing catches it."""


@dataclass
class Kept:
    """A storage of one kind, and how it is lost for a while."""

    place: str
    outage: Callable[[], "contextmanager[None]"]
    tmp_path: Path
    monkeypatch: pytest.MonkeyPatch

    def elsewhere(self) -> Storage:
        """The same as another node finds it, everything fetched."""
        another_node(self.tmp_path, self.monkeypatch)
        storage = Storage(self.place)
        storage.fetch(storage.root, is_exclusive=True)
        return storage


@pytest.fixture(scope="module", params=["folder", "s3", "gs"])
def server(request, servers) -> tuple[str, dict[str, str]]:
    return request.param, {} if request.param == "folder" else servers(request.param)


@pytest.fixture
def kept(server, tmp_path, monkeypatch, request) -> Kept:
    kind, environment = server
    monkeypatch.setenv("MINIDISC_CACHE", str(tmp_path / "cache"))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if kind == "folder":

        @contextmanager
        def outage():
            root, away = tmp_path / "runs", tmp_path / "away"
            root.rename(away)
            root.mkdir()  # as a mount point is whose storage was taken away
            yield
            root.rmdir()
            away.rename(root)

        return Kept(str(tmp_path / "runs"), outage, tmp_path, monkeypatch)

    @contextmanager
    def outage():
        lose_the_store(monkeypatch)
        yield
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

    bucket = f"contract-{abs(hash(request.node.name))}"
    make_bucket(kind, bucket)
    return Kept(f"{kind}://{bucket}/runs", outage, tmp_path, monkeypatch)


@pytest.fixture
def storage(kept) -> Storage:
    """It holds something, and is waited for."""
    storage = Storage(kept.place)
    storage.write_json(storage.root / "run" / "identity.json", {"run": 1})
    storage.wait_up_to(20.0)
    return storage


def test_what_is_written_here_is_read_elsewhere(kept, storage):
    run = storage.root / "run"
    storage.write_text(run / "text", "ä")
    storage.write_folder(run / "model", lambda folder: (folder / "weights").write_text("first"))
    storage.write_folder(run / "model", lambda folder: (folder / "weights").write_text("second"), keep_as="before")
    storage.append_line(run / "lines", lambda: "one")
    storage.append_line(run / "lines", lambda: "two")
    storage.move(run / "before", run / "first")
    storage.write_text(run / "gone", "")
    storage.remove(run / "gone")
    there = kept.elsewhere()
    run = there.root / "run"
    assert there.read_json(run / "identity.json") == {"run": 1}
    assert [(run / name).read_text() for name in ("text", "lines")] == ["ä", "one\ntwo\n"]
    assert [(run / name / "weights").read_text() for name in ("model", "first")] == ["second", "first"]
    assert [there.check_seal(run / name) for name in ("model", "first")] == [None, None]
    assert sorted(path.name for path in run.iterdir()) == ["first", "identity.json", "lines", "model", "text"]
    assert not there.exists(run / "gone")


def test_a_reader_never_sees_half_a_file(kept, storage):
    path, texts = storage.root / "run" / "file", ("a" * 1_000_000, "b" * 1_000_000)
    storage.write_text(path, texts[0])
    is_over = threading.Event()

    def write():
        for number in range(8):
            storage.write_text(path, texts[number % 2])
        is_over.set()

    writer = threading.Thread(target=write)
    there = kept.elsewhere()
    writer.start()
    seen = set()
    while not is_over.is_set():
        there.fetch_file(there.root / "run" / "file")
        seen.add((there.root / "run" / "file").read_text())
    writer.join()
    assert seen <= set(texts)


def test_after_a_kill_at_any_call_a_whole_folder_is_there(kept, storage, monkeypatch):
    """The seal comes last: of the newest and the one before it one is whole, and holds what was written."""
    folder = storage.root / "run" / "newest"
    storage.write_folder(folder, lambda place: fill(place, "0"), keep_as="before")
    kinds, num_kills = (
        ((Path, "rename"), (Path, "replace"), (Bucket, "_push_file"), (Bucket, "write"), (Bucket, "_delete")),
        0,
    )
    for at in range(1, 40):
        calls = []

        def counted(owner, name, at=at, calls=calls):
            real = getattr(owner, name)

            def call(self, *args):
                calls.append(name)
                if len(calls) == at:
                    raise Killed
                return real(self, *args)

            return call

        with monkeypatch.context() as patch:
            for owner, name in kinds:
                patch.setattr(owner, name, counted(owner, name))
            try:
                storage.write_folder(folder, lambda place, at=at: fill(place, str(at)), keep_as="before")
            except Killed:
                num_kills += 1
            else:
                break
        there = kept.elsewhere()
        whole = [name for name in ("newest", "before") if is_whole(there, there.root / "run" / name)]
        assert whole, f"killed at call {at}, {calls[-1]}"
        # As a process does that goes on here.
        storage.fetch(storage.root / "run", is_exclusive=True)
    assert num_kills >= 2


def fill(place, text):
    for name in ("a", "b"):
        (place / name).write_text(text)


def is_whole(storage, folder):
    if not (folder / "seal.json").exists() or storage.check_seal(folder) is not None:
        return False
    return (folder / "a").read_text() == (folder / "b").read_text()


@pytest.mark.parametrize("outage_seconds", mostly_slow((1.5, 60.0), by_default=(1.5,)))
def test_an_outage_is_waited_out_and_counted(kept, storage, outage_seconds):
    # The longest pause between two tries is 15 s, and a try takes a moment.
    longest_seconds = outage_seconds + 20.0
    storage.wait_up_to(longest_seconds)
    outage = kept.outage()
    outage.__enter__()
    is_back = threading.Timer(outage_seconds, lambda: outage.__exit__(None, None, None))
    is_back.start()
    ledger = Ledger(storage, storage.root / "run" / "ledger.jsonl")
    attempt = ledger.start("stage", "student", "main", 1.0, "cpu-core")
    storage.write_json(storage.root / "run" / "record.json", {"a": 1})
    ledger.end(attempt, "finished")
    is_back.join()
    there = kept.elsewhere()
    [found] = Ledger(there, there.root / "run" / "ledger.jsonl").attempts()
    assert found.status == "finished"
    assert outage_seconds - 0.1 < found.seconds < longest_seconds
    assert there.read_json(there.root / "run" / "record.json") == {"a": 1}


def test_a_file_that_is_replaced_within_a_second_is_fetched_again(kept, storage):
    """By another of the same size: stores may list times in whole seconds."""
    path = storage.root / "run" / "record.json"
    there = kept.elsewhere()
    for number in range(5):
        storage.write_json(path, {"a": number})
        there.fetch(there.root)
        assert there.read_json(there.root / "run" / "record.json") == {"a": number}


def test_an_outage_that_lasts_is_one_sentence_and_loses_nothing(kept, storage):
    path = storage.root / "run" / "record.json"
    storage.write_json(path, {"a": 1})
    storage.wait_up_to(0.4)
    with kept.outage():
        started = time.monotonic()
        with pytest.raises(StorageError, match=r"could not be used for 0\.4 s \(compute\.storage_patience") as caught:
            storage.write_json(path, {"a": 2})
        assert "\n" not in str(caught.value)
        assert time.monotonic() - started > 0.3
    there = kept.elsewhere()
    assert there.read_json(there.root / "run" / "record.json") == {"a": 1}
    storage.write_json(path, {"a": 3})
    there = kept.elsewhere()
    assert there.read_json(there.root / "run" / "record.json") == {"a": 3}


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(kept, storage, caplog):
    parameter = torch.nn.Parameter(torch.zeros(3))
    optimizer = torch.optim.AdamW([parameter])
    parameter.grad = torch.ones(3)
    stage = storage.root / "run" / "stages" / "student"
    for step in (1, 2):
        optimizer.step()
        state = TrainingState(steps_done=step, step_in_epoch=step, partial_losses=({"loss": (1.0, 1.0)},))
        Checkpoints(storage, stage, Workers()).save({"w": parameter}, optimizer, state, is_best=False)
    there = kept.elsewhere()
    stage = there.root / "run" / "stages" / "student"
    weights = stage / "newest" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    there.upload(weights)
    state, _ = Checkpoints(there, stage, Workers()).resume({"w": parameter}, optimizer)
    assert state.steps_done == 1
    assert "this checkpoint is damaged" in caplog.text


def test_another_process_gets_the_same_storage_with_the_same_patience(kept, storage):
    storage.wait_up_to(0.4)
    again = pickle.loads(pickle.dumps(storage))
    assert again.read_json(again.root / "run" / "identity.json") == {"run": 1}
    with kept.outage(), pytest.raises(StorageError, match=r"could not be used for 0\.4 s"):
        again.write_json(again.root / "run" / "record.json", {})
