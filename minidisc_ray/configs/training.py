"""How a stage trains, and on what."""

import unicodedata
from typing import Literal

from pydantic import Field, field_validator, model_validator

from minidisc_ray.configs.base import Config

# The clock that watches for stalls counts up to some three hundred of these.
_A_YEAR = 366 * 86_400.0
_IN_NAMES = " ._-"  # of currencies, beside letters, digits and signs such as €
_SMALLEST_PRICE, _LARGEST_PRICE = 1e-6, 1e9


class TrainingConfig(Config):
    """One training stage: AdamW, linear warmup then linear decay, clipping, early stopping."""

    num_epochs: int = Field(10, ge=1, le=10_000)
    batch_size: int = Field(32, ge=1, description="Rows of one optimiser step, over all workers and parts.")
    accumulation_steps: int = Field(1, ge=1, description="Parts that a worker splits its rows into, to save memory.")
    learning_rate: float = Field(3e-5, gt=0.0, lt=1.0)
    warmup_fraction: float = Field(0.1, ge=0.0, le=1.0, description="Share of all steps with a rising rate.")
    weight_decay: float = Field(0.01, ge=0.0, le=10.0)
    max_gradient_norm: float = Field(1.0, gt=0.0, le=1e12)
    early_stop_epochs: int | None = Field(5, ge=1, description="Epochs without a better metric; null trains them all.")
    dropout: float | None = Field(None, ge=0.0, lt=1.0, description="By default the model's own.")
    checkpoint_steps: int | None = Field(
        None, ge=1, description="Steps from one checkpoint to the next within epochs; null writes them between epochs."
    )

    @model_validator(mode="after")
    def _parts_have_rows(self) -> "TrainingConfig":
        if self.accumulation_steps > self.batch_size:
            raise ValueError(
                f"accumulation_steps is {self.accumulation_steps}, more than the batch's {self.batch_size} rows"
            )
        return self


class ComputeConfig(Config):
    """Resources; none of this is part of a run's identity."""

    num_workers: int = Field(1, ge=1, le=1024, description="Data-parallel workers of one trial.")
    cpus_per_worker: int = Field(1, ge=1, le=1024, description="Cores, and torch threads, of a worker.")
    gpus_per_worker: float = Field(0.0, ge=0.0, le=1.0, description="1, or a fraction shared between trials.")
    max_concurrent_trials: int | None = Field(None, ge=1, description="By default as many as the cluster holds.")
    max_cpus: float | None = Field(
        None, gt=0.0, le=1e6, description="CPUs that the run's trials never exceed together."
    )
    max_gpus: float | None = Field(None, ge=0.0, le=1e6, description="GPUs, the same way.")
    priority: int = Field(
        0, ge=-100, le=100, description="Below that of another run that waits for room, this one starts no trial."
    )
    autoscaling: bool = Field(
        False, description="Nodes come when they are asked for: max_concurrent_trials alone says how many trials ask."
    )
    max_failures: int = Field(3, ge=0, le=100, description="Times that a trial whose process died is tried again.")
    retry_wait_seconds: float = Field(
        5.0, ge=0.0, le=300.0, description="Before the first retry; each further one waits twice as long."
    )
    stall_seconds: float | None = Field(
        1800.0,
        ge=5.0,
        le=_A_YEAR,
        description="A trial without progress for so long is stopped and tried again; null: never.",
    )
    teacher_cache_gib: float | None = Field(
        None,
        ge=0.0,
        le=100_000.0,
        description="Teacher outputs up to this size stay in memory; null: a quarter of what is free as it begins.",
    )
    storage_patience_seconds: float = Field(
        180.0, ge=0.0, le=86_400.0, description="How long a storage that is away or full is waited for."
    )
    address: str | None = Field(None, description="A Ray cluster's address; by default RAY_ADDRESS, else a local Ray.")
    price_per_device_hour: float | None = Field(
        None,
        ge=0.0,
        le=_LARGEST_PRICE,
        description="Of a core, or of a GPU where there are any; results then tell what was paid.",
    )
    currency: str = Field("USD", min_length=1, max_length=12, description="Of that price.")
    measure_energy: bool = Field(
        False, description="Sum the energy that GPUs use, as NVML counts it; needs minidisc_ray[energy]."
    )

    @field_validator("price_per_device_hour")
    @classmethod
    def _price_can_be_written(cls, price: float | None) -> float | None:
        if price is not None and 0 < price < _SMALLEST_PRICE:
            raise ValueError(f"{price:g} is next to nothing; use 0, or a value from {_SMALLEST_PRICE:f} on")
        return price

    @field_validator("currency")
    @classmethod
    def _currency_is_one(cls, currency: str) -> str:
        is_name = all(one.isalnum() or one in _IN_NAMES or unicodedata.category(one) == "Sc" for one in currency)
        if not is_name or currency[0] in _IN_NAMES:
            raise ValueError(f"{currency!r} is no currency; use its code or its sign, for instance EUR")
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
                "autoscaling is true, and max_concurrent_trials is missing; say how many trials may ask for nodes"
            )
        return self


Precision = Literal["auto", "float32", "bfloat16"]
