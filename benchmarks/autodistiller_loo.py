"""How well configurations of a dataset are ranked that the predictor has not seen: Distiller's figures 3, 4 and 5.

    MINIDISC_DATA=... OMP_NUM_THREADS=1 python benchmarks/autodistiller_loo.py [--output results.json] [--figures DIR]
    python benchmarks/autodistiller_loo.py --results results.json --figures DIR
    python benchmarks/autodistiller_loo.py --generated 1000000

The published observations of eight datasets, each left out in turn; the predictor's choices are made inside the other
seven. Minutes on two cores. With ``--generated`` it measures seconds and memory of a table of that many rows instead,
and how well a sample of the published configurations does. With ``--results`` it draws the numbers of an earlier
``--output`` and measures nothing.
"""

import argparse
import json
import os
import resource
import time
from pathlib import Path

import numpy as np
import pandas as pd
from autodistiller_figures import write_all
from sklearn.linear_model import Ridge

from minidisc_ray.autodistiller.prediction import predictor as predictors
from minidisc_ray.autodistiller.prediction.dataset_importance import correlation_by_num_tasks, permutation_importance
from minidisc_ray.autodistiller.prediction.encoding import Encoding
from minidisc_ray.autodistiller.prediction.held_out import (
    Measured,
    Recommended,
    leave_one_task_out,
    mean_of,
    measured_by,
    pair_correlations,
    recommended_against_random,
    task_correlations,
)
from minidisc_ray.autodistiller.prediction.predictor import Predictor
from minidisc_ray.autodistiller.tables.frame import OUTCOMES, checked_frame, configuration_keys
from minidisc_ray.autodistiller.tables.published import read_published

PAPER = 0.33  # figure 5, mean of eight datasets
PAIR = ("TinyBERT4", "BERT_BASE")  # figure 3


class RidgeRanker:
    """Ridge regression on normal scores, all tasks as one: what the predictor has to beat."""

    def __init__(self, with_models: bool = True, with_components: bool = True) -> None:
        self.with_models, self.with_components = with_models, with_components

    def fit(self, frame: pd.DataFrame) -> "RidgeRanker":
        """Learn from observations of several tasks."""
        self.encoding = Encoding.of(frame)
        normal = frame.groupby("task")["ratio_to_teacher"].transform(predictors._normal_scores)
        self.ridge = Ridge(alpha=10.0).fit(self._inputs(frame), normal)
        return self

    def rank(self, frame: pd.DataFrame) -> np.ndarray:
        """Higher for better ones."""
        return self.ridge.predict(self._inputs(frame))

    def _inputs(self, frame: pd.DataFrame) -> np.ndarray:
        parts = [self.encoding.models(frame)] if self.with_models else []
        return np.concatenate([*parts, *([self.encoding.components(frame)] if self.with_components else [])], axis=1)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="write all numbers as JSON")
    parser.add_argument("--figures", type=Path, metavar="DIR", help="draw figures 3a, 3b, 4 and 5, as SVG and PNG")
    parser.add_argument("--results", type=Path, metavar="JSON", help="draw these numbers, and measure nothing")
    parser.add_argument("--draws", type=int, default=1000, help="bootstrap draws of an interval")
    parser.add_argument("--generated", type=int, default=0, help="rows of a generated table to be timed on")
    arguments = parser.parse_args()
    if arguments.figures is not None and arguments.generated:
        parser.error("--figures: a generated table has none; leave out --generated")
    if arguments.results is not None:
        if arguments.figures is None:
            parser.error("--results: give a folder with --figures")
        draw(json.loads(arguments.results.read_text()), arguments.figures)
        return
    frame = read_published(Path(os.environ["MINIDISC_DATA"]) / "autodistiller")
    start = time.perf_counter()
    found = of_generated(frame, arguments.generated) if arguments.generated else of_published(frame, arguments.draws)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{time.perf_counter() - start:.0f} s, peak {peak:.2f} GiB")
    if arguments.output is not None:
        arguments.output.write_text(json.dumps(found, indent=1) + "\n")
    if arguments.figures is not None:
        draw(found, arguments.figures)


def draw(found: dict[str, object], folder: Path) -> None:
    """Write the figures, and print their paths."""
    for path in write_all(found, PAPER, folder):
        print(f"wrote {path}")


