"""Whether a trial fits the nodes at hand: those of the cluster that a recipe names, else this machine."""

import os

import ray
from ray._private.accelerators import get_accelerator_manager_for_resource
from ray._private.utils import get_num_cpus

from minidisc_ray.configs.base import UserError
from minidisc_ray.configs.training import ComputeConfig
from minidisc_ray.ray_backend.cluster import cluster, living_nodes
from minidisc_ray.ray_backend.policies.resources import Node, trials_at_once


def this_machine() -> Node:
    """The CPUs and GPUs that a local Ray would find here, within the limits of a container."""
    gpus = get_accelerator_manager_for_resource("GPU").get_current_node_num_accelerators()
    return Node(cpus=get_num_cpus(override_docker_cpu_warning=True), gpus=float(gpus))


def check_fit(compute: ComputeConfig) -> None:
    """Refuse what no node at hand holds, before anything is started.

    A cluster that is not connected yet is not asked: its nodes are checked once it is.

    Raises:
        UserError: if no trial fits; the message says what is missing.
    """
    if ray.is_initialized():
        trials_at_once(living_nodes(), compute)
    elif not _address(compute):
        _check_here(compute)


def fit_warning(compute: ComputeConfig) -> str | None:
    """Why a run could not start a trial now; None if it could. Connects to the recipe's cluster and leaves it again."""
    try:
        if ray.is_initialized() or not _address(compute):
            check_fit(compute)
        else:
            with cluster(compute.address) as nodes:
                trials_at_once(nodes, compute)
    except UserError as error:
        return str(error)
    return None


def _check_here(compute: ComputeConfig) -> None:
    node = this_machine()
    try:
        trials_at_once([node], compute)
    except UserError as error:
        gpus = f" and {node.gpus:g} GPUs" if compute.gpus_per_worker else ""
        raise UserError(
            f"{error} Without --address or RAY_ADDRESS the run is on this machine alone, with {node.cpus:g} CPUs{gpus}."
        ) from error


def _address(compute: ComputeConfig) -> str | None:
    return compute.address or os.environ.get("RAY_ADDRESS") or None
