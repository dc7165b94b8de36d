"""Finished runs become observations, each once."""

import json
import shutil

import pytest
from bucket_kit import another_node
from observe_kit import DISTILLER, TEACHER, public_folder, write_run
from pipeline_kit import prepared_run, run
from storage_kit import LOCAL

from minidisc_ray.autodistiller.tables.observe import (
    NO_FINETUNED,
    NOT_PUBLISHED,
    TEACHER_NOT_ABOVE,
    observe_public,
    observe_runs,
)
from minidisc_ray.autodistiller.tables.ratio import distillation_ratio
from minidisc_ray.autodistiller.tables.runs import components, student_name, teacher_name
from minidisc_ray.autodistiller.tables.table import ObservationTable, read_frame
from minidisc_ray.configs import UserError, resolve
from minidisc_ray.files.digests import sealed_document
from minidisc_ray.files.storage import Storage

LABELS = {"kind": "labels"}


@pytest.mark.parametrize(
    ("score", "teacher", "finetuned", "wanted"),
    [
        (0.81, 0.84, 0.80, 0.25),
        (0.84, 0.84, 0.80, 1.0),
        (0.88, 0.84, 0.80, 2.0),
        (0.78, 0.84, 0.80, -0.5),
        (0.81, 0.80, 0.80, None),
        (0.81, 0.65, 0.668, None),
        (0.81, 0.84, None, None),
        (0.81, None, 0.80, None),
    ],
)
def test_the_ratio_by_hand(score, teacher, finetuned, wanted):
    found = distillation_ratio(score, teacher, finetuned)
    assert found == (None if wanted is None else pytest.approx(wanted))


def test_a_run_is_observed_with_its_components_and_its_cost(tmp_path):
    write_run(tmp_path / "runs", 0.84)
    observed = observe_runs(tmp_path / "runs", tmp_path / "table")
    assert len(observed.added) == 1
    (one,) = ObservationTable(tmp_path / "table").observations()
    row = read_frame(tmp_path / "table").iloc[0]
    assert (row["student"], row["teacher"], row["task"]) == ("minilm-l6 10%", "minilm-l6", "mrpc")
    assert (row["intermediate_loss"], row["alpha"], row["intermediate_strategy"]) == ("mi_alpha", 0.5, "last")
    assert (row["prediction_loss"], row["augmentation"], row["mixup"]) == ("ce", "none", False)
    assert (row["schedule"], row["objective"]) == ("conventional", "Distiller (MI-0.5 transformer, last, ce)")
    assert (row["learning_rate"], row["batch_size"], row["num_epochs"]) == (2e-4, 16, 3)
    assert (row["score"], row["teacher_score"]) == (0.84, 0.9)
    assert row["ratio_to_teacher"] == pytest.approx(0.84 / 0.9)
    assert (row["num_examples"], row["num_assistants"], row["scale_percent"]) == (3301, 0, 10)
    assert (one.training_tflops, one.device_hours, one.device_unit, one.num_labels) == (2000, 2, "core-hours", 2)


def test_observing_again_adds_nothing(tmp_path):
    write_run(tmp_path / "runs", 0.84)
    write_run(tmp_path / "runs", 0.85, ("seed=1",))
    assert len(observe_runs(tmp_path / "runs", tmp_path / "table").added) == 2
    again = observe_runs(tmp_path / "runs", tmp_path / "table")
    assert (again.added, again.num_known, again.num_observations) == ((), 2, 2)
    assert len(list((tmp_path / "table").iterdir())) == 1


def test_a_copy_of_a_run_is_the_same_run(tmp_path):
    first = write_run(tmp_path / "runs", 0.84)
    shutil.copytree(first, tmp_path / "runs" / "copy")
    assert len(observe_runs(tmp_path / "runs", tmp_path / "table").added) == 1
    assert observe_runs(first, tmp_path / "table").num_known == 1


def test_one_run_can_be_observed_by_its_folder(tmp_path):
    first = write_run(tmp_path / "runs", 0.84)
    write_run(tmp_path / "runs", 0.85, ("seed=1",))
    assert observe_runs(first, tmp_path / "table").added == (first.name,)


