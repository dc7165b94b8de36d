"""What `minidisc study --dry-run` tells before anything starts."""

from study_kit import raw_study, write_study

from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.study import prepare_study


def test_a_dry_run_is_a_table_of_runs(minidisc, tmp_path):
    methods = {"LTSD [b]": {"schedule": {"kind": "conventional"}}, "MiniDisc": None}
    budgets = {"quick": {"seeds": [0]}, "whole": {}}
    file = write_study(tmp_path, raw_study(scales=[20, 10], methods=methods, budgets=budgets))
    arguments = (file, "--storage", tmp_path / "runs", "--budget", "quick")
    study = prepare_study(file, budget="quick", storage=str(tmp_path / "runs"))
    run_in_process(study.runs[0])
    first, headings, *rows = minidisc.well("study", *arguments, "--dry-run").splitlines()
    assert first == (
        f"small, budget quick: 4 runs, 1 of them finished, each trial on 1 x 1 CPUs, in {tmp_path}/runs/study-small"
    )
    assert headings.split() == ["Method", "Task", "Scale", "Seed", "Run"]
    table = [row.split() for row in rows]
    assert [row[-7:-2] if row[-2] == "not" else row[-6:-1] for row in table] == [
        [*cell.method.split()[-1:], cell.task, f"{cell.scale_percent}%", str(cell.seed), run.name]
        for cell, run in zip(study.cells, study.prepared, strict=True)
    ]
    done = study.prepared[0].name
    assert all(row.endswith("not finished") != (done in row) for row in rows)
    assert rows[0].startswith("LTSD [b]")
