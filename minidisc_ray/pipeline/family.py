"""Keeps a sandwich's weights as the run's nested family, from which each size can be cut later without training."""

from collections.abc import Sequence

from minidisc_ray.core.flops import encoder_parameters, total_parameters
from minidisc_ray.core.structure import Structure
from minidisc_ray.models.checkpoint import load_stored_model, save_model
from minidisc_ray.models.surgery import cut
from minidisc_ray.pipeline.structures import structures_of
from minidisc_ray.preparation.prepared_run import PreparedRun
from minidisc_ray.run_files.family import FAMILY, INDEX, FamilyIndex, FamilySize
from minidisc_ray.run_files.records import MODEL, StageRecord
from minidisc_ray.schedules.plan import RaceStep, SandwichStep

_README = """\
# The nested family of {name}

One set of weights that holds a model of every size below: each is a prefix of the next larger one, trained together
with it, and cut out without training.

| scale, % | parameters | {metric} on {rows:,} selection rows |
|---|---|---|
{lines}

    minidisc extract RUN --scale PERCENT --output DIR

or `minidisc_ray.open_family(RUN)[PERCENT]`. Loaded as it is, this folder is the largest size.
"""


def keep_family(prepared: PreparedRun, records: Sequence[StageRecord]) -> None:
    """Write the run's ``family/`` from the state that its first sandwich kept; does nothing if it has no sandwich.

    The family has every size at which the kept state was scored: after a race the assistant and the student's slice,
    otherwise all candidates. If the sandwich's model was freed, an existing family stays as it is.
    """
    steps = (step for trial in prepared.plan.all_trials() for step in trial.steps)
    names = [step.name for step in steps if isinstance(step, SandwichStep | RaceStep)]
    record = next((record for record in records if names and record.stage == names[0]), None)
    if record is None:
        return
    source = prepared.run_folder / "stages" / record.stage / MODEL
    storage = prepared.storage
    storage.fetch_sealed(source)
    if not storage.exists(source):
        return
    scales = tuple(sorted(record.selection_metrics, reverse=True))
    structures = structures_of(prepared, scales)
    sizes = tuple(_size(prepared, structures[scale], record) for scale in scales)
    index = FamilyIndex(num_rows=len(prepared.selection), sizes=sizes)
    largest = cut(load_stored_model(storage, source), structures[scales[0]])
    save_model(
        storage,
        largest,
        prepared.tokenizer,
        prepared.run_folder / FAMILY,
        {INDEX: index.model_dump_json(indent=2) + "\n", "README.md": _readme(prepared, index)},
    )


def _readme(prepared: PreparedRun, index: FamilyIndex) -> str:
    metric = prepared.task.primary_metric
    lines = (
        f"| {size.scale_percent} | {size.total_parameters:,} | {100 * size.metrics[metric]:.1f} |"
        for size in index.sizes
    )
    return _README.format(name=prepared.name, metric=metric, rows=index.num_rows, lines="\n".join(lines))


def _size(prepared: PreparedRun, structure: Structure, record: StageRecord) -> FamilySize:
    return FamilySize(
        scale_percent=structure.scale_percent,
        metrics=record.selection_metrics[structure.scale_percent],
        heads=structure.heads,
        neurons=structure.neurons,
        encoder_parameters=encoder_parameters(prepared.shape, structure),
        total_parameters=total_parameters(prepared.shape, structure),
    )
