"""Prometheus and Grafana files: queries that parse, names of ours, and nothing that listens to the world."""

import re

import pytest
from cluster_kit import CLUSTER, load

METRICS = {
    "minidisc_device_hours_total",
    "minidisc_stage_progress",
    "minidisc_selection_metric",
    "minidisc_attempts_total",
}


def rules():
    return [rule for group in load("prometheus/rules.yml")["groups"] for rule in group["rules"]]


def test_prometheus_reads_rays_list_of_nodes_and_our_rules():
    config = load("prometheus/prometheus.yml")
    assert set(config) == {"global", "rule_files", "scrape_configs"}
    (scrape,) = config["scrape_configs"]
    assert scrape["file_sd_configs"] == [{"files": ["/tmp/ray/prom_metrics_service_discovery.json"]}]
    assert [(CLUSTER / "prometheus" / name).is_file() for name in config["rule_files"]] == [True]


def test_every_alert_has_a_query_that_parses_and_knows_our_metrics():
    parser = pytest.importorskip("promql_parser")
    for rule in rules():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        parser.parse(rule["expr"])
        with pytest.raises(ValueError, match=r"."):
            parser.parse(rule["expr"] + ")")
        named = set(re.findall(r"minidisc_\w+", rule["expr"]))
        assert named
        assert named <= METRICS
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert {"summary", "description"} == set(rule["annotations"])


def test_grafana_asks_prometheus_on_loopback_and_serves_the_folder_beside():
    (source,) = load("grafana/provisioning/datasources/minidisc.yaml")["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://127.0.0.1:9090")
    (provider,) = load("grafana/provisioning/dashboards/minidisc.yaml")["providers"]
    assert provider["type"] == "file"
    text = (CLUSTER / "grafana/provisioning/dashboards/minidisc.yaml").read_text("utf-8")
    assert provider["options"]["path"].removeprefix("$") + "=" in text, "the command in its head sets the folder"


def test_the_commands_in_the_files_bind_to_loopback():
    prometheus = (CLUSTER / "prometheus/prometheus.yml").read_text("utf-8")
    grafana = (CLUSTER / "grafana/provisioning/dashboards/minidisc.yaml").read_text("utf-8")
    assert "--web.listen-address=127.0.0.1:9090" in prometheus
    assert "GF_SERVER_HTTP_ADDR=127.0.0.1" in grafana
