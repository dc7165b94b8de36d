import pytest
from cli_kit import write_recipe


def test_plan_prints_steps_sizes_and_the_sum_and_starts_nothing(minidisc, tmp_path):
    out = minidisc.well("plan", write_recipe(tmp_path / "r.yaml", tmp_path / "storage"), "--name", "mine")
    assert out.startswith(
        "builtin: train 115 rows, selection 13 (a seeded tenth of train), validation 64; metric accuracy"
    )
    lines = [line.split() for line in out.splitlines()]
    assert [line[:2] for line in lines if line and line[0] in ("teacher", "candidate", "student")] == [
        ["teacher", "8"],
        ["candidate", "60%"],
        ["candidate", "30%"],
        ["student", "10%"],
    ]
    steps = {line[1]: float(line[-1]) for line in lines if line and line[0] in ("shared", "main")}
    assert list(steps) == ["teacher", "importance", "sandwich", "choose", "student"]
    total = next(float(line[1]) for line in lines if line and line[0] == "sum")
    assert total == pytest.approx(sum(value for name, value in steps.items() if name != "teacher"), abs=0.003)
    assert f"run: {tmp_path / 'storage' / 'mine'}" in out
    assert "1 trial, each on 1 x 1 CPUs" in out
    assert not (tmp_path / "storage").exists()


def test_plan_says_what_its_steps_and_sums_rest_on(minidisc, tmp_path):
    path = write_recipe(tmp_path / "r.yaml", tmp_path / "storage")
    out = minidisc.well("plan", path, "--set", "schedule.scales=[60,45,30]")
    assert "warning: 13 selection rows choose: metrics move in steps of 7.7 points" in out
    assert "sandwich trains: 60%, 10%; the other candidates are only evaluated" in out
    assert "choose is assumed to pick 45%, the middle of the grid" in out
    many = minidisc.well(
        "plan",
        path,
        "--set",
        "data.train_rows=300",
        "--set",
        "data.selection_fraction=0.45",
        "--set",
        "schedule.num_sampled=3",
    )
    assert "warning" not in many
    assert "sandwich trains: 60%, 30%, 10%, every scale" in many

    match = "{kind: conventional, match: {kind: minidisc, scales: [60, 30], num_sampled: 3}}"
    matched = minidisc.well("plan", path, "--set", f"schedule={match}")
    assert "warning" not in matched, "nothing is chosen"
    line = next(line for line in matched.splitlines() if line.startswith("matched: "))
    assert "of MiniDisc (η = 3) over 60%, 30% with eta 3; reached in " in line
    again = minidisc.well(
        "plan", path, "--set", f"schedule={match}", "--set", f"schedule.num_epochs={line.split()[-2]}"
    )
    assert line in again


def test_plan_counts_the_trials_of_a_sweep(minidisc, tmp_path):
    path = write_recipe(tmp_path / "r.yaml", tmp_path / "storage")
    out = minidisc.well("plan", path, "--set", "schedule.kind=maxidisc", "--set", "compute.num_workers=2")
    assert "2 trials, each on 2 x 1 CPUs" in out
    assert "scale-60" in out
    out = minidisc.well(
        "plan", path, "--set", "schedule={kind: maxidisc, early_end: asha}", "--set", "distil.num_epochs=4"
    )
    assert "17 probes and 4 trials, each on" in out
    line = next(line for line in out.splitlines() if line.startswith("probes train for "))
    assert line.startswith("probes train for 1 of 4 epochs; 4 of 17 trials then run in full and from their beginning")
    assert line.endswith("% of the FLOPs of all in full")


def test_a_path_with_quotes_and_spaces_is_taken_as_it_is(minidisc, tmp_path):
    odd = tmp_path / 'my "runs" #1: a'
    assert str(odd) in minidisc.well(
        "plan", write_recipe(tmp_path / "r.yaml", tmp_path), "--storage", odd, "--name", "x"
    )


def test_sizes_before_pruning_are_called_estimates(minidisc, tmp_path):
    path = write_recipe(tmp_path / "r.yaml", tmp_path / "storage")

    def estimated(*overrides):
        out = minidisc.well("plan", path, *(part for one in overrides for part in ("--set", one)))
        lines = out[out.index("Sizes") :].splitlines()
        found = [line for line in lines if line.startswith(("teacher ", "candidate ", "student "))]
        return [line.split(" ")[0] for line in found if "(estimated)" in line]

    assert estimated() == ["candidate", "candidate", "student"]
    conventional = "schedule={kind: conventional}"
    assert estimated(conventional, "student.scale_percent=50") == ["student"]
    assert estimated(conventional, "student.scale_percent=50", "pruning.ranking=local") == [], "layers lose alike"
    assert estimated(conventional, "student={kind: layers, num_layers: 1}") == [], "its layers are whole"
