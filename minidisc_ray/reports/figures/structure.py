"""The share of heads and neurons that each layer keeps, by scale (MiniDisc, figure 4)."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm
from matplotlib.figure import Figure

from minidisc_ray.reports.comparison.checks import grouped
from minidisc_ray.reports.figures import _style as style
from minidisc_ray.reports.figures._base import Drawing, comparison_key, scope_of, subject_of, variants
from minidisc_ray.reports.figures._svg import freeze_layout
from minidisc_ray.reports.figures._words import plain, slug
from minidisc_ray.reports.words import method_name
from minidisc_ray.run_files.result import ModelRecord, RunResult

_MAX_COLUMNS_WITH_NUMBERS = 8
_MAX_LAYERS_WITH_NUMBERS = 16


@dataclass(frozen=True)
class ModelColumn:
    """One model: for each of the teacher's layers the heads and neurons kept, None where it lacks the layer."""

    heading: str
    heads: tuple[int | None, ...]
    neurons: tuple[int | None, ...]


@dataclass(frozen=True)
class StructureData:
    """Models from teacher to student; ``whole_heads`` and ``whole_neurons`` are the teacher's counts per layer."""

    whole_heads: tuple[int, ...]
    whole_neurons: tuple[int, ...]
    columns: tuple[ModelColumn, ...]


def structure_data(run: RunResult) -> StructureData | None:
    """The models of one run, largest first: teacher, candidates, assistants that were not candidates, student.

    A student with its own checkpoint has none of the teacher's units and is left out. None if the teacher's structure
    is not known, or no model was pruned from it.
    """
    whole = run.teacher
    if not whole.heads or len(whole.heads) != len(whole.neurons):
        return None
    between: dict[int, ModelColumn] = {}
    for candidate in run.candidates:
        heads, neurons = _of_all_layers(candidate.heads, (), whole), _of_all_layers(candidate.neurons, (), whole)
        between[candidate.scale_percent] = ModelColumn(str(candidate.scale_percent), heads, neurons)
    for assistant in run.assistants:
        between.setdefault(assistant.scale_percent, _column(str(assistant.scale_percent), assistant, whole))
    columns = [between[scale] for scale in sorted(between, reverse=True)]
    if run.student_source is None:
        columns.append(_column("S", run.student, whole))
    return StructureData(whole.heads, whole.neurons, (_column("T", whole, whole), *columns)) if columns else None


def structure_figure(data: StructureData) -> Figure:
    """Draw two heat maps, layers by models: the share of each layer's heads, and of its neurons, that is kept."""
    layers = len(data.whole_heads)
    with style.styled():
        figure = style.new_figure(1.3 + 2 * min(layers * 0.2, 3.0) + 0.2)
        upper, lower = figure.subplots(2, 1, sharex=True)
        colors = mpl.colormaps["Blues"].resampled(10)
        norm = BoundaryNorm(np.linspace(0, 1, 11), 10)
        heads = [column.heads for column in data.columns]
        _draw_heat_map(upper, heads, data.whole_heads, colors, norm)
        _draw_heat_map(lower, [column.neurons for column in data.columns], data.whole_neurons, colors, norm)
        upper.set_title("Attention heads", fontsize=9, loc="left")
        lower.set_title("Feed-forward neurons", fontsize=9, loc="left")
        headings = [column.heading for column in data.columns]
        lower.set_xticks(np.arange(len(headings)) + 0.5, headings)
        lower.set_xlabel("Scale, percent (T teacher, S student)")
        for axes in (upper, lower):
            axes.set_ylabel("Layer")
        bar = figure.colorbar(ScalarMappable(norm, colors), ax=[upper, lower], aspect=30, pad=0.02)
        bar.set_ticks([0, 0.2, 0.4, 0.6, 0.8, 1], labels=["0", "20", "40", "60", "80", "100"])
        bar.set_label("Kept of the layer, percent")
        return figure


