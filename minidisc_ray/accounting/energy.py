"""Energy that a GPU has used, as NVML counts it: an optional extra, ``pip install minidisc_ray[energy]``."""

from collections.abc import Callable

_JOULES_A_MILLIJOULE = 1e-3

# What a device has used since it was opened, in joules.
Reader = Callable[[], float]


class NoEnergyError(RuntimeError):
    """There is nothing to measure with; the message is one sentence."""


def energy_reader(uuid: str | None, share: float = 1.0) -> Reader:
    """A function that tells the joules that a card has used since now.

    Args:
        uuid: the card's, as NVML and CUDA call it, with or without ``GPU-``; None where there is no card.
        share: of the card that is held; trials that share a card are each charged their fraction of all its energy.

    Raises:
        NoEnergyError: without a card, a driver, the package, or a counter (cards before Volta have none).
    """
    if uuid is None:
        raise NoEnergyError("compute.measure_energy: there is no GPU to measure; no energy is written down")
    try:
        import pynvml
    except ImportError as error:
        raise NoEnergyError(
            "compute.measure_energy: nvidia-ml-py is not installed, no energy is written down; install "
            "minidisc_ray[energy]"
        ) from error
    try:
        pynvml.nvmlInit()
        card = pynvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}")
        first = pynvml.nvmlDeviceGetTotalEnergyConsumption(card)
    except pynvml.NVMLError as error:
        raise NoEnergyError(f"compute.measure_energy: NVML cannot tell ({error}); no energy is written down") from error
    latest: float = 0.0

    def read() -> float:
        nonlocal latest
        try:
            used = pynvml.nvmlDeviceGetTotalEnergyConsumption(card) - first
        except pynvml.NVMLError:
            return latest
        latest = max(latest, float(used) * _JOULES_A_MILLIJOULE * share)
        return latest

    return read
