"""AdamW over shared parameters, and the learning rate of each step."""

from collections.abc import Iterable

from torch import nn, optim

from minidisc_ray.configs.training import TrainingConfig


def build_optimizer(parameters: Iterable[nn.Parameter], training: TrainingConfig) -> optim.AdamW:
    """AdamW (one fused kernel, also on CPUs) that decays matrices and spares biases and norms."""
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    matrices = [parameter for parameter in trainable if parameter.ndim > 1]
    vectors = [parameter for parameter in trainable if parameter.ndim <= 1]
    return optim.AdamW(
        [
            {"params": matrices, "weight_decay": training.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        lr=training.learning_rate,
        fused=True,
    )


def learning_rate_at(step: int, num_steps: int, training: TrainingConfig) -> float:
    """Linear from zero over the warmup, then linear to zero at the end; ``step`` counts from 0."""
    num_warmup = round(training.warmup_fraction * num_steps)
    if step < num_warmup:
        return training.learning_rate * (step + 1) / num_warmup
    return training.learning_rate * max(0.0, (num_steps - step) / max(1, num_steps - num_warmup))
