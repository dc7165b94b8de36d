"""Whole tiny runs on a GPU give the losses of the CPU; nothing here needs Ray."""

import pytest
import torch
from pipeline_kit import Interrupted, interrupt, prepared_run, random_teacher
from storage_kit import LOCAL

from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.run_files.records import read_record

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

# Without dropout, whose masks depend on the device. At 15% one of two layers has no heads, so its parameters are empty.
EXACT = ("student.scale_percent=15", "finetune.dropout=0.0", "distil.dropout=0.0", "distil.num_epochs=2")
FLOAT32 = (*EXACT, "precision=float32")
SCHEDULES = {
    "conventional": "{kind: conventional}",
    "assistant": "{kind: assistant, assistant_percent: 40}",
    "law": "{kind: law}",
    "paper": "{kind: minidisc, scales: [60, 30], num_sampled: 2}",
    "race": "{kind: minidisc, search: race, scales: [80, 60, 40, 20]}",
    "maxidisc": "{kind: maxidisc, scales: [60, 30]}",
}
# The last two have parts of their own that are trained.
OBJECTIVES = {
    "ltsd": "{kind: ltsd}",
    "kd": "{kind: kd}",
    "tinybert": "{kind: tinybert, attention_weight: 0}",
    "distiller": "{kind: distiller, intermediate: {kind: mi_alpha}}",
}


def losses(storage, overrides, device):
    """Of each stage of each trial and epoch; the student is checked to have a layer without heads."""
    gpus = ("compute.gpus_per_worker=1",) if device == "cuda" else ()
    prepared = prepared_run(storage, "conventional", (*overrides, *gpus))
    result = run_in_process(prepared, device)
    assert 0 in result.student.heads
    folders = [path.parent for path in prepared.run_folder.rglob("record.json")]
    records = {folder.relative_to(prepared.run_folder).as_posix(): read_record(LOCAL, folder) for folder in folders}
    return {place: [dict(epoch.losses) for epoch in found.history] for place, found in records.items() if found}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    return random_teacher(tmp_path_factory.mktemp("teacher"))


@pytest.mark.parametrize("kind", SCHEDULES)
def test_every_schedule_has_the_cpus_losses_in_float32(tmp_path, teacher, kind):
    overrides = (*teacher, *FLOAT32, f"schedule={SCHEDULES[kind]}")
    here, there = (losses(tmp_path / device, overrides, device) for device in ("cpu", "cuda"))
    assert there.keys() == here.keys()
    for stage, epochs in here.items():
        for wanted, found in zip(epochs, there[stage], strict=True):
            assert found == pytest.approx(wanted, rel=1e-2), stage


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_every_kind_of_objective_trains_in_bfloat16(tmp_path, teacher, kind):
    overrides = (*teacher, *EXACT, f"objective={OBJECTIVES[kind]}", "precision=bfloat16")
    here, there = (losses(tmp_path / device, overrides, device) for device in ("cpu", "cuda"))
    (wanted,), (found,) = here.values(), there.values()
    assert found[-1] == pytest.approx(wanted[-1], rel=0.05)


def test_a_stopped_run_goes_on_from_its_checkpoint(tmp_path, teacher, monkeypatch):
    overrides = (*teacher, *FLOAT32, "schedule={kind: conventional}")
    whole = losses(tmp_path / "whole", overrides, "cuda")
    with monkeypatch.context() as patch:
        interrupt(patch, "student", 1)
        with pytest.raises(Interrupted):
            losses(tmp_path / "stopped", overrides, "cuda")
    again = losses(tmp_path / "stopped", overrides, "cuda")
    for stage, epochs in whole.items():
        for wanted, found in zip(epochs, again[stage], strict=True):
            assert found == pytest.approx(wanted, rel=1e-3), stage
