"""Meters one attempt at a stage: its time, its newest checkpoint and, if the recipe asks for it, its energy."""

import functools
import time
from collections.abc import Sequence
from contextlib import suppress

import torch

from minidisc_ray.accounting.energy import NoEnergyError, Reader, energy_reader
from minidisc_ray.accounting.heartbeat import call_periodically, stop_calls
from minidisc_ray.accounting.ledger import Ledger
from minidisc_ray.accounting.processor import processor_name
from minidisc_ray.configs.training import ComputeConfig
from minidisc_ray.log import logger
from minidisc_ray.training.workers import Workers

_SECONDS_BETWEEN_READINGS = 10.0


class StageMeter:
    """One attempt at a stage, open in one or more ledgers; the first worker writes it, each worker adds its energy.

    Args:
        ledgers: the run's ledger, then a shared artifact's if there is one; the same on every worker.
        stage: the stage's name.
        trial: the trial's name.
        devices: devices held by all workers together.
        device_type: cpu-core, or the GPU's name.
        node: the first worker's node; None for this machine's name.
        workers: this worker among the trial's.
        compute: the recipe's ``compute``.
    """

    def __init__(
        self,
        ledgers: Sequence[Ledger],
        stage: str,
        trial: str,
        devices: float,
        device_type: str,
        node: str | None,
        workers: Workers,
        compute: ComputeConfig,
    ) -> None:
        self._is_first, self._rank = workers.is_first, workers.rank
        attempt_ids: tuple[str, ...] = ()
        if workers.is_first:
            model = device_model(workers.device)
            attempt_ids = tuple(
                ledger.start("stage", stage, trial, devices, device_type, node=node, device_model=model)
                for ledger in ledgers
            )
        if compute.measure_energy:
            # Each worker records the energy of its own device, and needs the attempt's id for that.
            attempt_ids = workers.agree_on_names(attempt_ids)
        self._attempts = tuple(zip(ledgers, attempt_ids, strict=False))
        for ledger, attempt_id in self._attempts if workers.is_first else ():
            ledger.beat_while_open(attempt_id)
        self._read = _reader(workers, compute) if compute.measure_energy else None
        self._last_reading = time.monotonic()
        if self._read is not None:
            call_periodically(self._energy_key, self._record_energy_if_due)

    def beat(self) -> None:
        """Write to the ledgers that the attempt still runs; a storage that fails does not stop it."""
        for ledger, attempt_id in self._attempts if self._is_first else ():
            with suppress(OSError):
                ledger.beat(attempt_id)

    def checkpoint(self, step: int) -> None:
        """Write to the ledgers that all work up to a step is saved; a storage that fails does not stop the attempt."""
        for ledger, attempt_id in self._attempts if self._is_first else ():
            with suppress(OSError):
                ledger.checkpoint(attempt_id, step)

    def end(self, status: str) -> None:
        """Close the attempt in the ledgers; if the storage still fails, its last beat counts as its end."""
        if self._read is not None:
            stop_calls(self._energy_key)
            self._record_energy()
        for ledger, attempt_id in self._attempts if self._is_first else ():
            stop_calls(attempt_id)
            try:
                ledger.end(attempt_id, status)
            except OSError as error:
                logger.warning("the end of an attempt could not be written to %s (%s)", ledger.path, error.strerror)

    @property
    def _energy_key(self) -> str:
        return f"energy-{self._rank}-{self._attempts[0][1]}"

    def _record_energy_if_due(self) -> None:
        if time.monotonic() - self._last_reading >= _SECONDS_BETWEEN_READINGS:
            self._last_reading = time.monotonic()
            self._record_energy()

    def _record_energy(self) -> None:
        assert self._read is not None
        joules = self._read()
        for ledger, attempt_id in self._attempts:
            with suppress(OSError):
                ledger.energy(attempt_id, self._rank, joules)


def device_model(device: torch.device) -> str:
    """The model of a worker's device: the GPU's name, or the processor's."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor_name()


def _reader(workers: Workers, compute: ComputeConfig) -> Reader | None:
    uuid: str | None = None
    if workers.device.type == "cuda":
        uuid = str(torch.cuda.get_device_properties(workers.device).uuid)
    try:
        return energy_reader(uuid, min(1.0, compute.gpus_per_worker or 1.0))
    except NoEnergyError as error:
        if workers.is_first:
            _warn_once(str(error))
        return None


@functools.cache
def _warn_once(text: str) -> None:
    logger.warning("%s", text)
