"""The training config of each step of a plan."""

import math

from minidisc_ray.configs.run import RunConfig
from minidisc_ray.configs.training import TrainingConfig
from minidisc_ray.schedules.plan import DistilStep, SandwichStep

# A slice is trained already, so early stopping need not wait long for an improvement.
_SLICE_PATIENCE_EPOCHS = 2
# 0.29 of 100 epochs are 28.999999999999996.
_ROUNDING = 1e-9


def training_of(config: RunConfig, step: SandwichStep | DistilStep) -> TrainingConfig:
    """The training config of a sandwich or a distillation.

    A probe gets its share of the epochs, rounded up; a student that starts from a slice its own, rounded down.
    """
    if isinstance(step, SandwichStep):
        return config.sandwich_training
    training = config.distil_training
    if step.slice_of is None:
        if step.epoch_share == 1.0:
            return training
        return training.model_copy(update={"num_epochs": math.ceil(training.num_epochs * step.epoch_share)})
    patience = training.early_stop_epochs
    return training.model_copy(
        update={
            "num_epochs": max(1, math.floor(training.num_epochs * step.epoch_share + _ROUNDING)),
            "early_stop_epochs": None if patience is None else min(patience, _SLICE_PATIENCE_EPOCHS),
        }
    )


def last_epoch(config: RunConfig, step: DistilStep) -> int:
    """The epoch after which a distillation ends, unless it stops early."""
    return math.ceil(training_of(config, step).num_epochs * step.stop_share)


def num_trained(config: RunConfig, step: DistilStep) -> int:
    """The epochs that a distillation trains itself, without those of the step that it resumes."""
    return last_epoch(config, step) - (0 if step.resumes is None else last_epoch(config, step.resumes))
