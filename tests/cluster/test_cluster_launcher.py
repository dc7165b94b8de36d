"""``ray up`` files: Ray's own schema, the clouds' own descriptions of a machine, and what we ask beyond both."""

import re
from typing import Any

import jsonschema
import pytest
from cluster_kit import CLUSTER, RAY_VERSION, changed, load, strict
from ray.autoscaler._private.util import prepare_config, validate_config

FILES = ("aws.yaml", "gcp.yaml", "on-premise.yaml")
CLOUDS = FILES[:2]
# Ray lets any key stand here; these are the ones that its code reads.
PROVIDER_KEYS = {
    "aws.yaml": {"type", "region", "cache_stopped_nodes"},
    "gcp.yaml": {"type", "region", "availability_zone", "project_id", "cache_stopped_nodes"},
    "on-premise.yaml": {"type", "head_ip", "worker_ips"},
}


def prepared(config: dict[str, Any]) -> dict[str, Any]:
    """As ``ray up`` does before it calls a cloud: Ray's defaults below, then its schema."""
    made = prepare_config(config)
    validate_config(made)
    return made


def complaints(config: dict[str, Any]) -> list[str]:
    """What would leave a cluster open, without its token, or growing without limit; none is as it should be."""
    found: list[str] = []
    starts = {
        kind: [command for command in config[f"{kind}_start_ray_commands"] if "ray start" in command]
        for kind in ("head", "worker")
    }
    for kind, commands in starts.items():
        if not commands or any("RAY_AUTH_MODE=token ray start" not in command for command in commands):
            found.append(f"{kind} starts without a token")
    if any("--dashboard-host=127.0.0.1" not in command for command in starts["head"]):
        found.append("the dashboard is not on loopback")
    if any("--num-cpus=0" not in command for command in starts["head"]):
        found.append("trials may run on the head")
    if "~/.ray/auth_token" not in config["file_mounts"].values():
        found.append("the token is on no node")
    if not any("RAY_AUTH_MODE=token" in command for command in config["initialization_commands"]):
        found.append("a shell on a node has no token mode")
    if not any("/mnt/minidisc" in command and "mount" in command for command in config["initialization_commands"]):
        found.append("shared storage is not mounted")
    if not any(option.startswith("--volume=/mnt/minidisc:") for option in config["docker"]["run_options"]):
        found.append("shared storage does not reach the container")
    if not config["docker"]["image"].partition(":")[2].startswith(f"{RAY_VERSION}-"):
        found.append("the image's tag does not name Ray's version")
    if re.search(r"0\.0\.0\.0|::/0", str(config)):
        found.append("something is open to everywhere")
    if any(config[key] for key in ("setup_commands", "head_setup_commands", "worker_setup_commands")):
        found.append("nodes install things that belong into the image")
    workers = {k: v for k, v in config["available_node_types"].items() if k != config["head_node_type"]}
    for name, node_type in workers.items():
        if not 0 < node_type["max_workers"] <= config["max_workers"]:
            found.append(f"{name} has no limit of its own")
        node = node_type["node_config"]
        market = node.get("InstanceMarketOptions", {}).get("MarketType")
        if "spot" not in (market, node.get("scheduling", {}).get("provisioningModel", "").lower()):
            found.append(f"{name} is not spot")
    if workers and not any("GPU" in node_type["resources"] for node_type in workers.values()):
        found.append("no worker has a GPU")
    if not 0 < config["idle_timeout_minutes"] <= 60:
        found.append("idle nodes stay")
    return found


@pytest.mark.parametrize("name", FILES)
def test_ray_takes_the_file_and_we_do_too(name):
    config = load(name)
    assert set(config["provider"]) == PROVIDER_KEYS[name]
    made = prepared(config)
    assert complaints(made) == []
    # None of the commands that Ray falls back to, one of which opens the dashboard to everywhere.
    for key in ("initialization_commands", "head_start_ray_commands", "worker_start_ray_commands"):
        assert made[key] == config[key]
    assert sum("ray start" in command for command in made["head_start_ray_commands"]) == 1
    assert all("#" not in command for key in made if key.endswith("_commands") for command in made[key])


@pytest.mark.parametrize("name", CLOUDS)
def test_the_head_is_on_demand_and_workers_come_and_go(name):
    types = prepared(load(name))["available_node_types"]
    assert set(types) == {"head", "cpu", "gpu"}
    head = types["head"]["node_config"]
    assert "InstanceMarketOptions" not in head
    assert "scheduling" not in head
    assert (types["head"]["resources"], types["head"]["max_workers"]) == ({"CPU": 0}, 0)
    assert [types[name]["min_workers"] for name in ("cpu", "gpu")] == [0, 0]
    assert types["gpu"]["resources"]["GPU"] == 1
    assert "GPU" not in types["cpu"]["resources"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("idle_timeout_minuets", 10),
        ("available_node_types.gpu.max_worker", 4),
        ("available_node_types.gpu.resources.GPU", 0.5),
        ("docker.immage", "minidisc-ray"),
        ("head_node_type", "haed"),
    ],
)
def test_rays_schema_finds_a_typo(path, value):
    with pytest.raises((jsonschema.ValidationError, ValueError)):
        prepared(changed(load("aws.yaml"), path, value))


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        ("head_start_ray_commands.1", "RAY_AUTH_MODE=token ray start --head --num-cpus=0", "not on loopback"),
        ("head_start_ray_commands.1", "ray start --head --dashboard-host=127.0.0.1", "head starts without a token"),
        ("worker_start_ray_commands.1", "ray start --address=$RAY_HEAD_IP:6379", "worker starts without a token"),
        ("file_mounts", {}, "the token is on no node"),
        ("available_node_types.gpu.node_config.InstanceMarketOptions", {}, "gpu is not spot"),
        ("available_node_types.cpu.max_workers", 100, "cpu has no limit"),
        ("provider.security_group", {"IpPermissions": [{"CidrIp": "0.0.0.0/0"}]}, "open to everywhere"),
        ("docker.image", "minidisc-ray:2.59.0-gpu", "does not name Ray's version"),
        ("setup_commands", ["pip install minidisc-ray"], "belong into the image"),
    ],
)
def test_our_own_checks_find_what_is_missing(path, value, complaint):
    found = complaints(prepared(changed(load("aws.yaml"), path, value)))
    assert any(complaint in line for line in found), found


