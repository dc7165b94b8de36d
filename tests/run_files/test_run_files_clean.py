"""Run directories: what is refused as one, and what is freed of them."""

import json

import pytest
from pipeline_kit import Interrupted, interrupt, prepared_run, run
from storage_kit import LOCAL

from minidisc_ray.configs import UserError
from minidisc_ray.driver.lease import leased
from minidisc_ray.models.checkpoint import load_model
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.pipeline.run_directory import open_run
from minidisc_ray.run_files.clean import clean
from minidisc_ray.run_files.progress import Progress, read_progress, write_progress


def test_a_run_directory_made_by_another_config_is_refused(tmp_path):
    open_run(prepared_run(tmp_path, "conventional", ("name=mine",)))
    open_run(prepared_run(tmp_path, "conventional", ("name=mine",)))
    open_run(prepared_run(tmp_path, "conventional", ("name=mine", "compute.cpus_per_worker=2")))
    with pytest.raises(UserError, match=r"^name: .*mine was made by another config \(different: seed\)"):
        prepared_run(tmp_path, "conventional", ("name=mine", "seed=1"))
    with pytest.raises(UserError, match=r"different: schedule"):
        prepared_run(tmp_path, "minidisc", ("name=mine",))


def test_a_run_directory_of_an_earlier_release_is_reported_as_one(tmp_path):
    """Its numbers are others; what it has is read by every other command."""
    folder = open_run(prepared_run(tmp_path, "conventional", ("name=mine",)))
    found = json.loads((folder / "identity.json").read_text())
    (folder / "identity.json").write_text(json.dumps(found | {"numerics": found["numerics"] - 1}))
    with pytest.raises(UserError, match=r"^name: .*mine was made by another release, .*; choose another name for this"):
        prepared_run(tmp_path, "conventional", ("name=mine",))


def test_what_a_driver_that_was_killed_left_running_is_interrupted_for_the_next_one(tmp_path):
    prepared = prepared_run(tmp_path, "conventional", ("name=mine",))
    folder = open_run(prepared)
    left = {"stage": "student", "stage_index": 1, "num_stages": 1, "started_at": 1.0, "updated_at": 2.0}
    for trial, status in (("one", "running"), ("two", "finished")):
        write_progress(LOCAL, folder, Progress(trial=trial, status=status, **left))
    open_run(prepared)
    assert [(p.trial, p.status, p.updated_at) for p in read_progress(folder)] == [
        ("one", "interrupted", 2.0),
        ("two", "finished", 2.0),
    ]


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    (tmp_path / "mine").mkdir()
    prepared_run(tmp_path, "conventional", ("name=mine",))
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match=r"^name: .*is not a run's folder"):
        prepared_run(tmp_path, "conventional", ("name=mine",))
    (tmp_path / "mine" / "identity.json").write_text("{")
    with pytest.raises(UserError, match=r"^name: .*cannot be read"):
        prepared_run(tmp_path, "conventional", ("name=mine",))


def test_a_storage_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match=r"^storage: .*cannot be written.*not a writable folder"):
            prepared_run(place, "conventional")
    with pytest.raises(UserError, match=r"^storage: ftp://host/x: ftp:// is not supported"):
        prepared_run(tmp_path, "conventional", ("storage=ftp://host/x",))
    with pytest.raises(UserError, match=r"^name: .*(leaves|use letters)"):
        prepared_run(tmp_path, "conventional", ("name=../x",))
    assert [path.name for path in tmp_path.iterdir()] == ["file"], "a check makes nothing"


def test_a_student_without_any_head_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"^student\.scale_percent: at 5 percent no attention head is left"):
        prepared_run(tmp_path, "conventional", ("student.scale_percent=5",))
    prepared_run(tmp_path, "conventional", ("student.scale_percent=7",))


