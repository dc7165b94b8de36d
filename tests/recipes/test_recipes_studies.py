"""Every shipped study: it loads at every budget, its head says how it is run, and its printed figures fit together."""

import os
import re
import statistics
from pathlib import Path

import pytest
import yaml
from study_kit import cells_of

from minidisc_ray.configs.study.base import AVERAGE
from minidisc_ray.configs.study.study import load_study, resolve_study, study_runs
from minidisc_ray.preparation.prepare import prepare
from minidisc_ray.reports.study.paper import average_of

ROOT = Path(__file__).parents[2]
STUDIES = sorted((ROOT / "studies").glob("*.yaml"))
TABLES = {f"table-{number}" for number in ("01", "05", "06", "07", "10", "13", "15", "16")}
AT_BUDGETS = [
    (path, budget)
    for path in STUDIES
    for budget in yaml.safe_load(path.read_text("utf-8")).get("budgets", {None: None})
]
SMALL_ROWS, SMALL_RUNS = 1000, 40


@pytest.fixture
def anywhere(monkeypatch):
    monkeypatch.setenv("MINIDISC_DATA", "/data/of/anybody")
    monkeypatch.setenv("MINIDISC_MODELS", "/models/of/anybody")


def test_there_is_one_for_each_table():
    assert {path.stem for path in STUDIES} >= TABLES | {"sst2-qnli-qqp"}
    assert {(path.stem, budget) for path, budget in AT_BUDGETS} >= {(t, b) for t in TABLES for b in ("small", "paper")}


@pytest.mark.parametrize(("path", "budget"), AT_BUDGETS, ids=lambda value: getattr(value, "stem", value))
def test_a_study_loads_at_every_budget_wherever_data_and_models_lie(anywhere, path, budget):
    study = load_study(path, budget=budget)
    runs = list(study_runs(study))
    assert study.name == path.stem
    assert study.conventional == "LTSD"
    assert {run.method for run in runs} == set(study.methods)
    assert len({run.config.model_dump_json() for run in runs}) == len(runs), "two rows are the same run"
    if budget == "small":
        assert len(runs) <= SMALL_RUNS
        assert all((run.config.data.max_train_rows or SMALL_ROWS + 1) <= SMALL_ROWS for run in runs)
    if budget == "paper":
        assert {run.config.protocol for run in runs} == {"paper"}
        assert {run.config.data.max_train_rows for run in runs} == {None}
        assert {run.config.data.max_length for run in runs if run.task == "sst2"} <= {64}
        assert {run.config.data.max_length for run in runs if run.task != "sst2"} == {128}
        assert len(study.seeds) == 5
        at_10 = [run.config for run in runs if run.method == "MaxiDisc" and run.scale_percent == 10]
        assert {len(config.candidate_scales()) for config in at_10} <= {17}


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_studys_header_says_what_it_needs_how_it_is_run_and_how_long_that_takes(path):
    text = path.read_text(encoding="utf-8")
    header = text[: re.search(r"^[^#\n]", text, re.MULTILINE).start()]
    commands = re.findall(r"^#   minidisc study (\S+)(?: --budget (\S+))?\s*$", header, re.MULTILINE)
    assert {ROOT / name for name, _ in commands} == {path}
    for _, budget in commands:
        assert budget in yaml.safe_load(text).get("budgets", {}) or not budget
    assert "Needs:" in header
    assert "Takes:" in header


@pytest.mark.parametrize("stem", sorted(TABLES))
def test_printed_averages_are_those_of_the_printed_columns(anywhere, stem):
    study = load_study(ROOT / "studies" / f"{stem}.yaml", budget="paper")
    checked = 0
    for table in study.paper.tables.values():
        assert {run.method for run in study_runs(study)} | {"Teacher"} >= set(table.rows)
        columns = average_of(table)
        for method, by_scale in table.rows.items():
            for scale, figures in by_scale.items():
                assert scale in (*study.scales, 100) or study.methods[method].changes["student"]["kind"] == "layers"
                if AVERAGE in figures and set(columns) <= figures.keys():
                    # The papers' own rounding explains a tenth.
                    mean = statistics.fmean(figures[column] for column in columns)
                    assert figures[AVERAGE] == pytest.approx(mean, abs=0.1), (method, scale)
                    checked += 1
    assert bool(checked) == (stem in ("table-01", "table-10", "table-13", "table-15"))


def test_the_example_in_the_docs_is_a_study():
    text = (ROOT / "docs" / "studies.md").read_text(encoding="utf-8")
    example = re.search(r"as a whole file:\n\n((?:    .*\n)+)", text)
    assert example is not None
    study = resolve_study(yaml.safe_load(example.group(1)))
    assert [run.method for run in study_runs(study)] == ["LTSD", "TA", "MiniDisc"] * 2


def test_a_small_study_plans_on_the_real_rows_and_model(tmp_path):
    places = {name: os.environ.get(name) for name in ("MINIDISC_DATA", "MINIDISC_MODELS")}
    missing = [name for name, root in places.items() if not root or not Path(root).is_dir()]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not set to a folder: the study's rows and model are not here")
    # The table of the most kinds of students, on its smallest task.
    rte = f"{places['MINIDISC_DATA']}/rte"
    sets = [f"tasks={{rte: {{data: {{kind: files, folder: {rte}}}}}}}", "scales=[5]"]
    cells = cells_of(load_study(ROOT / "studies" / "table-01.yaml", sets), tmp_path)
    names = [prepare(cell.config).name for cell in cells]
    assert len(set(names)) == len(cells) == len({cell.method for cell in cells})
    assert {name.split("-")[0] for name in names} == {"rte"}
    assert not list(tmp_path.iterdir()), "planning writes nothing"
