"""KubeRay manifests: its resource definitions, made strict, and what we ask of every pod beyond them."""

import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from cluster_kit import CLUSTER, RAY_VERSION, changed, crd_schema, load, load_all, strict

MANIFESTS = {"RayCluster": "kuberay/raycluster.yaml", "RayJob": "kuberay/rayjob.yaml"}
NAMESPACE = "minidisc"
SCHEMAS: dict[str, dict[str, Any]] = {}


def errors(kind: str, manifest: Any) -> list[str]:
    if kind not in SCHEMAS:
        SCHEMAS[kind] = crd_schema(kind)
    return [error.message for error in jsonschema.Draft202012Validator(SCHEMAS[kind]).iter_errors(manifest)]


def cluster_of(manifest: Any) -> Any:
    return manifest["spec"].get("rayClusterSpec", manifest["spec"])


def pods(cluster: Any) -> dict[str, Any]:
    groups = {group["groupName"]: group for group in cluster["workerGroupSpecs"]}
    return {"head": cluster["headGroupSpec"]["template"]["spec"]} | {
        n: g["template"]["spec"] for n, g in groups.items()
    }


def is_locked(context: dict[str, Any]) -> bool:
    return (
        context.get("allowPrivilegeEscalation") is False
        and context.get("runAsNonRoot") is True
        and context.get("capabilities") == {"drop": ["ALL"]}
        and context.get("seccompProfile") == {"type": "RuntimeDefault"}
    )


def complaints(cluster: Any) -> Iterator[str]:
    """What would leave a cluster open, privileged or without limit."""
    if cluster.get("rayVersion") != RAY_VERSION:
        yield "rayVersion is not the pinned one"
    if cluster.get("authOptions", {}).get("mode") != "token":
        yield "no token"
    if cluster.get("networkPolicy", {}).get("mode") not in {"DenyAll", "DenyAllIngress"}:
        yield "other pods may reach it"
    if cluster["headGroupSpec"]["serviceType"] != "ClusterIP" or cluster["headGroupSpec"].get("enableIngress"):
        yield "the head's service is reached from outside"
    if cluster["headGroupSpec"]["rayStartParams"].get("num-cpus") != "0":
        yield "trials may run on the head"
    if not cluster.get("enableInTreeAutoscaling") or cluster["autoscalerOptions"].get("version") != "v2":
        yield "no autoscaler"
    if not is_locked(cluster["autoscalerOptions"].get("securityContext", {})):
        yield "the autoscaler is privileged"
    for group in cluster["workerGroupSpecs"]:
        if not group["minReplicas"] == 0 < group["maxReplicas"] <= 32:
            yield f"{group['groupName']} has no limits"
    for name, pod in pods(cluster).items():
        (container,) = pod["containers"]
        if pod["securityContext"].get("runAsUser") != 1000 or not pod["securityContext"].get("runAsNonRoot"):
            yield f"{name} runs as root"
        if not is_locked(container["securityContext"]):
            yield f"{name} is privileged"
        if not container["image"].partition(":")[2].startswith(f"{RAY_VERSION}-"):
            yield f"{name}'s image is of another Ray"
        if container["resources"]["requests"] != container["resources"]["limits"]:
            yield f"{name} asks for less than it takes"
        if missing := {"startupProbe", "readinessProbe", "livenessProbe"} - container.keys():
            yield f"{name} has no {sorted(missing)[0]}"
        if "/mnt/minidisc" not in {mount["mountPath"] for mount in container["volumeMounts"]}:
            yield f"{name} does not reach the storage"
        if name != "head" and pod.get("automountServiceAccountToken") is not False:
            yield f"{name} may talk to Kubernetes"


@pytest.mark.parametrize("kind", MANIFESTS)
def test_kuberay_takes_the_manifest_and_we_do_too(kind):
    manifest = load(MANIFESTS[kind])
    assert (manifest["apiVersion"], manifest["kind"]) == ("ray.io/v1", kind)
    assert list(complaints(cluster_of(manifest))) == []
    assert errors(kind, manifest) == []


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("RayCluster", "spec.rayVerison", "2.60.0"),
        ("RayCluster", "spec.authOptions.mode", "tokens"),
        ("RayCluster", "spec.autoscalerOptions.idleTimeoutMinutes", 10),
        ("RayCluster", "spec.workerGroupSpecs.1.maxReplica", 4),
        ("RayCluster", "spec.workerGroupSpecs.1.template.spec.nodeSelecter", {"gpu": "true"}),
        ("RayCluster", "spec.headGroupSpec.template.spec.containers.0.livenessProbe.period", 30),
        ("RayCluster", "spec.headGroupSpec.template.spec.containers.0.resources.limits.memory", "16 gigabytes"),
        ("RayJob", "spec.activeDeadline", 60),
        ("RayJob", "spec.rayClusterSpec.networkPolicy.mode", "DenyIngress"),
        ("RayJob", "spec.submitterPodTemplate.spec.container", []),
    ],
)
def test_the_strict_schema_finds_a_typo(kind, path, value):
    assert errors(kind, changed(load(MANIFESTS[kind]), path, value))


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("authOptions", {}, "no token"),
        ("networkPolicy", {}, "other pods"),
        ("headGroupSpec.serviceType", "LoadBalancer", "from outside"),
        ("workerGroupSpecs.0.template.spec.securityContext", {}, "cpu runs as root"),
        ("workerGroupSpecs.1.template.spec.containers.0.securityContext", {"privileged": True}, "gpu is privileged"),
        ("workerGroupSpecs.1.template.spec.containers.0.image", "minidisc-ray:latest", "another Ray"),
        ("workerGroupSpecs.1.template.spec.containers.0.volumeMounts", [], "does not reach"),
        ("headGroupSpec.template.spec.containers.0.resources.limits", {"cpu": "8"}, "less than it takes"),
    ],
)
def test_our_own_checks_find_what_is_missing(path, value, complaint):
    found = list(complaints(changed(load(MANIFESTS["RayCluster"]), f"spec.{path}", value)["spec"]))
    assert any(complaint in line for line in found), found


