"""Metrics from a run's files, as Prometheus gets them, and the dashboard that draws them."""

import json
import re
import time
from pathlib import Path
from types import SimpleNamespace
from urllib.request import urlopen

import pytest
import ray
from ray_kit import RAY_WARNINGS
from storage_kit import LOCAL
from wait_kit import wait_until

from minidisc_ray.accounting.ledger import Ledger
from minidisc_ray.ray_backend import metrics
from minidisc_ray.ray_backend.metrics import Metric, publish, samples
from minidisc_ray.run_files.progress import Progress, write_progress

# What Ray puts before the name of every metric of a user's.
PREFIX = "ray_"
METRICS = [found for found in vars(metrics).values() if isinstance(found, Metric)]
pytestmark = list(RAY_WARNINGS)
DASHBOARD = Path(__file__).parents[2] / "cluster" / "grafana" / "minidisc.json"


@pytest.fixture
def run(tmp_path):
    """A run in its second attempt at the student: 4 devices, an hour lost and a half useful, a quarter idle."""
    folder = tmp_path / "sst2-minidisc"
    ledger, now = Ledger(LOCAL, folder / "ledger.jsonl"), time.time()
    common = {"trial": "main", "devices": 4, "device_type": "cpu-core"}
    hold = {**common, "attempt": "h", "event": "start", "kind": "hold", "name": "group", "time": now - 3600}
    first = {**common, "attempt": "a", "event": "start", "kind": "stage", "name": "student", "time": now - 3375}
    second = {**first, "attempt": "b", "time": now - 1800}
    for entry in (
        hold, first, {"attempt": "a", "event": "checkpoint", "step": 10, "time": now - 2700},
        {"attempt": "a", "event": "end", "status": "failed", "time": now - 1800}, second,
        {"attempt": "b", "event": "beat", "time": now}, {"attempt": "h", "event": "beat", "time": now},
    ):  # fmt: skip
        ledger.append(entry)
    write_progress(LOCAL,
        folder,
        Progress(
            trial="main", status="running", stage="student", stage_index=2, num_stages=3, step=30, num_steps=120,
            metric_name="accuracy", metric=0.75, started_at=now - 3600, updated_at=now,
        ),
    )  # fmt: skip
    return folder


def values(found, metric):
    return {sample.labels[1:]: sample.value for sample in found if sample.metric is metric}


def test_samples_are_what_the_files_say(run):
    found = samples(run, 0.5, "EUR")
    assert {sample.labels[0] for sample in found} == {"sst2-minidisc"}
    assert values(found, metrics.DEVICE_HOURS) == {
        # The live attempt has lost nothing yet.
        ("main", "student", "useful", "cpu-core"): pytest.approx(4 * (675 + 1800) / 3600),
        ("main", "student", "lost", "cpu-core"): pytest.approx(4 * 900 / 3600),
        ("main", "student", "idle", "cpu-core"): pytest.approx(4 * 225 / 3600),
    }
    assert values(found, metrics.PRICE)["main", "lost", "EUR"] == pytest.approx(0.5)
    assert values(found, metrics.ATTEMPTS) == {
        ("main", "student", outcome): float(outcome in ("open", "failed")) for outcome in metrics.OUTCOMES
    }
    assert values(found, metrics.PROGRESS) == {("main", "student"): 0.25}
    assert values(found, metrics.SELECTION) == {("main", "student", "accuracy"): 0.75}
    assert values(found, metrics.TRIALS) == {(state,): float(state == "running") for state in metrics.STATES}
    assert all(len(sample.labels) == len(sample.metric.labels) for sample in found)


def test_a_run_without_files_has_no_costs_and_no_trials(tmp_path):
    found = samples(tmp_path / "nowhere")
    assert {sample.metric for sample in found} == {metrics.TRIALS}
    assert all(sample.value == 0 for sample in found)


@pytest.mark.ray
@pytest.mark.timeout(400)
def test_a_scrape_has_every_metric_with_its_labels(run, local_ray):
    compute = SimpleNamespace(price_per_device_hour=0.5, currency="EUR")
    prepared = SimpleNamespace(run_folder=run, config=SimpleNamespace(compute=compute))
    assert publish(prepared)
    assert not publish(prepared), "rate-limited"
    node = ray.nodes()[0]
    address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"

    def scraped():
        try:
            lines = urlopen(address, timeout=5).read().decode().splitlines()
        except OSError:  # the agent is not up yet
            return {}
        mine = [line for line in lines if f'run="{run.name}"' in line]
        found = {metric: [line for line in mine if line.startswith(f"{PREFIX}{metric.name}{{")] for metric in expected}
        return found if all(found.values()) else {}  # some come with the next export

    expected = [metric for metric in METRICS if metric is not metrics.ENERGY]  # no card, no energy
    exported = wait_until(scraped, 60, "all metrics are exported", every=0.5)
    for metric, lines in exported.items():
        assert set(metric.labels) <= set(re.findall(r'(\w+)="', lines[0])), lines[0]
    lost = next(line for line in exported[metrics.DEVICE_HOURS] if 'kind="lost"' in line)
    assert float(lost.rpartition(" ")[2]) == pytest.approx(1.0)


def test_the_dashboard_draws_these_metrics_and_no_other():
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    panels, variables = dashboard["panels"], dashboard["templating"]["list"]
    known = {PREFIX + metric.name: metric for metric in METRICS}
    ids = [panel["id"] for panel in panels]
    assert len(ids) == len(set(ids)) > 0
    sources = [panel["datasource"] for panel in panels] + [
        target["datasource"] for p in panels for target in p["targets"]
    ]
    sources += [variable["datasource"] for variable in variables if variable["type"] == "query"]
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)
    assert any(v["type"] == "datasource" and (v["name"], v["query"]) == ("datasource", "prometheus") for v in variables)
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    expressions += [variable["definition"] for variable in variables if variable["type"] == "query"]
    drawn = set()
    for expression in expressions:
        named = set(re.findall(r"\b\w*minidisc_\w+", expression))
        assert named, expression
        assert named <= known.keys(), expression
        drawn |= named
        for name, selected in re.findall(r"\b(\w*minidisc_\w+)\{([^}]*)\}", expression):
            assert set(re.findall(r"(\w+)=", selected)) <= set(known[name].labels), expression
        for grouped, name in re.findall(r"max by \(([^)]*)\) \((\w+)\{", expression):
            # All labels but those that Ray adds for the process.
            assert tuple(grouped.split(", ")) == known[name].labels, expression
        assert set(re.findall(r"\$(\w+)", expression)) <= {variable["name"] for variable in variables}
        assert expression.count("(") == expression.count(")")
    assert drawn == known.keys()
    places = [tuple(panel["gridPos"][side] for side in "xywh") for panel in panels]
    assert all(x + w <= 24 for x, _, w, _ in places)
    for index, (x, y, w, h) in enumerate(places):
        for other_x, other_y, other_w, other_h in places[:index]:
            assert x >= other_x + other_w or other_x >= x + w or y >= other_y + other_h or other_y >= y + h