def structure_drawings(results: Sequence[RunResult]) -> list[Drawing]:
    """One figure for each way of pruning; a run whose models are all in another run's figure gets none."""
    drawings: list[Drawing] = []
    for group in grouped(results, comparison_key):
        firsts = [(variant.name, variant.runs[0]) for variant in variants(group)]
        found = [(name, run, data) for name, run in firsts if (data := structure_data(run)) is not None]
        kept: list[tuple[str, RunResult, StructureData]] = []
        for name, run, data in sorted(found, key=lambda one: -len(one[2].columns)):
            if not any(set(data.columns) <= set(other.columns) for _, _, other in kept):
                kept.append((name, run, data))
        for name, run, data in kept:
            extra = name if len(kept) > 1 else ""
            drawings.append(_drawing(data, run, extra))
    return drawings


def _drawing(data: StructureData, run: RunResult, extra: str) -> Drawing:
    name = plain(extra or method_name(run))
    title = f"Heads and neurons kept in each layer ({name}): {subject_of([run])}"
    has_student = run.student_source is None
    models = len(data.columns) - 1 - has_student
    count = f"{models} model{'s' if models != 1 else ''}"
    between = (f", {count} between them" if has_student else f" and {count}") if models else ""
    ends = "Teacher (T) and student (S)" if has_student else "Teacher (T)"
    own = "" if has_student else "; the student is not cut from the teacher"
    caption = (
        f"{title}. {ends}{between}{own}; one seed ({run.seed}). Each cell is the share of its layer's "
        "heads or neurons that the model keeps; layers count from the input."
    )
    if any(count is None for column in data.columns for count in column.heads):
        caption += " Crossed out: a layer that the model does not have."
    file_name = "-".join(["structure", scope_of(run), *([slug(extra)] if extra else [])])
    return Drawing("structure", file_name, title, caption, freeze_layout(structure_figure(data)))


def _column(heading: str, model: ModelRecord, whole: ModelRecord) -> ModelColumn:
    layers = model.source_layers
    return ModelColumn(
        heading, _of_all_layers(model.heads, layers, whole), _of_all_layers(model.neurons, layers, whole)
    )


def _of_all_layers(counts: Sequence[int], source_layers: Sequence[int], whole: ModelRecord) -> tuple[int | None, ...]:
    """A model's counts for each of the teacher's layers; None for a layer that it lacks."""
    places = source_layers or range(len(counts))
    by_layer = dict(zip(places, counts, strict=False))
    return tuple(by_layer.get(layer) for layer in range(len(whole.heads)))


def _draw_heat_map(
    axes: Axes, columns: Sequence[tuple[int | None, ...]], whole: Sequence[int], colors: mpl.colors.Colormap,
    norm: BoundaryNorm,
) -> None:  # fmt: skip
    layers = len(whole)
    shares = np.full((layers, len(columns)), np.nan)
    for x, counts in enumerate(columns):
        for y, count in enumerate(counts):
            if count is not None and whole[y]:
                shares[y, x] = min(1.0, count / whole[y])
    cells = np.ma.masked_invalid(shares)
    axes.pcolormesh(cells, cmap=colors, norm=norm, edgecolors="white", linewidth=0.6)
    with_numbers = len(columns) <= _MAX_COLUMNS_WITH_NUMBERS and layers <= _MAX_LAYERS_WITH_NUMBERS
    for x, counts in enumerate(columns):
        for y, count in enumerate(counts):
            if count is None:
                axes.plot([x + 0.2, x + 0.8], [y + 0.25, y + 0.75], color=style.GREY, linewidth=0.8)
                axes.plot([x + 0.2, x + 0.8], [y + 0.75, y + 0.25], color=style.GREY, linewidth=0.8)
            elif with_numbers:
                ink = "white" if shares[y, x] > 0.55 else style.BLACK
                axes.text(x + 0.5, y + 0.5, str(count), ha="center", va="center", fontsize=8, color=ink)
    step = 1 if layers <= 12 else 2 if layers <= 24 else 4
    axes.set_yticks(
        [layer + 0.5 for layer in range(0, layers, step)], [str(layer + 1) for layer in range(0, layers, step)]
    )
    axes.set_ylim(layers, 0)
    axes.set_xlim(0, len(columns))
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
