"""Configs of a training stage and of compute resources."""

import unicodedata
from typing import Literal

from pydantic import Field, field_validator, model_validator

from minidisc_ray.configs.base import Config

# Far below the largest timeout that the stall timer can take, which is about 300 years.
_A_YEAR = 366 * 86_400.0
_CURRENCY_PUNCTUATION = " ._-"  # allowed beside letters, digits and signs such as €
_MIN_PRICE, _MAX_PRICE = 1e-6, 1e9


class TrainingConfig(Config):
    """One training stage: AdamW, linear warmup then linear decay, clipping, early stopping."""

    num_epochs: int = Field(10, ge=1, le=10_000)
    batch_size: int = Field(
        32, ge=1, le=1_000_000, description="Rows of one optimiser step, over all workers and micro-batches."
    )
    accumulation_steps: int = Field(
        1, ge=1, description="Micro-batches that a worker splits its rows of a step into, to save memory."
    )
    learning_rate: float = Field(3e-5, gt=0.0, lt=1.0)
    warmup_fraction: float = Field(
        0.1, ge=0.0, le=1.0, description="Share of all steps in which the learning rate rises."
    )
    weight_decay: float = Field(0.01, ge=0.0, le=10.0)
    max_gradient_norm: float = Field(1.0, gt=0.0, le=1e12)
    early_stop_epochs: int | None = Field(
        5, ge=1, description="Stop after so many epochs without a better metric; null: never."
    )
    dropout: float | None = Field(None, ge=0.0, lt=1.0, description="By default as in the model's config.")
    checkpoint_steps: int | None = Field(
        None, ge=1, description="Write a checkpoint every so many steps of an epoch; null: only between epochs."
    )

    @model_validator(mode="after")
    def _parts_have_rows(self) -> "TrainingConfig":
        if self.accumulation_steps > self.batch_size:
            raise ValueError(
                f"accumulation_steps is {self.accumulation_steps}, more than the batch's {self.batch_size} rows"
            )
        return self


class ComputeConfig(Config):
    """Resources; they are not part of a run's identity."""

    num_workers: int = Field(1, ge=1, le=1024, description="Data-parallel workers of one trial.")
    cpus_per_worker: int = Field(1, ge=1, le=1024, description="Cores, and torch threads, of a worker.")
    gpus_per_worker: float = Field(0.0, ge=0.0, le=1.0, description="0, 1, or a fraction, so that trials share a GPU.")
    max_concurrent_trials: int | None = Field(None, ge=1, description="By default as many as the cluster holds.")
    max_cpus: float | None = Field(
        None, gt=0.0, le=1e6, description="Most CPUs that the run's trials use at the same time."
    )
    max_gpus: float | None = Field(
        None, ge=0.0, le=1e6, description="Most GPUs that the run's trials use at the same time."
    )
    priority: int = Field(
        0, ge=-100, le=100, description="This run starts no trial while one of higher priority waits for resources."
    )
    autoscaling: bool = Field(
        False,
        description="The cluster adds nodes on demand: max_concurrent_trials alone limits how many trials are started.",
    )
    max_failures: int = Field(3, ge=0, le=100, description="How often a trial whose process died is retried.")
    retry_wait_seconds: float = Field(
        5.0, ge=0.0, le=300.0, description="Wait before the first retry; it doubles with each further one."
    )
    stall_seconds: float | None = Field(
        1800.0,
        ge=5.0,
        le=_A_YEAR,
        description="Stop and retry a trial that makes no progress for so long; null: never.",
    )
    teacher_cache_gib: float | None = Field(
        None,
        ge=0.0,
        le=100_000.0,
        description="Keep teacher outputs up to this size in memory; null: a quarter of the memory free at the start.",
    )
    storage_patience_seconds: float = Field(
        180.0, ge=0.0, le=86_400.0, description="How long to wait for a storage that is unreachable or full."
    )
    address: str | None = Field(None, description="A Ray cluster's address; by default RAY_ADDRESS, else a local Ray.")
    price_per_device_hour: float | None = Field(
        None,
        ge=0.0,
        le=_MAX_PRICE,
        description="Price of a core, or of a GPU if trials use GPUs; results then have a price.",
    )
    currency: str = Field("USD", min_length=1, max_length=12, description="Currency of the price.")
    measure_energy: bool = Field(
        False, description="Add up the energy that GPUs use, read from NVML; needs minidisc_ray[energy]."
    )

    @property
    def hours_unit(self) -> Literal["core-hours", "GPU-hours"]:
        """What device-hours of trials are called."""
        return "GPU-hours" if self.gpus_per_worker else "core-hours"

    @field_validator("price_per_device_hour")
    @classmethod
    def _price_can_be_written(cls, price: float | None) -> float | None:
        if price is not None and 0 < price < _MIN_PRICE:
            raise ValueError(f"{price:g} is too small; use 0, or a value from {_MIN_PRICE:f} on")
        return price

    @field_validator("currency")
    @classmethod
    def _currency_is_valid(cls, currency: str) -> str:
        is_name = all(
            one.isalnum() or one in _CURRENCY_PUNCTUATION or unicodedata.category(one) == "Sc" for one in currency
        )
        if not is_name or currency[0] in _CURRENCY_PUNCTUATION:
            raise ValueError(f"{currency!r} is not a currency; use its code or its sign, for instance EUR")
        return currency

    @model_validator(mode="after")
    def _caps_hold_a_trial(self) -> "ComputeConfig":
        caps = (
            ("max_cpus", self.max_cpus, self.cpus_per_worker, "CPUs", "cpus_per_worker"),
            ("max_gpus", self.max_gpus, self.gpus_per_worker, "GPUs", "gpus_per_worker"),
        )
        for key, cap, of_worker, unit, lower in caps:
            need = self.num_workers * of_worker
            if cap is not None and need > cap * (1 + 1e-9):
                raise ValueError(
                    f"{key} is {cap:g}, less than the {need:g} {unit} of one trial; raise it, or lower num_workers or "
                    f"{lower}"
                )
        if self.autoscaling and self.max_concurrent_trials is None:
            raise ValueError(
                "autoscaling is true, but max_concurrent_trials is missing; set how many trials may run at once"
            )
        return self


Precision = Literal["auto", "float32", "bfloat16"]
