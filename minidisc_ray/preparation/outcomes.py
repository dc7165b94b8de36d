"""The two ways that a run with ``schedule.kind: auto`` may go on after its decision."""

from dataclasses import replace

from minidisc_ray.configs.schedule import AutoConfig, ConventionalConfig
from minidisc_ray.preparation.prepared_run import PreparedRun


def with_outcome(prepared: PreparedRun, uses_assistant: bool) -> PreparedRun:
    """The run with the schedule and the steps that follow; its name, identity and folders stay the recipe's."""
    schedule, plan = prepared.config.schedule, prepared.plan
    assert isinstance(schedule, AutoConfig)
    if not uses_assistant:
        plan = replace(plan, trials=tuple(trial.without_assistant() for trial in plan.trials))
    followed = schedule.then if uses_assistant else ConventionalConfig()
    return replace(prepared, config=prepared.config.with_schedule(followed), plan=plan)
