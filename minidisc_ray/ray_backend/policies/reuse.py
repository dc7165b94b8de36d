"""Whether trials share actors: a shared one saves starting a process, but has the name of its first trial only."""

from minidisc_ray.configs.training import ComputeConfig

# Rough: what MiniLM-sized models reach in training. A process starts in 5 to 10 s.
_CORE_FLOPS_PER_SECOND = 3e10
_GPU_FLOPS_PER_SECOND = 3e13
# Within them a start would cost more than a twentieth.
_SHORT_SECONDS = 180.0


def are_short(trial_flops: float, compute: ComputeConfig) -> bool:
    """Whether trials take less than about three minutes, so that a process for each would cost a large share of them.

    Args:
        trial_flops: of the longest trial, in closed form.
        compute: the resources of a trial.
    """
    if compute.gpus_per_worker > 0:
        speed = compute.gpus_per_worker * _GPU_FLOPS_PER_SECOND
    else:
        speed = compute.cpus_per_worker * _CORE_FLOPS_PER_SECOND
    return trial_flops < speed * compute.num_workers * _SHORT_SECONDS
