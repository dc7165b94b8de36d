"""Kueue's queue and the job in it: what of its v1beta1 we use, made strict, and what its webhooks ask of a RayJob."""

import re
from typing import Any

import jsonschema
import pytest
from cluster_kit import changed, crd_schema, load, load_all, patched, strict

API = "kueue.x-k8s.io/v1beta1"
LABELS = {"queue": "kueue.x-k8s.io/queue-name", "priority": "kueue.x-k8s.io/priority-class"}

NAME = {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"}
TEXT = {"type": "string"}
QUOTA = {"type": "string", "pattern": r"^[0-9]+(Mi|Gi|Ti)?$"}


def closed(**properties: Any) -> dict[str, Any]:
    """An object that has these keys and no others."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def listed(entry: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": entry, "minItems": 1}


def schema(kind: str, namespaced: bool, **properties: Any) -> Any:
    metadata = closed(name=NAME, namespace=NAME) if namespaced else closed(name=NAME)
    return strict(closed(apiVersion={"const": API}, kind={"const": kind}, metadata=metadata, **properties))


# The parts of Kueue's resource definitions that the file uses, written down from them.
SCHEMAS = {
    "ResourceFlavor": schema("ResourceFlavor", False),
    "ClusterQueue": schema(
        "ClusterQueue",
        False,
        spec=closed(
            namespaceSelector=closed(matchLabels={"type": "object", "additionalProperties": TEXT}),
            queueingStrategy={"enum": ["StrictFIFO", "BestEffortFIFO"]},
            preemption=closed(withinClusterQueue={"enum": ["Never", "LowerPriority", "LowerOrNewerEqualPriority"]}),
            resourceGroups=listed(
                closed(
                    coveredResources=listed(TEXT),
                    flavors=listed(closed(name=NAME, resources=listed(closed(name=TEXT, nominalQuota=QUOTA)))),
                )
            ),
        ),
    ),
    "LocalQueue": schema("LocalQueue", True, spec=closed(clusterQueue=NAME)),
    "WorkloadPriorityClass": schema("WorkloadPriorityClass", False, value={"type": "integer"}, description=TEXT),
}


def queue() -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for item in load_all("kuberay/kueue.yaml"):
        found.setdefault(item["kind"], []).append(item)
    return found


def errors(item: Any) -> list[str]:
    validator = jsonschema.Draft202012Validator(SCHEMAS[item["kind"]])
    return [error.message for error in validator.iter_errors(item)]


def job_in_queue() -> Any:
    return patched(load("kuberay/rayjob.yaml"), load("kuberay/rayjob-kueue.yaml"))


def refusals(job: Any) -> list[str]:
    """Why Kueue's webhooks would not take a RayJob, or would not queue it."""
    found = []
    labels, spec = job["metadata"].get("labels", {}), job["spec"]
    cluster = spec.get("rayClusterSpec", {})
    if LABELS["queue"] not in labels:
        found.append("no queue")
    if spec.get("clusterSelector") or not cluster:
        found.append("the cluster is not its own")
    if not spec.get("shutdownAfterJobFinishes"):
        found.append("the cluster outlives the job")
    if cluster.get("enableInTreeAutoscaling"):
        found.append("the cluster's size changes")
    groups = cluster.get("workerGroupSpecs", [])
    if len(groups) > 7 or any(group["groupName"] == "head" for group in groups):
        found.append("more groups than Kueue counts")
    return found


def test_the_queue_is_as_kueue_knows_it():
    found = queue()
    assert {kind: len(items) for kind, items in found.items()} == {
        "ResourceFlavor": 1,
        "ClusterQueue": 1,
        "LocalQueue": 1,
        "WorkloadPriorityClass": 2,
    }
    assert [error for items in found.values() for item in items for error in errors(item)] == []


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("ResourceFlavor", "apiVersion", "kueue.x-k8s.io/v1alpha1"),
        ("ClusterQueue", "spec.cohortName", "all"),
        ("ClusterQueue", "spec.queueingStrategy", "FIFO"),
        ("ClusterQueue", "spec.preemption.withinClusterQueue", "Lower"),
        ("ClusterQueue", "spec.resourceGroups.0.flavors.0.resources.1.nominalQuota", "800 gigabytes"),
        ("ClusterQueue", "metadata.namespace", "minidisc"),
        ("LocalQueue", "spec.clusterqueue", "minidisc"),
        ("WorkloadPriorityClass", "spec", {"value": 5}),
        ("WorkloadPriorityClass", "value", "1000"),
    ],
)
def test_a_mistake_in_the_queue_is_found(kind, path, value):
    assert errors(changed(queue()[kind][0], path, value))


