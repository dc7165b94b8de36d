"""What a study's runs say: from kept answers of real tiny runs."""

import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest
from findings_kit import FEW, METHODS, section
from safetensors.numpy import load_file, save_file
from study_kit import cells_of, study_of

from minidisc_ray.configs.loader import resolve
from minidisc_ray.pipeline.in_process import run_in_process
from minidisc_ray.preparation.prepare import prepare
from minidisc_ray.reports.study.finding_notes import finding_notes
from minidisc_ray.study.answers import EVERY_TASK, FinishedRun
from minidisc_ray.study.findings import findings_of


def mean_metric(runs, method):
    values = [run.result.student.validation_metrics["accuracy"] for run in runs if run.cell.method == method]
    return sum(values) / len(values)


def test_differences_are_those_of_the_reported_metrics(runs, findings):
    pairs = {(found.what, found.against) for found in findings.differences}
    assisted = ("TA", "MiniDisc", "MaxiDisc", "with tradeoff")
    assert pairs == {(ours, theirs) for ours in assisted for theirs in ("LTSD", "matched")}
    for found in findings.differences:
        expected = mean_metric(runs, found.what) - mean_metric(runs, found.against)
        assert found.interval.mean == pytest.approx(expected)
        assert found.interval.low <= found.interval.high
        assert (found.interval.num_seeds, found.interval.num_examples) == (2, 64)
        assert found.task == "builtin"


def test_regret_is_maxidiscs_student_less_that_of_each_other_method_and_hindsight_is_no_smaller(runs, findings):
    methods = ("TA", "MiniDisc", "with tradeoff")
    assert [(lost.what, lost.against) for lost in findings.regrets] == [(each, "MaxiDisc") for each in methods]
    best = [
        max(trial.student_validation for trial in run.result.trials) for run in runs if run.cell.method == "MaxiDisc"
    ]
    for method, lost, ceiling in zip(methods, findings.regrets, findings.hindsights, strict=True):
        assert lost.interval.mean == pytest.approx(mean_metric(runs, "MaxiDisc") - mean_metric(runs, method))
        assert ceiling.interval.mean == pytest.approx(sum(best) / 2 - mean_metric(runs, method))
        assert ceiling.interval.mean >= lost.interval.mean


def test_baselines_are_compared_with_each_other_method_once(runs, findings):
    found = findings_of(runs, FEW, baselines=("MiniDisc", "TA", "LTSD")).differences
    beside = [each for each in found if each.against in ("MiniDisc", "TA")]
    assert {(each.what, each.against) for each in beside} == {
        ("TA", "MiniDisc"), ("MaxiDisc", "MiniDisc"), ("with tradeoff", "MiniDisc"),
        ("MaxiDisc", "TA"), ("with tradeoff", "TA"),
    }  # fmt: skip
    assert {each.what: each for each in found if each.against == "LTSD"} == {
        each.what: each for each in findings.differences if each.against == "LTSD"
    }
    for each in beside:
        assert each.interval.mean == pytest.approx(mean_metric(runs, each.what) - mean_metric(runs, each.against))
        assert each.interval.low <= each.interval.lower_bound <= each.interval.high


def test_hits_are_counted_by_hand(runs, findings):
    sweeps = {run.cell.seed: run.result for run in runs if run.cell.method == "MaxiDisc"}
    best, chance = {}, 0.0
    for seed, result in sweeps.items():
        scores = {trial.assistant_percent: trial.student_validation for trial in result.trials}
        best[seed] = {scale for scale, score in scores.items() if score == max(scores.values())}
        chance += len(best[seed]) / len(scores) / len(sweeps)
    picks = {found.what: found.picks for found in findings.rules if found.what != "no assistant"}
    picks["best student on selection (MaxiDisc)"] = tuple(
        result.assistants[0].scale_percent for _, result in sorted(sweeps.items())
    )
    assert {found.rule: found.share.count for found in findings.hits} == {
        rule: sum(pick in best[seed] for seed, pick in zip(sorted(best), of_rule, strict=True))
        for rule, of_rule in picks.items()
    }
    assert {(found.share.total, found.num_students, found.task) for found in findings.hits} == {(2, 3, "builtin")}
    assert [found.chance for found in findings.hits] == pytest.approx([chance] * len(findings.hits))
    other = [replace(run, cell=run.cell._replace(task="again")) for run in runs]
    (law,) = (hit for hit in findings_of([*runs, *other], FEW).hits if (hit.task, hit.rule) == (EVERY_TASK, "2.5x law"))
    (once,) = (hit for hit in findings.hits if hit.rule == "2.5x law")
    assert (law.share.count, law.share.total) == (2 * once.share.count, 4)
    assert law.chance == pytest.approx(once.chance)
    shown = section(findings, "Rules that pick the best student")
    assert shown["Hits"] == tuple(f"{hit.share.count} of 2" for hit in findings.hits)
    assert set(shown["By chance"]) == {f"{2 * chance:.1f} of 2"}


