"""MaxiDisc as a Ray Tune experiment: one trial for each assistant scale, as many at once as fit."""

from minidisc_ray.pipeline.finish import is_trial_finished
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.ray_backend.experiment import fit_items
from minidisc_ray.ray_backend.policies.queue import Item, ItemQueue
from minidisc_ray.ray_backend.policies.retries import RetryPolicy
from minidisc_ray.ray_backend.policies.sharing import Turn


def fit_sweep(prepared: PreparedRun, at_once: int, turn: Turn) -> None:
    """Run every unfinished trial; one that fails leaves its reason and does not end the others.

    Args:
        prepared: the checked recipe, its shared steps finished.
        at_once: trials that the cluster holds beside each other.
        turn: this sweep among the cluster's others.
    """
    names = [trial.name for trial in prepared.plan.trials if not is_trial_finished(prepared, trial)]
    items = [Item(prepared, name, title=name) for name in names]
    policy = RetryPolicy.of(prepared.config.compute)
    fit_items(ItemQueue(items, policy), at_once, prepared.run_folder / "ray", "sweep", turn)
