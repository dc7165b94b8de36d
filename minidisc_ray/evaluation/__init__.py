"""Metrics of a task, and statistics over the predictions of many runs."""

from minidisc_ray.evaluation.agreement import Agreement, rank_agreement
from minidisc_ray.evaluation.choices import Sweep, SweepTrial, hindsight, regret
from minidisc_ray.evaluation.details import ClassDetails, Details, ErrorDetails, Evaluation, details_of
from minidisc_ray.evaluation.intervals import Estimate, Interval, Resampling, average
from minidisc_ray.evaluation.metrics import label_loss, majority_logits, majority_scores, merge_scores, score
from minidisc_ray.evaluation.resampling import bootstrap, difference_estimate
from minidisc_ray.evaluation.weighted import LabelledRows, Predictions

__all__ = [
    "Agreement",
    "ClassDetails",
    "Details",
    "ErrorDetails",
    "Estimate",
    "Evaluation",
    "Interval",
    "LabelledRows",
    "Predictions",
    "Resampling",
    "Sweep",
    "SweepTrial",
    "average",
    "bootstrap",
    "details_of",
    "difference_estimate",
    "hindsight",
    "label_loss",
    "majority_logits",
    "majority_scores",
    "merge_scores",
    "rank_agreement",
    "regret",
    "score",
]
