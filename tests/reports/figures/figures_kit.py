"""Results to draw, and figures as a page holds them."""

import base64
from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from reports_builder import model, run_result

from minidisc_ray.reports.figures import data_uri, drawings_of
from minidisc_ray.run_files.result import RunResult


class Labelled(RunResult):
    label: str = ""


def svg_text(figure: Figure) -> str:
    """As a page holds it."""
    kind, _, content = data_uri(figure).partition(",")
    assert kind == "data:image/svg+xml;base64"
    return base64.b64decode(content, validate=True).decode()


def figures_of(results: Sequence[RunResult]) -> dict[str, Figure]:
    return {drawing.name: drawing.figure for drawing in drawings_of(results)}


def chain(num_assistants: int, seed: int, metric: float, label: str = "") -> RunResult:
    """A MiniDisc run of several assistants."""
    run = run_result(
        "minidisc",
        seed,
        metric,
        name=f"chain-{num_assistants}{label}-{seed}",
        assistants=tuple(model(scale, 0.87) for scale in (55, 40, 25)[:num_assistants]),
        method_digest=f"{num_assistants}{label}",
    )
    return Labelled.model_validate(run.model_dump() | {"label": label})


def chains() -> list[RunResult]:
    return [
        chain(1, 0, 0.84), chain(1, 1, 0.86), chain(2, 0, 0.85, "joint"), chain(2, 0, 0.83, "repeated"),
        chain(3, 0, 0.82, "joint"),
    ]  # fmt: skip


def costs(run: RunResult, *stages: Any) -> RunResult:
    cost = run.cost.model_copy(update={"stages": stages})
    return run.model_copy(update={"cost": cost})