def test_gpu_workers_go_to_gpu_nodes():
    gpu = pods(load(MANIFESTS["RayCluster"])["spec"])["gpu"]
    assert gpu["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert gpu["nodeSelector"]
    assert [toleration["key"] for toleration in gpu["tolerations"]] == ["nvidia.com/gpu"]


def test_a_jobs_cluster_is_the_other_one_but_for_the_way_to_the_dashboard():
    alone, shared = cluster_of(load(MANIFESTS["RayJob"])), load(MANIFESTS["RayCluster"])["spec"]
    assert shared["headGroupSpec"]["rayStartParams"]["dashboard-host"] == "127.0.0.1"
    # Submitter and operator are pods of their own: behind token and policy, which lets the operator in at this port.
    assert alone["headGroupSpec"]["rayStartParams"]["dashboard-host"] == "0.0.0.0"
    (rule,) = alone["networkPolicy"]["head"]["ingressRules"]
    assert [port["port"] for port in rule["ports"]] == [8265]
    same = changed(alone, "headGroupSpec.rayStartParams", shared["headGroupSpec"]["rayStartParams"])
    assert changed(same, "networkPolicy", shared["networkPolicy"]) == shared


def test_a_job_carries_no_packages_and_goes_on_after_a_lost_head():
    job = load(MANIFESTS["RayJob"])
    assert "generateName" in job["metadata"], "two people's jobs have two names"
    spec = job["spec"]
    assert "runtimeEnvYAML" not in spec
    assert spec["shutdownAfterJobFinishes"]
    assert spec["backoffLimit"] > 0
    (submitter,) = spec["submitterPodTemplate"]["spec"]["containers"]
    assert is_locked(submitter["securityContext"])


def test_what_manifests_refer_to_is_in_the_base():
    base: dict[str, list[Any]] = {}
    for item in load_all("kuberay/base.yaml"):
        base.setdefault(item["kind"], []).append(item)
    assert set(base) == {"Namespace", "PersistentVolumeClaim", "PriorityClass", "ResourceQuota", "NetworkPolicy"}
    (namespace,), (claim,), (policy,) = base["Namespace"], base["PersistentVolumeClaim"], base["NetworkPolicy"]
    assert namespace["metadata"]["name"] == NAMESPACE
    assert namespace["metadata"]["labels"] == {"pod-security.kubernetes.io/enforce": "restricted"}
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    assert "ingress" not in policy["spec"], "nothing is let in"
    priorities = {item["metadata"]["name"] for item in base["PriorityClass"]}
    for manifest in map(load, MANIFESTS.values()):
        assert manifest["metadata"]["namespace"] == claim["metadata"]["namespace"] == NAMESPACE
        for pod in pods(cluster_of(manifest)).values():
            assert pod["priorityClassName"] in priorities
            (volume,) = pod["volumes"]
            assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]


def test_the_claim_is_one_as_kubernetes_knows_it():
    pod = crd_schema("RayCluster")["properties"]["spec"]["properties"]["headGroupSpec"]["properties"]["template"]
    volume = pod["properties"]["spec"]["properties"]["volumes"]["items"]["properties"]
    schema = strict(volume["ephemeral"]["properties"]["volumeClaimTemplate"]["properties"]["spec"])
    (claim,) = [item for item in load_all("kuberay/base.yaml") if item["kind"] == "PersistentVolumeClaim"]
    validator = jsonschema.Draft202012Validator(schema)
    assert [error.message for error in validator.iter_errors(claim["spec"])] == []
    assert list(validator.iter_errors(claim["spec"] | {"accessMode": "ReadWriteMany"}))


def test_no_token_is_in_a_file():
    for path in CLUSTER.rglob("*"):
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"[0-9a-f]{32}", text), f"{path.name} holds what may be a token"
            assert "kind: Secret" not in text
