"""Damage of what finished stages left is found when it is loaded; the stage is made again, to the same numbers."""

import json
import logging
import os
import shutil
import signal
import threading

import pytest
from pipeline_kit import numbers, prepared_run, run, stages_of
from slow_kit import mostly_slow
from storage_kit import LOCAL, filled, remount
from transformers import AutoModelForSequenceClassification

from minidisc_ray.accounting.ledger import Ledger
from minidisc_ray.configs import UserError
from minidisc_ray.files.digests import open_document, sealed_document
from minidisc_ray.files.waiting import StorageError
from minidisc_ray.models.checkpoint import load_model
from minidisc_ray.pipeline.finish import is_finished
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.pipeline.observer import StageObserver
from minidisc_ray.run_files.progress import read_progress
from minidisc_ray.run_files.records import read_record
from minidisc_ray.run_files.result import load_result
from minidisc_ray.training.notice import Preempted

KIND = "assistant"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A storage with one finished run, and its result; tests copy it."""
    root = tmp_path_factory.mktemp("finished")
    return root, run(root, KIND)


@pytest.fixture
def prepared(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path / "runs")
    return prepared_run(tmp_path / "runs", KIND)


def flip(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def made_again(prepared):
    """Stages with more than one attempt."""
    names = [attempt.name for attempt in stages_of(prepared)]
    return {name for name in names if names.count(name) > 1}


def change_record(folder):
    path = folder / "record.json"
    raw = json.loads(path.read_text())
    raw["training_flops"] += 1
    path.write_text(json.dumps(raw))


STAGE_DAMAGES = {
    "weights": lambda folder: flip(folder / "model" / "model.safetensors"),
    "config": lambda folder: (folder / "model" / "config.json").unlink(),
    "model": lambda folder: shutil.rmtree(folder / "model"),
    "record": change_record,
    "record of another world": lambda folder: sealed_record(folder, scale_percent=-3),
}


def sealed_record(folder, **changes):
    """A record of the right types and the right digest, and of what no stage writes."""
    raw, _ = open_document(json.loads((folder / "record.json").read_text()))
    (folder / "record.json").write_text(json.dumps(sealed_document(raw | changes)))


ENTRY = {"bytes": 1, "sha256": "x"}
IMPOSSIBLE = {
    "a file's name with a zero": {"files": {"a\0b.safetensors": ENTRY}},
    "half of a surrogate pair in a file's name": {"files": {"\ud800": ENTRY}},
    "a file's name that is too long": {"files": {"x" * 5000: ENTRY}},
    "a file outside": {"files": {"../../result.json": ENTRY}},
    "half of a surrogate pair": {"validation_metrics": {"\ud800": 0.5}},
    "a negative scale": {"scale_percent": -3},
    "no metrics": {"selection_metrics": {}},
    "metrics of nothing": {"selection_metrics": {"40": {}}},
    "no validation metrics": {"validation_metrics": {}},
    "a metric of two": {"validation_metrics": {"accuracy": 2.0}},
    "an integer of 400 digits": {"num_epochs": 10**400},
    "more FLOPs than there are": {"training_flops": 1e308},
    "a negative time": {"step_seconds": -1.0},
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_a_record_of_what_no_stage_writes_is_a_damaged_one(finished, tmp_path, name, caplog):
    folder = tmp_path / "assistant"
    shutil.copytree(prepared_run(finished[0], KIND).run_folder / "stages" / "assistant", folder)
    sealed_record(folder)
    assert read_record(LOCAL, folder) is not None
    sealed_record(folder, **IMPOSSIBLE[name])
    with caplog.at_level(logging.WARNING, "minidisc_ray"):
        assert read_record(LOCAL, folder) is None
    assert f"{folder}: this finished stage is damaged (record.json" in caplog.text


# By default one of the model and one of the record: what else is damage, the tests of seals and records say.
@pytest.mark.parametrize("damage", mostly_slow(STAGE_DAMAGES, ("weights", "model", "record")))
def test_a_damaged_stage_is_made_again_and_nothing_else_is(finished, prepared, damage, caplog):
    folder = prepared.run_folder
    (folder / "result.json").unlink()
    shutil.rmtree(folder / "stages" / "student")
    STAGE_DAMAGES[damage](folder / "stages" / "assistant")
    with caplog.at_level(logging.WARNING, "minidisc_ray"):
        assert numbers(run_in_process(prepared)) == numbers(finished[1])
    assert made_again(prepared) == {"assistant", "student"}
    assert [attempt.name for attempt in stages_of(prepared)].count("teacher") == 1
    if damage != "model":
        assert f"{folder / 'stages' / 'assistant'}: this finished stage is damaged" in caplog.text


SHARED_DAMAGES = {
    "teacher": lambda prepared: flip(prepared.teacher_folder / "model" / "model.safetensors"),
    "importance": lambda prepared: flip(prepared.importance_folder / "importance.safetensors"),
}


@pytest.mark.parametrize("name", SHARED_DAMAGES)
def test_a_damaged_shared_artifact_is_made_and_published_again(finished, prepared, name, caplog):
    expected = numbers(run(prepared.storage.root, "conventional"))
    shutil.rmtree(prepared_run(prepared.storage.root, "conventional").run_folder)
    folder = {"teacher": prepared.teacher_folder, "importance": prepared.importance_folder}[name]
    before = Ledger(LOCAL, folder / "ledger.jsonl").attempts()
    SHARED_DAMAGES[name](prepared)
    other = prepared_run(prepared.storage.root, "conventional")
    with caplog.at_level(logging.WARNING, "minidisc_ray"):
        result = run_in_process(other)
    assert numbers(result) == expected
    assert f"{folder}: this finished stage is damaged (the content of" in caplog.text
    assert [attempt.name for attempt in stages_of(other)] == [name, "student"]
    # What was held for the damaged one was held all the same.
    attempts = Ledger(LOCAL, folder / "ledger.jsonl").attempts()
    assert attempts[: len(before)] == before
    assert len(attempts) == len(before) + 1
    assert next(stage for stage in result.cost.stages if stage.stage == name).seconds == pytest.approx(
        sum(attempt.seconds for attempt in attempts)
    )


def test_a_damaged_student_is_refused_in_one_sentence_and_restored_by_running_again(finished, prepared, caplog):
    student = prepared.run_folder / "student"
    AutoModelForSequenceClassification.from_pretrained(student)
    flip(student / "model.safetensors")
    with pytest.raises(UserError, match=r"student: the model is damaged \(the content of model\.safetensors") as caught:
        load_model(student)
    assert "\n" not in str(caught.value)
    before = stages_of(prepared)
    assert numbers(run_in_process(prepared)) == numbers(finished[1])
    assert "the student is damaged" in caplog.text
    load_model(student)
    assert stages_of(prepared) == before, "it is copied from its stage"
    shutil.rmtree(student)
    assert numbers(run_in_process(prepared)) == numbers(finished[1])
    assert "the student is gone" in caplog.text
    load_model(student)
    # Where its stage was freed, too, it is not passed over in silence.
    flip(student / "model.safetensors")
    shutil.rmtree(prepared.run_folder / "stages" / "student" / "model")
    with pytest.raises(UserError, match=r"student: the student is damaged .* remove that folder and run again"):
        run_in_process(prepared)


def test_a_changed_result_is_reported_and_made_again(finished, prepared):
    path = prepared.run_folder / "result.json"
    raw = json.loads(path.read_text())
    raw["student"]["validation_metrics"]["accuracy"] = 0.99
    path.write_text(json.dumps(raw))
    with pytest.raises(UserError, match=r"result\.json: damaged \(its values are not those"):
        load_result(prepared.run_folder)
    assert not is_finished(prepared)
    assert numbers(run_in_process(prepared)) == numbers(finished[1])
    assert numbers(load_result(prepared.run_folder)) == numbers(finished[1])


def test_folders_of_before_there_were_seals_are_used_as_they_are(finished, prepared):
    for path in prepared.storage.root.rglob("seal.json"):
        path.unlink()
    for path in [*prepared.storage.root.rglob("record.json"), prepared.run_folder / "result.json"]:
        raw = json.loads(path.read_text())
        path.write_text(json.dumps({key: value for key, value in raw.items() if key not in ("sha256", "files")}))
    before = stages_of(prepared)
    assert run_in_process(prepared) == finished[1]
    shutil.rmtree(prepared.run_folder / "stages" / "student")
    (prepared.run_folder / "result.json").unlink()
    assert numbers(run_in_process(prepared)) == numbers(finished[1])
    assert [a.name for a in stages_of(prepared)[len(before) :]] == ["student"]


def test_sigterm_ends_a_run_as_interrupted_and_it_goes_on_at_that_step(finished, tmp_path, monkeypatch):
    prepared = prepared_run(tmp_path, KIND)
    original = StageObserver.on_step

    def on_step(self, step, num_steps, epoch, losses):
        original(self, step, num_steps, epoch, losses)
        if (self.stage, step) == ("assistant", 3):
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(StageObserver, "on_step", on_step)
        with pytest.raises(Preempted, match="at step 3 of stage assistant"):
            run_in_process(prepared)
    assert [progress.status for progress in read_progress(prepared.run_folder)] == ["interrupted"]
    attempts = Ledger(LOCAL, prepared.run_folder / "ledger.jsonl").attempts()
    assert [(a.kind, a.name, a.status) for a in attempts if a.status != "finished"] == [
        ("hold", "process", "interrupted"),
        ("stage", "assistant", "interrupted"),
    ]
    assert numbers(run_in_process(prepared)) == numbers(finished[1])


def test_a_storage_that_fails_meanwhile_costs_its_time_or_one_sentence(finished, disk, monkeypatch):
    """Read-only for two seconds, then full for longer than it is waited for; then run again."""
    root = disk("64m") / "runs"
    prepared = prepared_run(root, KIND, ("compute.storage_patience_seconds=20",))
    original = StageObserver.on_epoch
    timers = []

    def on_epoch(self, record, checkpoint):
        original(self, record, checkpoint)
        if self.stage == "teacher" and record.epoch == 1:
            remount(root.parent, "ro")
            timers.append(threading.Timer(2.0, lambda: remount(root.parent, "rw")))
            timers[-1].start()

    def no_room(self, record, checkpoint):
        original(self, record, checkpoint)
        if self.stage == "student":
            fillers.append(filled(root))
            fillers[-1].__enter__()

    with monkeypatch.context() as patch:
        patch.setattr(StageObserver, "on_epoch", on_epoch)
        assert numbers(run_in_process(prepared)) == numbers(finished[1])
    assert timers
    timers[0].join()
    assert list((prepared.run_folder / "tensorboard").rglob("events.out.tfevents.*"))

    shutil.rmtree(prepared.run_folder)
    prepared = prepared_run(root, KIND, ("compute.storage_patience_seconds=0.5",))
    fillers = []
    with monkeypatch.context() as patch:
        patch.setattr(StageObserver, "on_epoch", no_room)
        with pytest.raises(StorageError, match=r"model: the storage could not be used for 0\.5 s .*No space left"):
            run_in_process(prepared)
    fillers[0].__exit__(None, None, None)
    left = [path for path in root.rglob(".*") if ".tmp" in path.name]
    assert not left, left
    assert numbers(run_in_process(prepared)) == numbers(finished[1])