def teacher_of(run):
    return run.result.teacher.validation_metrics


def test_gains_are_those_of_the_reported_metrics(runs, findings):
    assert {(gain.method, gain.seed) for gain in findings.gains} == {
        (method, seed) for method in ("TA", "MiniDisc", "MaxiDisc", "with tradeoff") for seed in (0, 1)
    }
    results = {(run.cell.method, run.cell.seed): run.result for run in runs}
    for gain in findings.gains:
        plain = results["LTSD", gain.seed]
        own, base = (one.student.validation_metrics["accuracy"] for one in (results[gain.method, gain.seed], plain))
        assert gain.gain == pytest.approx(own - base)
        assert gain.gap == pytest.approx(plain.teacher.validation_metrics["accuracy"] - base)
        assert gain.train_rows == plain.splits["train"].rows
    assert findings.gain_trends == ()
    # The random teacher may score no better than the majority class with a seed.
    learned = {run.cell.seed for run in runs if teacher_of(run)["accuracy"] > run.result.majority_metrics["accuracy"]}
    assert {gain.seed for gain in findings.gains if gain.teacher_has_learned} == learned
    notes = finding_notes(findings, 2)
    need = "No trends of gains: a method needs 8 points of tasks and seeds with different gaps; the most here are"
    assert f"{need} {len(learned)}." in notes
    assert any(note.endswith("so there is no gap to close.") for note in notes) == (len(learned) < 2)


def test_rules_pick_among_maxidiscs_own_students(runs, findings):
    by_rule = {found.what: found for found in findings.rules}
    assert set(by_rule) == {
        "λ-tradeoff, λ = 0.2",
        "negative derivative",
        "2.5x law",
        "best assistant on selection",
        "no assistant",
    }
    sweeps = {run.cell.seed: run.result for run in runs if run.cell.method == "MaxiDisc"}
    picks = by_rule["λ-tradeoff, λ = 0.2"].picks
    for seed, pick in zip(sorted(sweeps), picks, strict=True):
        metrics = {trial.assistant_percent: trial.assistant_selection for trial in sweeps[seed].trials}
        best = max(metrics, key=lambda scale: (metrics[scale] + 0.2 * (1 - scale / 100), -scale))
        assert pick == best
    none = by_rule["no assistant"]
    assert none.picks == (None, None)
    assert none.interval.mean == pytest.approx(mean_metric(runs, "MaxiDisc") - mean_metric(runs, "LTSD"))


def test_rank_correlations_are_shown_for_both_coefficients(findings):
    message = {(found.agreement.predictor, found.agreement.coefficient) for found in findings.agreements}
    predictors = ("λ-tradeoff, λ = 0.2", "assistant metric", "scale")
    assert message == {(name, one) for name in predictors for one in ("spearman", "kendall_tau_b")}
    assert {found.agreement.num_scales for found in findings.agreements} == {3}


def test_assumptions_are_counted_over_every_run_with_candidates(runs, findings):
    """Again from the results themselves: maxima of the trade-off, and pairs in which the larger scale scores less."""
    expected = {}
    for method in ("MiniDisc", "MaxiDisc", "with tradeoff"):
        own = [run.result for run in runs if run.cell.method == method]
        singles = falls = 0
        for result in own:
            metric = {candidate.scale_percent: candidate.metric for candidate in result.candidates}
            values = [metric[scale] + 0.2 * (1 - scale / 100) for scale in (20, 40, 60)]
            singles += not (values[1] < values[0] and values[1] < values[2])
            falls += (metric[40] < metric[20]) + (metric[60] < metric[40])
        expected[method] = (singles, len(own), falls, 2 * len(own))
    assert {
        one.method: (one.one_maximum.count, one.one_maximum.total, one.falling_pairs.count, one.falling_pairs.total)
        for one in findings.assumptions
    } == expected
    shown = section(findings, "Do the method's assumptions hold?")
    assert shown["Method"] == tuple(expected)
    assert all(" to " in cell for cell in shown["Falling pairs"])
    assert any(note.startswith("One maximum: the share of runs") for note in finding_notes(findings, num_seeds=2))


def test_several_tasks_are_averaged_too(runs):
    other = [replace(run, cell=run.cell._replace(task="again")) for run in runs]
    found = findings_of([*runs, *other], FEW)
    (one, again, both) = (each for each in found.regrets if each.what == "MiniDisc")
    assert (one.task, again.task, both.task) == ("builtin", "again", EVERY_TASK)
    assert both.interval.mean == pytest.approx(one.interval.mean)
    assert both.interval.num_tasks == 2
    alone = findings_of([*runs, *(run for run in other if run.cell.method != "MaxiDisc")], FEW)
    assert {each.task for each in alone.regrets} == {"builtin"}, "no mean over some of the tasks"


