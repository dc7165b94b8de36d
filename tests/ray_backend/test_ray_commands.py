"""The commands that need a Ray, in this process and on the tests' own."""

import re

import pytest
from ray_kit import RAY, RECIPE, SCHEDULES, call, numbers, prepared_run, write_recipe

from minidisc_ray.cli import demo
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.run_files.result import load_result

pytestmark = [*RAY, pytest.mark.usefixtures("local_ray")]


@pytest.fixture
def minidisc(capsys):
    def succeed(*arguments):
        code, out, err = call(capsys, *arguments)
        assert (code, err) == (0, ""), (out, err)
        return out

    return succeed


def test_run_shows_its_result_and_one_process_gives_the_same(minidisc, tmp_path):
    recipe = write_recipe(tmp_path / "recipe.yaml", tmp_path / "storage", "minidisc")
    out = minidisc("run", recipe, "--set", "schedule.kind=conventional", "--name", "mine")
    folder = tmp_path / "storage" / "mine"
    result = load_result(folder)
    lines = out.splitlines()
    assert f"mine: conventional, in {folder}" in lines
    assert any(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  main  3/3 student", line) for line in lines)
    assert f"student at 10%: accuracy {100 * result.student.validation_metrics['accuracy']:.1f}" in out
    assert lines[-2:] == [f"student: {folder / 'student'}", f"report:  {folder / 'report.html'}"]
    assert "<html" in (folder / "report.html").read_text()

    # The same from Python, on Ray too: the examples of the Python reference.
    here = prepared_run(tmp_path / "here", "conventional")
    found = numbers(run_in_process(here))
    assert found.pop("name") == here.name
    wanted = numbers(result)
    assert wanted.pop("name") == "mine"
    assert found == wanted

    again = minidisc("run", recipe, "--set", "schedule.kind=conventional", "--name", "mine")
    assert again.splitlines()[-4:] == lines[-4:], "a finished run is shown, not run"
    assert load_result(folder) == result


@pytest.mark.slow
def test_the_demo_compares_its_schedules(minidisc, tmp_path, monkeypatch):
    """The demo's own way, with less of everything: as it is it takes minutes, most of them a sweep's."""
    small = {key: RECIPE[key] for key in ("data", "teacher", "pruning", "finetune", "distil")}
    monkeypatch.setattr(demo, "_RECIPE", {**demo._RECIPE, **small, "student": {"scale_percent": 10}})
    assistant = {"kind": "assistant", "assistant_percent": 60}
    schedules = {"conventional": SCHEDULES["conventional"], "assistant": assistant, "minidisc": SCHEDULES["minidisc"]}
    monkeypatch.setattr(demo, "_SCHEDULES", schedules)
    out = minidisc("demo", "--storage", tmp_path / "runs")
    for text in ("Teacher", "Conventional", "TA (60%)", "MiniDisc", "95% interval", "its FLOPs", "minidisc init"):
        assert text in out, text
    report = out.splitlines()[-1].removeprefix("report: ")
    page = (tmp_path / report).read_text()
    for method in ("Conventional", "MiniDisc"):
        assert method in page, method
    assert len([path for path in (tmp_path / "runs").iterdir() if (path / "result.json").is_file()]) == 3


def test_plan_warns_of_a_trial_that_no_node_of_the_cluster_holds_and_run_refuses_it(minidisc, tmp_path, capsys):
    recipe = write_recipe(tmp_path / "recipe.yaml", tmp_path / "storage", "conventional")
    too_large = ("--set", "compute.cpus_per_worker=3")
    sentence = "this plan needs 3 CPUs for one worker; the largest node has 2. Lower compute.cpus_per_worker"
    assert f"warning: {sentence}" in " ".join(minidisc("plan", recipe, *too_large).split())
    assert "warning: this plan needs" not in minidisc("plan", recipe, "--set", "compute.cpus_per_worker=2")
    code, _, err = call(capsys, "run", recipe, *too_large)
    assert (code, sentence in err, len(err.splitlines())) == (2, True, 1)
    assert not (tmp_path / "storage").exists()
