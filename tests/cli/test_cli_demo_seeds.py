"""How often the demo's sentence holds: the same four runs with ten other seeds, in this process.

Called by name, with its output: ``pytest -s -m slow tests/cli/test_cli_demo_seeds.py``; takes a quarter of an hour.
"""

import pytest

from minidisc_ray.cli.demo import demo_recipes, demo_summary
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.preparation.prepare import prepare

SEEDS = range(11)
# Of an interval at 95%: one seed's rows do not decide by luck.
MOST_HALF_WIDTH = 0.015


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_ten_other_seeds(tmp_path):
    summaries = []
    for seed in SEEDS:
        runs = [prepare(recipe) for recipe in demo_recipes(str(tmp_path), seed=seed).values()]
        summaries.append(demo_summary(runs, [run_in_process(run) for run in runs]))
        scores = "  ".join(f"{row.method} {100 * row.score.mean:.1f}" for row in summaries[-1].rows)
        print(f"seed {seed}: {scores}\n  {summaries[-1].finding}")
    first, *others = summaries
    for place, row in enumerate(row for row in first.rows[1:] if "MiniDisc" not in row.method):
        same = sum(other.verdicts[place] == first.verdicts[place] for other in others)
        print(f"{first.verdicts[place]} {row.method}: so with {same} of {len(others)} other seeds")
    gaps = [100 * (summary.rows[0].score.mean - summary.rows[1].score.mean) for summary in summaries]
    print("teacher above the conventional student, points:", ", ".join(f"{gap:.1f}" for gap in gaps))
    for summary in summaries:
        assert all((row.score.high - row.score.low) / 2 <= MOST_HALF_WIDTH for row in summary.rows)