def test_under_the_papers_protocol_selection_and_validation_are_the_same_rows(tmp_path):
    study = study_of(tmp_path, methods={name: METHODS[name] for name in ("LTSD", "MaxiDisc")}, scales=[10], seeds=[0])
    found = []
    for cell in cells_of(study, tmp_path / "runs"):
        prepared = prepare(resolve(cell.config.model_dump(mode="json"), ["protocol=paper"]))
        found.append(FinishedRun(cell, prepared, run_in_process(prepared)))
    message = findings_of(found, FEW)
    assert {each.interval.over for each in message.differences} == {"examples"}
    assert "With one seed an interval is over examples alone." in finding_notes(message, num_seeds=1)


def moved_runs(runs, folder) -> list[FinishedRun]:
    """The same runs in a storage of their own, to be damaged there."""
    shutil.copytree(runs[0].prepared.storage.root, folder)
    moved = []
    for run in runs:
        config = resolve(run.prepared.config.model_dump(mode="json"), [f"storage={folder}"])
        moved.append(replace(run, prepared=prepare(config)))
    return moved


def test_runs_without_answers_are_left_out(runs, tmp_path):
    moved = moved_runs(runs, tmp_path / "runs")
    for folder in (tmp_path / "runs").glob("*/predictions"):
        shutil.rmtree(folder)
    found = asdict(findings_of(moved, FEW))
    (message,) = found.pop("left_out")
    assert found.pop("assumptions"), "they need the results alone"
    assert found.pop("gains"), "so do they"
    assert not any(found.values())
    assert "no answers were kept" in message
    assert all(run.prepared.name in message for run in moved)


def with_first(name, change):
    """A damage that changes one array of a file, or takes it out."""

    def damage(path):
        arrays = load_file(path)
        (key,) = (key for key in arrays if key.startswith(name))
        found = change(arrays.pop(key))
        save_file({**arrays, **({} if found is None else {key: found})}, path)

    return damage


def not_finite(logits):
    logits[0, 0] = np.nan
    return logits


DAMAGES = {
    "garbage": ("main.student", lambda path: path.write_bytes(b"garbage"), "not readable as predictions"),
    "empty": ("main.student", lambda path: path.write_bytes(b""), "not readable as predictions"),
    "cut rows": ("main.student", with_first("validation", lambda logits: logits[:5].copy()), "(5, 2)"),
    "not a number": ("main.student", with_first("validation", not_finite), "not finite"),
    "no split": ("main.student", with_first("validation", lambda _: None), "no logits of split 'validation'"),
    "labels of nothing": ("labels", lambda path: path.write_bytes(b"garbage"), "not readable as predictions"),
    "a label out of range": ("labels", with_first("validation", lambda labels: labels + 7), "not those of its rows"),
    "no labels": ("labels", with_first("validation", lambda _: None), "labels of validation/validation are missing"),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_a_run_with_damaged_answers_is_left_out_and_reported(runs, tmp_path, case):
    file, damage, words = DAMAGES[case]
    chosen = [run for run in runs if run.cell.method in ("LTSD", "TA")]
    moved = moved_runs(chosen, tmp_path / "runs")
    bad = next(run for run in moved if run.cell.method == "TA" and run.cell.seed == 0)
    damage(bad.prepared.run_folder / "predictions" / f"{file}.safetensors")
    found = findings_of(moved, FEW)
    (message,) = found.left_out
    assert bad.prepared.name in message
    assert f"{file}.safetensors" in message
    assert words in message
    assert message in finding_notes(found, num_seeds=2)
    (difference,) = found.differences
    assert difference.interval.num_seeds == 1, "the other seed alone"


def test_runs_without_their_teacher_give_the_same_findings(runs, tmp_path):
    moved = moved_runs(runs, tmp_path / "runs")
    before = findings_of(moved, FEW)
    assert "negative derivative" in {each.what for each in before.rules}
    shutil.rmtree(tmp_path / "runs" / "_shared")
    assert findings_of(moved, FEW) == before


def test_a_sweep_with_a_damaged_trial_is_left_out_and_a_damaged_teacher_costs_one_rule(runs, tmp_path):
    moved = moved_runs(runs, tmp_path / "runs")
    of_teacher = next((tmp_path / "runs" / "_shared").glob("teacher-*/predictions/*.safetensors"))
    of_teacher.write_bytes(b"garbage")
    found = findings_of(moved, FEW)
    (message,) = found.left_out
    assert str(of_teacher) in message
    assert "negative derivative" not in {each.what for each in found.rules}
    assert found.regrets[0].interval.num_seeds == 2

    bad = next(run for run in moved if run.cell.method == "MaxiDisc")
    (trial, *_) = sorted((bad.prepared.run_folder / "predictions").glob("*.assistant.safetensors"))
    trial.write_bytes(b"garbage")
    found = findings_of(moved, FEW)
    assert str(trial) in found.left_out[0]
    assert found.regrets[0].interval.num_seeds == 1
