"""One attempt at a stage as a worker meters it: seconds, what is safe, and where it is asked for the energy."""

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

_SECONDS_BETWEEN_ENERGIES = 10.0


class StageMeter:
    """An attempt that is open in some ledgers; the first worker writes it, every one adds its own energy.

    Args:
        ledgers: the run's, and that of a shared artifact; the same on every worker.
        stage: its name.
        trial: the trial's.
        devices: held by all workers together.
        device_type: their unit.
        node: where the first worker runs; None for this machine's name.
        workers: this one among them.
        compute: the recipe's.
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
        names: tuple[str, ...] = ()
        if workers.is_first:
            model = device_model(workers.device)
            names = tuple(
                ledger.start("stage", stage, trial, devices, device_type, node=node, device_model=model)
                for ledger in ledgers
            )
        if compute.measure_energy:
            # Every worker writes down what its own card used, and so must know whose energy that is.
            names = workers.agree_on_names(names)
        self._attempts = tuple(zip(ledgers, names, strict=False))
        for ledger, attempt_id in self._attempts if workers.is_first else ():
            ledger.beat_while_open(attempt_id)
        self._read = _reader(workers, compute) if compute.measure_energy else None
        self._energy_at = time.monotonic()
        if self._read is not None:
            call_periodically(self._energy_key, self._note_energy_now_and_then)

    def beat(self) -> None:
        """Say that it still runs; a storage that refuses is no reason to stop."""
        for ledger, attempt_id in self._attempts if self._is_first else ():
            with suppress(OSError):
                ledger.beat(attempt_id)

    def checkpoint(self, step: int) -> None:
        """Say that all work up to a step is safe."""
        for ledger, attempt_id in self._attempts if self._is_first else ():
            with suppress(OSError):
                ledger.checkpoint(attempt_id, step)

    def end(self, status: str) -> None:
        """Close the attempt; where the storage refuses to the last, its beats stand for its end."""
        if self._read is not None:
            stop_calls(self._energy_key)
            self._note_energy()
        for ledger, attempt_id in self._attempts if self._is_first else ():
            stop_calls(attempt_id)
            try:
                ledger.end(attempt_id, status)
            except OSError as error:
                logger.warning("the end of an attempt could not be written to %s (%s)", ledger.path, error.strerror)

    @property
    def _energy_key(self) -> str:
        return f"energy-{self._rank}-{self._attempts[0][1]}"

    def _note_energy_now_and_then(self) -> None:
        if time.monotonic() - self._energy_at >= _SECONDS_BETWEEN_ENERGIES:
            self._energy_at = time.monotonic()
            self._note_energy()

    def _note_energy(self) -> None:
        assert self._read is not None
        joules = self._read()
        for ledger, attempt_id in self._attempts:
            with suppress(OSError):
                ledger.energy(attempt_id, self._rank, joules)


def device_model(device: torch.device) -> str:
    """What exactly a worker computes on: a GPU's name, or the processor's."""
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
