"""``export``, ``extract`` and ``push`` from the command line, and what each says of bad input before it computes."""

import re
import shutil
import sys

import pytest
import yaml
from cli_kit import RECIPE, write_rows
from pipeline_kit import prepared_run, random_teacher
from storage_kit import LOCAL

from minidisc_ray.export.graphs import EXTRAS
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.run_files.failures import write_failure


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    storage = tmp_path_factory.mktemp("exported")
    prepared = prepared_run(storage, "minidisc", random_teacher(tmp_path_factory.mktemp("teacher")))
    run_in_process(prepared)
    return prepared.run_folder


def test_extract_then_predict(minidisc, run, tmp_path):
    done = minidisc("extract", run, "--scale", "30", "--output", tmp_path / "student-30")
    assert done.code == 0, done.err
    assert "student-30: 30% of the teacher's heads and neurons, " in done.out
    (tmp_path / "rows.csv").write_text("text\ngood plot\n")
    assert minidisc("predict", tmp_path / "student-30", tmp_path / "rows.csv", "--columns", "text").code == 0


def test_push_to_a_folder(minidisc, run, tmp_path):
    done = minidisc("push", run, "--to", tmp_path / "out", "--repeats", "1", "--set", "teacher.license=mit")
    assert done.code == 0, done.err
    assert done.out == f"pushed to {tmp_path / 'out'}; its card is README.md there\n"
    assert "licence: mit" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--to", "openvino", "--int8"), "--int8: only onnx has an int8 copy, not openvino"),
        (("--max-drop", "-1"), "--max-drop: -1 is not a number of points from 0"),
        (("--max-drop", "nan"), "--max-drop: nan is not a number of points from 0"),
        (("--repeats", "-2"), "--repeats: -2 is below 0"),
        (("--threads", "0"), "--threads: 0 is not between 1 and "),
        (("--threads", "10000"), "the CPUs of this machine"),
        (("--output", "s3://bucket/out"), "is a URI; give a folder on this machine"),
        (("--recipe", "none.yaml"), "none.yaml"),
    ],
)
def test_bad_options_of_export(minidisc, run, tmp_path, arguments, said):
    assert said in minidisc("export", run, "--output", tmp_path / "out", *arguments).sentence
    assert not (tmp_path / "out").exists()


def test_an_export_folder_that_exists(minidisc, run, tmp_path):
    assert f"--output: {tmp_path} exists" in minidisc("export", run, "--output", tmp_path).sentence


@pytest.mark.parametrize(("target", "package"), [("onnx", "onnxruntime"), ("openvino", "openvino")])
def test_a_package_that_cannot_be_imported_is_answered_with_what_installs_it(
    minidisc, run, tmp_path, monkeypatch, target, package
):
    monkeypatch.setitem(sys.modules, package, None)
    said = minidisc("export", run, "--to", target, "--output", tmp_path / "out").sentence
    assert said.startswith(f"--to: {target} needs {package}, which cannot be imported here")
    assert said.endswith(f"pip install {' '.join(EXTRAS[target])}")


def test_a_run_that_is_not_finished(minidisc, run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    shutil.rmtree(tmp_path / "run" / "student")
    rows = write_rows(tmp_path / "rows.jsonl", 4)
    command = f"minidisc run {tmp_path}/run/config.yaml --storage {tmp_path}"
    for command_line in (
        ("export", "run", "--output", tmp_path / "out"),
        ("push", "run", "--to", tmp_path / "out"),
        ("extract", "run", "--scale", "30", "--output", tmp_path / "out"),
        ("evaluate", "run", rows),
        ("predict", "run", rows),
        ("predict", tmp_path / "run", rows),
        ("profile", "run"),
        ("compare", "run"),
    ):
        said = minidisc(*command_line, "--storage", tmp_path).sentence
        where = r"stage \d of \d, \w+(, step \d+ of \d+)?"
        assert re.fullmatch(rf"{tmp_path}/run: this run is not finished: {where}; `{command}` resumes it", said), said


def test_a_run_whose_secrets_were_masked_is_resumed_by_its_own_recipe(minidisc, run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace("license: null", "license: '***'"))
    said = minidisc("profile", tmp_path / "run").sentence
    assert said.endswith("; run its recipe again to resume it")
    write_failure(LOCAL, tmp_path / "run", "main", "no memory left")
    said = minidisc("profile", tmp_path / "run").sentence
    assert "/run: this run failed: stage " in said
    assert said.endswith(" (no memory left); run its recipe again to resume it")


def test_a_folder_of_nothing(minidisc, tmp_path):
    said = minidisc("export", tmp_path, "--output", tmp_path / "out").sentence
    assert "no run and no model there" in said


def test_a_models_folder_needs_a_recipe(minidisc, run, tmp_path):
    said = minidisc("export", run / "student", "--output", tmp_path / "out").sentence
    assert "does not say which rows to check a copy on; name a recipe with --recipe" in said


def test_rows_that_changed_since_the_run(minidisc, run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    config["data"]["generation_seed"] = 5
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(config))
    said = minidisc("export", tmp_path / "run", "--output", tmp_path / "out").sentence
    assert "the rows that its config.yaml names have changed since the run" in said


def test_classes_of_another_task(minidisc, run, tmp_path):
    rows = "text,label\n" + "".join(f"row {number},{'no' if number % 2 else 'yes'}\n" for number in range(40))
    for name in ("train", "validation"):
        (tmp_path / f"{name}.csv").write_text(rows.replace("row", name))
    recipe = {
        **RECIPE,
        "task": {"kind": "classification", "text": ["text"], "label": "label"},
        "data": {"kind": "files", "folder": str(tmp_path)},
    }
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(recipe))
    said = minidisc("export", run, "--recipe", tmp_path / "other.yaml", "--output", tmp_path / "out").sentence
    assert "no" in said
    assert "yes" in said
    assert not (tmp_path / "out").exists()
