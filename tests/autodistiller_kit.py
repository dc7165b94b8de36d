"""Generated observations whose effects are known."""

import itertools

import numpy as np
import pandas as pd

from minidisc_ray.autodistiller.tables.frame import SCHEMA_VERSION, checked_frame

LOSS_EFFECTS = {"mse": 0.0, "pkd": 0.02, "cosine": 0.04}
PREDICTION_EFFECTS = {"ce": 0.0, "mse": 0.03}


def observations(tasks: int = 4, noise: float = 0.002, seed: int = 0) -> pd.DataFrame:
    """All combinations of two students, three losses, two mappings and two predictions on each task.

    Effects of losses and predictions add up and are the same on all tasks, whose levels and spreads differ; the mapping
    has no effect.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for task in range(tasks):
        choices = itertools.product(("small", "large"), LOSS_EFFECTS, ("skip", "last"), PREDICTION_EFFECTS)
        for student, loss, mapping, prediction in choices:
            effect = LOSS_EFFECTS[loss] + PREDICTION_EFFECTS[prediction] + (0.05 if student == "large" else 0.0)
            ratio = 0.8 + 0.02 * task + (1 + task / 2) * effect + generator.normal(0, noise)
            rows.append(
                {
                    "task": f"task{task}",
                    "student": student,
                    "teacher": "teacher",
                    "intermediate_loss": loss,
                    "intermediate_strategy": mapping,
                    "prediction_loss": prediction,
                    "augmentation": "none",
                    "mixup": False,
                    "num_examples": 1000 * 3**task,
                    "baseline_score": 0.6,
                    "teacher_score": 0.6,
                    "score": 0.6 * ratio,
                    "ratio_to_teacher": ratio,
                    "source": "generated",
                    "schema_version": SCHEMA_VERSION,
                }
            )
    return checked_frame(pd.DataFrame(rows), "generated")