def test_its_parts_name_each_other_and_what_the_base_has():
    found = queue()
    (flavor,), (cluster_queue,), (local_queue,) = found["ResourceFlavor"], found["ClusterQueue"], found["LocalQueue"]
    base = load_all("kuberay/base.yaml")
    (namespace,) = [item["metadata"]["name"] for item in base if item["kind"] == "Namespace"]
    assert cluster_queue["spec"]["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    assert local_queue["metadata"]["namespace"] == namespace
    assert local_queue["spec"]["clusterQueue"] == cluster_queue["metadata"]["name"]
    (group,) = cluster_queue["spec"]["resourceGroups"]
    (quota,) = group["flavors"]
    assert quota["name"] == flavor["metadata"]["name"]
    # Kueue asks for the same order.
    assert [resource["name"] for resource in quota["resources"]] == group["coveredResources"]
    (limit,) = [item["spec"]["hard"] for item in base if item["kind"] == "ResourceQuota"]
    assert {f"requests.{one['name']}": one["nominalQuota"] for one in quota["resources"]} == limit
    classes = {item["metadata"]["name"]: item["value"] for item in base if item["kind"] == "PriorityClass"}
    assert {item["metadata"]["name"]: item["value"] for item in found["WorkloadPriorityClass"]} == classes


def test_kuberay_and_kueue_take_the_job():
    job = job_in_queue()
    validator = jsonschema.Draft202012Validator(crd_schema("RayJob"))
    assert [error.message for error in validator.iter_errors(job)] == []
    assert refusals(job) == []
    assert job["spec"]["suspend"] is True, "its cluster waits for Kueue"
    found = queue()
    assert job["metadata"]["labels"] == {
        LABELS["queue"]: found["LocalQueue"][0]["metadata"]["name"],
        LABELS["priority"]: "minidisc-batch",
    }
    assert "minidisc-batch" in {item["metadata"]["name"] for item in found["WorkloadPriorityClass"]}


def test_the_job_without_the_patch_is_no_job_of_the_queue():
    assert refusals(load("kuberay/rayjob.yaml")) == ["no queue", "the cluster's size changes"]
    job = changed(job_in_queue(), "spec.shutdownAfterJobFinishes", False)
    assert refusals(changed(job, "spec.clusterSelector", {"ray.io/cluster": "minidisc"})) == [
        "the cluster is not its own",
        "the cluster outlives the job",
    ]


def test_the_jobs_cluster_has_what_its_entrypoint_waits_for_and_fits_the_quota():
    spec = job_in_queue()["spec"]
    groups = {group["groupName"]: group for group in spec["rayClusterSpec"]["workerGroupSpecs"]}
    waits_for = int(re.search(r"--nodes (\d+)", spec["entrypoint"]).group(1))
    assert groups["gpu"]["minReplicas"] == groups["gpu"]["replicas"] == waits_for <= groups["gpu"]["maxReplicas"]
    assert groups["cpu"]["replicas"] == 0
    head = spec["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    pods = [head, spec["submitterPodTemplate"]["spec"], *[groups["gpu"]["template"]["spec"]] * waits_for]
    (group,) = queue()["ClusterQueue"][0]["spec"]["resourceGroups"]
    for resource in group["flavors"][0]["resources"]:
        asked = [pod["containers"][0]["resources"]["requests"].get(resource["name"], "0") for pod in pods]
        assert sum(map(amount, asked)) <= amount(resource["nominalQuota"]), resource["name"]
    covered = {name for pod in pods for name in pod["containers"][0]["resources"]["requests"]}
    assert covered <= set(group["coveredResources"]), "Kueue admits no pod that asks for what its queue does not cover"


def amount(quantity: str) -> float:
    number, unit = re.fullmatch(r"([0-9]+)(m|Gi|)", quantity).groups()
    return float(number) * {"m": 1e-3, "Gi": 2.0**30, "": 1.0}[unit]