def of_published(frame: pd.DataFrame, num_draws: int) -> dict[str, object]:
    """All figures on the published observations."""
    found: dict[str, object] = {}
    repeated = configuration_keys(frame).duplicated(keep=False).sum()
    print(f"{len(frame)} observations of {frame['task'].nunique()} datasets, {repeated} repeat a configuration")
    rankers = {
        "predictor": Predictor,
        "ridge": RidgeRanker,
        "ridge, models alone": lambda: RidgeRanker(with_components=False),
        "ridge, components alone": lambda: RidgeRanker(with_models=False),
    }
    print(f"\nFigure 5: Spearman's correlation with ratio_to_teacher on each dataset left out; the paper has {PAPER}")
    all_means: dict[str, dict[str, Measured]] = {}
    for name, make in rankers.items():
        ranks = leave_one_task_out(frame, make)
        by_task = task_correlations(frame, ranks, num_draws=num_draws)
        by_pair = pair_correlations(frame, ranks, num_draws=num_draws)
        means = {"mean": mean_of(list(by_task.values())), "mean within pairs": mean_of(list(by_pair.values()))}
        print(f"{name}: " + ", ".join(f"{task} {text(one)}" for task, one in (means | by_task).items()))
        all_means[name] = means
        found[name] = {key: plain(one) for key, one in (means | by_task).items()}
        if name == "predictor":
            print("  within pairs: " + ", ".join(f"{' '.join(key)} {text(one)}" for key, one in by_pair.items()))
            found["within pairs"] = {" ".join(key): plain(one) for key, one in by_pair.items()}
            found["figure 3b"] = figure_3b(frame, ranks, num_draws)
            found["ceiling"] = ceiling(frame, ranks)
    # Draws of all rankers are of the same configurations, so that their differences are paired.
    for key, mean in all_means["predictor"].items():
        other = all_means["ridge"][key]
        difference = measured_by(mean.value - other.value, mean.draws - other.draws)
        print(f"predictor less ridge, {key}: {text(difference)}")
        found[f"predictor less ridge, {key}"] = plain(difference)
    found["coverage"] = coverage(frame)
    curve = correlation_by_num_tasks(frame, Predictor)
    print("\nFigure 3a: mean correlation by number of datasets trained on (each draw): ")
    print("; ".join(f"{number}: {', '.join(f'{one:.2f}' for one in values)}" for number, values in curve.items()))
    falls = permutation_importance(frame)
    print("\nFigure 4: fall of R² when a group of dataset features is shuffled (20 splits of rows)")
    print(", ".join(f"{group} {text(one)}" for group, one in falls.items()))
    return found | {"figure 3a": curve, "figure 4": {group: plain(one) for group, one in falls.items()}}


def figure_3b(frame: pd.DataFrame, ranks: pd.Series, num_draws: int) -> dict[str, object]:
    """Five recommended configurations against five random ones."""
    pair = frame[(frame["student"] == PAIR[0]) & (frame["teacher"] == PAIR[1])]
    found = {}
    for name, rows, target in (
        ("all models, ratio_to_teacher", frame, "ratio_to_teacher"),
        (f"{PAIR[0]} of {PAIR[1]}, ratio_to_teacher", pair, "ratio_to_teacher"),
        (f"{PAIR[0]} of {PAIR[1]}, ratio (equation 2)", pair, "ratio"),
    ):
        by_task = recommended_against_random(rows, ranks, target, num_draws=num_draws)
        columns = [field for field in Recommended.__dataclass_fields__ if field != "num_configurations"]
        print(f"\nFigure 3b: top 5 against 5 random, {name}")
        means = {field: mean_of([getattr(one, field) for one in by_task.values()]) for field in columns}
        for task, one in {**{task: vars(one) for task, one in by_task.items()}, "mean": means}.items():
            print(f"  {task}: " + ", ".join(f"{field} {text(one[field], 3)}" for field in columns))
            found[f"{name}, {task}"] = {field: plain(one[field]) for field in columns}
    return found