def test_what_is_left_out_is_named_with_its_reason(tmp_path):
    whole = write_run(tmp_path / "runs", 0.84)
    unfinished, damaged, other, recipeless = (
        write_run(tmp_path / "runs", 0.85, (f"seed={seed}",)) for seed in (1, 2, 3, 4)
    )
    (unfinished / "result.json").unlink()
    (damaged / "result.json").write_text((damaged / "result.json").read_text().replace("0.85", "0.95", 1))
    (other / "identity.json").write_text((whole / "identity.json").read_text())
    (recipeless / "config.yaml").unlink()
    observed = observe_runs(tmp_path / "runs", tmp_path / "table")
    assert observed.added == (whole.name,)
    assert observed.unfinished == (unfinished.name,)
    assert set(observed.damaged) == {damaged.name, other.name, recipeless.name}
    assert "damaged" in observed.damaged[damaged.name]
    assert "of another run" in observed.damaged[other.name]
    assert "config.yaml" in observed.damaged[recipeless.name]


def test_an_identity_of_another_method_is_refused(tmp_path):
    folder = write_run(tmp_path / "runs", 0.84)
    identity = json.loads((folder / "identity.json").read_text())
    (folder / "identity.json").write_text(json.dumps({**identity, "precision": "float32"}))
    observed = observe_runs(tmp_path / "runs", tmp_path / "table")
    assert "missing, damaged or of another run" in observed.damaged[folder.name]


def test_a_teacher_at_zero_has_no_share(tmp_path):
    folder = write_run(tmp_path / "runs", 0.84)
    raw = json.loads((folder / "result.json").read_text())
    raw.pop("sha256")
    raw["teacher"]["validation_metrics"]["f1"] = 0.0
    (folder / "result.json").write_text(json.dumps(sealed_document(raw)))
    assert "f1 is 0" in observe_runs(folder, tmp_path / "table").damaged[folder.name]


def test_mistakes_are_sentences(tmp_path):
    with pytest.raises(UserError, match="is not a folder that can be read"):
        observe_runs(tmp_path / "none", tmp_path / "table")
    with pytest.raises(UserError, match="there are no runs in"):
        observe_runs(tmp_path, tmp_path / "table")


def test_the_fine_tuned_student_of_the_same_size_gives_the_ratio(tmp_path):
    runs, table = tmp_path / "runs", tmp_path / "table"
    write_run(runs, 0.84)
    write_run(runs, 0.86, ("student.scale_percent=20",))
    assert observe_runs(runs, table).without_ratio == {NO_FINETUNED: 2}
    write_run(runs, 0.80, objective=LABELS, distil={"num_epochs": 9})
    write_run(runs, 0.92, ("student.scale_percent=20",), objective=LABELS)
    # One that had an assistant is not fine-tuned alone.
    write_run(runs, 0.10, objective=LABELS, schedule={"kind": "assistant", "assistant_percent": 40})
    observed = observe_runs(runs, table)
    assert (observed.num_observations, observed.without_ratio) == (5, {TEACHER_NOT_ABOVE: 1})
    found = {one.score: one.ratio for one in ObservationTable(table).observations()}
    assert found[0.84] == pytest.approx((0.84 - 0.80) / (0.9 - 0.80))
    assert found[0.80] == 0
    assert found[0.86] is None


def test_the_published_rows_say_why_they_have_no_ratio(tmp_path):
    observed = observe_public(public_folder(), tmp_path / "table")
    assert set(observed.without_ratio) == {NOT_PUBLISHED, TEACHER_NOT_ABOVE}
    frame = read_frame(tmp_path / "table")
    assert observed.without_ratio[NOT_PUBLISHED] == (frame["student"] != "TinyBERT4").sum() == 289
    # RTE: BERT base scores 65.0, and TinyBERT4 by itself 66.8.
    is_rte = (frame["task"] == "rte") & (frame["student"] == "TinyBERT4") & (frame["teacher"] == "BERT_BASE")
    assert observed.without_ratio[TEACHER_NOT_ABOVE] == is_rte.sum()


