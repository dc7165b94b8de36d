"""Metrics of each task, and predictions."""

from minidisc_ray.evaluation.labels import predicted_labels
from minidisc_ray.evaluation.metrics import majority_scores, merge_scores, score

__all__ = ["majority_scores", "merge_scores", "predicted_labels", "score"]