def aws_errors(node_config: dict[str, Any]) -> str:
    """What EC2's own model says of a machine, as the launcher would ask for it."""
    loaders, model, validate = (pytest.importorskip(f"botocore.{name}") for name in ("loaders", "model", "validate"))
    service = model.ServiceModel(loaders.Loader().load_service_model("ec2", "service-2"))
    asked = {key: value for key, value in node_config.items() if key != "SubnetIds"}
    asked |= {"SubnetId": node_config["SubnetIds"][0], "MinCount": 1, "MaxCount": 1}
    return (
        validate.ParamValidator().validate(asked, service.operation_model("RunInstances").input_shape).generate_report()
    )


def gcp_errors(node_config: dict[str, Any]) -> list[str]:
    """What Compute Engine's own description of an instance says of a machine."""
    discovery = pytest.importorskip("googleapiclient.discovery_cache")
    import json

    document = json.loads(discovery.get_static_doc("compute", "v1"))
    text = json.dumps({"$ref": "Instance", "$defs": document["schemas"]})
    schema = strict(json.loads(re.sub(r'"\$ref": "(\w+)"', r'"$ref": "#/$defs/\1"', text)))
    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(node_config)]


def test_ec2_knows_every_key_of_a_machine():
    types = load("aws.yaml")["available_node_types"]
    assert {name: aws_errors(node_type["node_config"]) for name, node_type in types.items()} == dict.fromkeys(types, "")
    for key, value in (("InstanceTyp", "m7i.xlarge"), ("MetadataOptions", {"HttpTokn": "required"}), ("ImageId", 7)):
        assert aws_errors(types["head"]["node_config"] | {key: value}), f"{key}: {value} is not found"


def test_compute_engine_knows_every_key_of_a_machine():
    types = load("gcp.yaml")["available_node_types"]
    # The size is a number here and text in the description; the service takes both.
    for node_type in types.values():
        for disk in node_type["node_config"]["disks"]:
            disk["initializeParams"]["diskSizeGb"] = str(disk["initializeParams"]["diskSizeGb"])
    assert {name: gcp_errors(node_type["node_config"]) for name, node_type in types.items()} == {n: [] for n in types}
    node = types["gpu"]["node_config"]
    assert gcp_errors(changed(node, "scheduling.provisioningModle", "SPOT"))
    assert gcp_errors(changed(node, "scheduling.provisioningModel", "CHEAP"))
    assert gcp_errors(changed(node, "guestAccelerators.0.acceleratorCount", "one"))


def test_the_base_opens_ssh_to_named_addresses_and_nothing_else():
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_multi_constructor("!", lambda loader, tag, node: {tag: loader.construct_scalar(node)})
    template = yaml.load((CLUSTER / "aws-base.yaml").read_text("utf-8"), Loader=Loader)
    resources, parameters = template["Resources"], template["Parameters"]
    (rule,) = resources["Nodes"]["Properties"]["SecurityGroupIngress"]
    assert (rule["FromPort"], rule["ToPort"], rule["CidrIp"]) == (22, 22, {"Ref": "SshFrom"})
    # Sixteen bits of network at least: not the world.
    allowed = re.compile(parameters["SshFrom"]["AllowedPattern"])
    assert allowed.fullmatch("198.51.100.7/32")
    assert not allowed.fullmatch("0.0.0.0/0")
    among = resources["AmongNodes"]["Properties"]
    # CloudFormation knows no aliases, however well YAML does.
    text = (CLUSTER / "aws-base.yaml").read_text("utf-8")
    assert not re.search(r": [&*]\w", text)
    assert among["GroupId"] == among["SourceSecurityGroupId"] == {"Ref": "Nodes"}
    assert "CidrIp" not in among
    referred = set(re.findall(r"'(?:Ref|GetAtt)': '(\w+)", str(template)))
    assert referred <= {*resources, *parameters}, "a name that is not there"
    profiles = {r["Properties"]["InstanceProfileName"] for r in resources.values() if "Profile" in r["Type"]}
    types = load("aws.yaml")["available_node_types"].values()
    assert profiles == {node_type["node_config"]["IamInstanceProfile"]["Name"] for node_type in types}
    # The role may end the nodes of this cluster alone.
    assert load("aws.yaml")["cluster_name"] in str(resources["HeadRole"])