@pytest.mark.parametrize(
    ("objective", "wanted"),
    [
        (DISTILLER, ("mi_alpha", "last", "ce", 0.5)),
        (
            {"kind": "distiller", "intermediate": "cosine", "mapping": "emd", "prediction": "mse"},
            ("cosine", "emd", "mse", None),
        ),
        ({"kind": "distiller", "intermediate_weight": 0}, ("none", None, "ce", None)),
        ({"kind": "distiller", "beta1": 0}, ("mi_alpha", "skip", None, 0.9)),
        (LABELS, ("none", None, None, None)),
        ({"kind": "kd"}, ("none", None, "ce", None)),
        ({"kind": "ltsd"}, (None, None, None, None)),
    ],
)
def test_the_components_of_an_objective(objective, wanted):
    found = components(resolve({"objective": objective}).objective)
    names = ("intermediate_loss", "intermediate_strategy", "prediction_loss", "alpha")
    assert tuple(found.get(name) for name in names) == wanted


def test_names_of_models():
    own_data = {"task": "mrpc", "data": {"kind": "files", "folder": "x"}}
    short = {"teacher": {**TEACHER, "num_layers": 3}, "student": {"kind": "layers", "num_layers": 2}}
    config = resolve({**own_data, **short})
    assert teacher_name(config.teacher) == "minilm-l6 3L"
    assert student_name(config.student, "big") == "big 2L"
    own = resolve({"student": {"kind": "checkpoint", "path": "org/tiny"}}).student
    assert student_name(own, "big") == "tiny"
    assert teacher_name(resolve({}).teacher) == "builtin 4L 96H"


def test_a_real_run_is_observed_with_features(tmp_path):
    storage, table = tmp_path / "runs", tmp_path / "table"
    first = run(storage, "conventional", ("objective.kind=kd", "task.description=Is a short review good or bad?"))
    shutil.copytree(storage / first.name, storage / "copy")
    bare = observe_runs(storage, table)
    assert (len(bare.added), bare.num_without_features) == (1, 1)
    tasks: list[str] = []
    observed = observe_runs(storage, table, with_features=True, report=tasks.append)
    assert (observed.added, len(observed.completed), observed.num_without_features) == ((), 1, 0)
    # The copy has the same data set, whose features are computed once.
    assert tasks == ["builtin"]
    (row,) = read_frame(table).to_dict(orient="records")
    assert (row["objective"], row["score"]) == ("KD", first.student.validation_metrics["accuracy"])
    assert 0 < row["baseline_score"] <= 1
    assert "feature_063" in row
    assert observe_runs(storage, table, with_features=True).num_known == 1


def test_data_that_is_gone_is_the_reason_for_no_features(tmp_path):
    folder = write_run(tmp_path / "runs", 0.84)
    observed = observe_runs(tmp_path / "runs", tmp_path / "table", with_features=True)
    assert observed.added == (folder.name,)
    assert "data.folder" in observed.without_features[folder.name]


def test_data_that_has_changed_is_the_reason_for_no_features(tmp_path):
    prepared = prepared_run(tmp_path / "runs", "conventional")
    run(tmp_path / "runs", "conventional")
    config = prepared.run_folder / "config.yaml"
    LOCAL.write_text(config, config.read_text().replace("train_rows: 128", "train_rows: 160"))
    observed = observe_runs(tmp_path / "runs", tmp_path / "table", with_features=True)
    assert "no longer those that the run used" in observed.without_features[prepared.name]


def test_a_storage_in_a_bucket_is_observed(bucket, tmp_path, monkeypatch):
    storage = Storage(bucket)
    folder = write_run(storage.root, 0.84)
    storage.upload(folder)
    another_node(tmp_path, monkeypatch)
    observed = observe_runs(bucket, f"{bucket}/observations")
    assert observed.added == (folder.name,)
    assert observed.table == f"{bucket}/observations"
    assert observe_runs(bucket, f"{bucket}/observations").num_known == 1