def test_max_length_beyond_the_positions_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"^data\.max_length: 129 .*128 positions"):
        prepared_run(tmp_path, "conventional", ("data.max_length=129",))


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def size_of(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_clean_keeps_results_and_unfinished_runs_and_frees_the_rest(tmp_path, monkeypatch):
    for kind in ("minidisc", "maxidisc"):
        run(tmp_path, kind)
    finished = [prepared_run(tmp_path, kind).run_folder for kind in ("minidisc", "maxidisc")]
    for folder in finished:
        (folder / "report.html").write_text("<html>")
    stopped = prepared_run(tmp_path, "conventional", ("distil.num_epochs=2",))
    with monkeypatch.context() as patch:
        interrupt(patch, "student", epoch=1)
        with pytest.raises(Interrupted):
            run_in_process(stopped)
    orphan = tmp_path / "_shared" / "teacher-0000"
    orphan.mkdir()
    (orphan / "model.safetensors").write_bytes(b"x" * 1000)
    foreign = tmp_path / "notes"
    foreign.mkdir()
    (foreign / "stages").write_text("not ours")

    keep = ("result.json", "ledger.jsonl", "report.html", "config.yaml", "identity.json")
    kept = {folder / name: (folder / name).read_bytes() for folder in finished for name in keep}
    students = [files_of(folder / "student") for folder in finished]
    unfinished, before = files_of(stopped.run_folder), size_of(tmp_path)

    assert clean(tmp_path, dry_run=True).bytes > 0
    assert size_of(tmp_path) == before, "a dry run frees nothing"
    freed = clean(tmp_path)
    assert size_of(tmp_path) == before - freed.bytes
    assert not (finished[0] / "stages").exists()
    assert not list(finished[1].glob("trials/*/stages/*/model"))
    assert not orphan.exists()
    assert (foreign / "stages").read_text() == "not ours"
    assert {path: path.read_bytes() for path in kept} == kept
    assert [files_of(folder / "student") for folder in finished] == students
    assert files_of(stopped.run_folder) == unfinished
    assert clean(tmp_path).bytes == 0

    # The teacher is still there for the run that is not finished, which goes on.
    result = run_in_process(stopped)
    assert result.cost.stages[0].reused
    load_model(finished[0] / "student")


def test_clean_leaves_a_run_that_somebody_drives(tmp_path):
    run(tmp_path, "conventional")
    folder = prepared_run(tmp_path, "conventional").run_folder
    with leased(LOCAL, folder):
        clean(tmp_path)
        assert (folder / "stages").is_dir()
    (folder / ".driver.json").symlink_to(".driver.json")
    clean(tmp_path)
    assert (folder / "stages").is_dir(), "who drives it cannot be read"
    (folder / ".driver.json").unlink()
    clean(tmp_path)
    assert not (folder / "stages").exists()


@pytest.mark.parametrize("damage", ["identity.json", "shared.json", "both"])
def test_clean_keeps_what_a_damaged_run_uses(tmp_path, damage):
    used, damaged = (open_run(prepared_run(tmp_path, "conventional", (f"seed={seed}",))) for seed in (0, 1))
    uses = {path: json.loads((path / "shared.json").read_text()) for path in (used, damaged)}
    shared = [tmp_path / "_shared" / name for name in (*uses[used], *uses[damaged], "teacher-0000")]
    for path in shared:
        path.mkdir(exist_ok=True)
    for name in ("identity.json", "shared.json") if damage == "both" else (damage,):
        (damaged / name).write_text("{")
    clean(tmp_path)
    kept = {path for path in shared if path.is_dir()}
    # Who does not say what it uses may use all of it.
    assert kept == set(shared[:-1] if damage == "identity.json" else shared)


def test_clean_refuses_a_storage_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="no such storage"):
        clean(tmp_path / "missing")


def test_clean_removes_nothing_from_a_folder_that_is_not_ours(tmp_path):
    project = tmp_path / "project"
    (project / "stages").mkdir(parents=True)
    for name, text in {"identity.json": '{"me": "somebody"}', "result.json": "{}", "stages/work.txt": "mine"}.items():
        (project / name).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="no runs there"):
        clean(tmp_path)
    assert (project / "stages" / "work.txt").read_text() == "mine"
