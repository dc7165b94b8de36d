"""Energy that a GPU used, as NVML counts it; an optional extra, ``pip install minidisc_ray[energy]``."""

from collections.abc import Callable

_JOULES_PER_MILLIJOULE = 1e-3

# Returns the joules that a device used since the reader was made.
Reader = Callable[[], float]


class NoEnergyError(RuntimeError):
    """Energy cannot be measured here; the message is one sentence."""


def energy_reader(uuid: str | None, share: float = 1.0) -> Reader:
    """Return a function that reads how many joules a GPU used since this call.

    Args:
        uuid: of the GPU, as NVML and CUDA have it, with or without ``GPU-``; None where there is no GPU.
        share: of the GPU that is held; trials that share a GPU are each charged this part of its energy.

    Raises:
        NoEnergyError: without a GPU, a driver, the package, or a counter (GPUs before Volta have none).
    """
    if uuid is None:
        raise NoEnergyError("compute.measure_energy: there is no GPU to measure; no energy is recorded")
    try:
        import pynvml
    except ImportError as error:
        raise NoEnergyError(
            "compute.measure_energy: nvidia-ml-py is not installed, no energy is recorded; install minidisc_ray[energy]"
        ) from error
    try:
        pynvml.nvmlInit()
        card = pynvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}")
        first = pynvml.nvmlDeviceGetTotalEnergyConsumption(card)
    except pynvml.NVMLError as error:
        raise NoEnergyError(f"compute.measure_energy: NVML cannot read it ({error}); no energy is recorded") from error
    latest: float = 0.0

    def read() -> float:
        nonlocal latest
        try:
            used = pynvml.nvmlDeviceGetTotalEnergyConsumption(card) - first
        except pynvml.NVMLError:
            return latest
        latest = max(latest, float(used) * _JOULES_PER_MILLIJOULE * share)
        return latest

    return read