def ceiling(frame: pd.DataFrame, ranks: pd.Series, num_draws: int = 2) -> dict[str, object]:
    """What a correlation within pairs could be: with half of a dataset's own rows known, and by repeats.

    ``ranks``, predicted without any row of the dataset, are measured on the same halves.
    """
    keys, generator = configuration_keys(frame), np.random.default_rng(0)
    known, unknown = [], []
    for _ in range(num_draws):
        is_known = pd.Series(generator.permutation(keys.max() + 1) % 2 == 0)[keys].to_numpy()
        halves = pd.Series(np.nan, index=frame.index)
        for task in sorted(frame["task"].unique()):
            held_out = (frame["task"] == task) & ~is_known
            fitted = Predictor().fit(frame[~held_out])
            halves[held_out] = fitted.rank(frame[held_out].drop(columns=list(OUTCOMES)))
        for predicted, values in ((halves, known), (ranks, unknown)):
            by_pair = pair_correlations(frame[~is_known], predicted[~is_known], num_draws=2)
            values.append(mean_of(list(by_pair.values())).value)
    halves_known = {"half of its rows known": float(np.mean(known)), "none": float(np.mean(unknown))}
    print("\nWithin pairs, on half of each dataset's configurations: " + str(halves_known))
    repeats = {}
    for pair, rows in frame.groupby(["task", "student", "teacher"]):
        if keys[rows.index][keys[rows.index].duplicated()].nunique() < 10:
            continue
        values = pd.DataFrame({"key": keys[rows.index], "normal": predictors._normal_scores(rows["ratio_to_teacher"])})
        repeated = values[values["key"].duplicated(keep=False)]
        by_key = repeated.groupby("key")["normal"]
        # Not the first with the second of two: the published rows are sorted by score.
        squares = float(((repeated["normal"] - by_key.transform("mean")) ** 2).sum())
        share = 1 - squares / (len(repeated) - by_key.ngroups) / float(values["normal"].var())
        repeats[" ".join(pair)] = [by_key.ngroups, max(0.0, share) ** 0.5]
    print("repeated configurations, and by their spread the largest correlation of any predictor with single results:")
    print("; ".join(f"{pair}: {number}, {most:.2f}" for pair, (number, most) in repeats.items()))
    return {"halves": halves_known, "repeats": repeats}


def coverage(frame: pd.DataFrame) -> dict[str, float]:
    """The share of results on datasets left out that lie in the predictor's 90% interval."""
    shares = {}
    for task in sorted(frame["task"].unique()):
        held_out = frame[frame["task"] == task]
        predicted = (
            Predictor(level=0.9).fit(frame[frame["task"] != task]).predict(held_out.drop(columns=list(OUTCOMES)))
        )
        shares[task] = float(held_out["ratio_to_teacher"].between(predicted["low"], predicted["high"]).mean())
    shares["mean"] = float(np.mean(list(shares.values())))
    print("\nCoverage of 90% intervals: " + ", ".join(f"{task} {share:.2f}" for task, share in shares.items()))
    # The same for configurations of tasks that the table has.
    folds = configuration_keys(frame) % 5
    inside = pd.Series(False, index=frame.index)
    for fold in range(5):
        held_out = frame[folds == fold]
        predicted = Predictor(level=0.9).fit(frame[folds != fold]).predict(held_out.drop(columns=list(OUTCOMES)))
        inside[held_out.index] = held_out["ratio_to_teacher"].between(predicted["low"], predicted["high"])
    known = inside.groupby(frame["task"]).mean()
    print("of new configurations of known tasks: " + ", ".join(f"{task} {share:.2f}" for task, share in known.items()))
    return (
        shares | {f"known {task}": float(share) for task, share in known.items()} | {"known mean": float(known.mean())}
    )


def of_generated(frame: pd.DataFrame, num_rows: int) -> dict[str, object]:
    """Seconds of a fit on many generated rows, and what a sample costs on the published ones."""
    generator = np.random.default_rng(0)
    rows = frame.iloc[generator.integers(len(frame), size=num_rows)].reset_index(drop=True)
    # Other learning rates make other configurations of the same results.
    rows["learning_rate"] = 10 ** generator.uniform(-5, -3, num_rows)
    rows["ratio_to_teacher"] += generator.normal(0, 0.005, num_rows)
    start = time.perf_counter()
    checked = checked_frame(rows, "generated")
    read = time.perf_counter() - start
    del rows
    start = time.perf_counter()
    fitted = Predictor().fit(checked)
    fit = time.perf_counter() - start
    start = time.perf_counter()
    fitted.predict(frame)
    predict = time.perf_counter() - start
    print(f"{num_rows:,} rows: checked {read:.1f} s, fitted {fit:.1f} s, predicted {predict:.1f} s; {fitted.notes}")
    means = {}
    for number in (250, 500, 1000):
        predictors.MAX_CONFIGURATIONS = number
        by_task = task_correlations(frame, leave_one_task_out(frame, Predictor), num_draws=2)
        means[number] = mean_of(list(by_task.values())).value
    print("mean correlation with a sample of: " + ", ".join(f"{number} {value:.3f}" for number, value in means.items()))
    return {"read_seconds": read, "fit_seconds": fit, "predict_seconds": predict, "by_sample": means}


def text(one: Measured, digits: int = 2) -> str:
    """A value and its interval."""
    return f"{one.value:.{digits}f} ({one.low:.{digits}f} to {one.high:.{digits}f})"


def plain(one: Measured) -> list[float]:
    """Value, low, high."""
    return [round(one.value, 5), round(one.low, 5), round(one.high, 5)]


if __name__ == "__main__":
    main()
