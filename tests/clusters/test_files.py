"""The cluster files, against Ray's own schema, its providers' code and its autoscaler, without any cloud."""

from __future__ import annotations

import getpass
import inspect
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import boto3
import botocore.client
import googleapiclient.discovery_cache
import pytest
import yaml
from moto import mock_aws
from ray.autoscaler._private.aws.config import bootstrap_aws
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil

from orchestrator.progress import metrics
from tests.support.tiny_world import REPOSITORY

CLUSTERS = REPOSITORY / "clusters"
CLOUDS = {"aws": REPOSITORY / "cluster.yaml", "gcp": CLUSTERS / "gcp.yaml"}
ALL = {**CLOUDS, "onpremise": CLUSTERS / "onpremise.yaml"}
START = "export RAY_AUTH_MODE=token; RAY_TMPDIR=$(~/crosscells/clusters/own.sh) && export RAY_TMPDIR || exit 2; "
SHARED = ("file_mounts", "setup_commands", "worker_start_ray_commands")


SLURM_COMMANDS = {
    "srun": """#!/usr/bin/env bash
while [[ $1 == -* ]]; do [ "$1" = -w ] && shift; shift; done
[ "$1" = hostname ] && { echo 10.0.0.1; exit; }
exec "$@"
""",
    "scontrol": """#!/usr/bin/env bash
printf 'n1\\nn2\\n'
""",
    "ray": """#!/usr/bin/env bash
[ "$1" = health-check ] || echo "ray $*" >>"$ASKED"
""",
    "python": """#!/usr/bin/env bash
sleep 1; echo "python $*" >>"$ASKED"
""",
}


def read(file: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(file.read_text()))


@pytest.mark.parametrize("name", ALL)
def test_ray_takes_the_file(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    raw = read(ALL[name])
    validate_config(prepare_config(raw))
    for source in raw["file_mounts"].values():
        assert source.startswith("~/") or Path(source).is_file()
    assert raw["idle_timeout_minutes"] > 0
    for command in raw["head_start_ray_commands"][1:]:
        assert "--dashboard-host=127.0.0.1" in command
    for command in (*raw["head_start_ray_commands"], *raw["worker_start_ray_commands"]):
        assert command == "ray stop" or command.startswith(START), "a profile may not say so"
    assert {key: raw[key] for key in SHARED} == {
        key: read(ALL["aws"])[key] for key in SHARED
    }  # the same nodes everywhere


def to_launch(config: dict[str, Any], gpus: float, count: int, availabilities: dict[str, float]) -> dict[str, int]:
    """What Ray's autoscaler starts on an empty cluster for `count` requests of `gpus` each."""
    node_types = AutoscalingConfig(config, skip_content_hash=True).get_node_type_configs()
    request = SchedulingRequest(
        disable_launch_config_check=True,
        node_type_configs=node_types,
        max_num_nodes=config["max_workers"],
        resource_requests=ResourceRequestUtil.group_by_count([ResourceRequestUtil.make({"GPU": gpus})] * count),
        recoverable_resource_availabilities=availabilities,
    )
    reply = ResourceDemandScheduler(event_logger=None).schedule(request)
    assert not reply.infeasible_resource_requests
    return {launch.instance_type: launch.count for launch in reply.to_launch if launch.instance_type != "head"}


@pytest.mark.parametrize("name", CLOUDS)
def test_nodes_come_from_zero_as_spot_and_on_demand_when_there_is_none(name: str) -> None:
    config = read(CLOUDS[name])
    types = config["available_node_types"]
    assert "GPU" not in types["head"]["resources"]
    assert {types[key]["min_workers"] for key in types if key != "head"} == {0}
    assert to_launch(config, 1, 1, {}) == {"gpu-1-spot": 1}
    assert to_launch(config, 1, 1, {"gpu-1-spot": 0.0}) == {"gpu-1": 1}  # it could not be had just now
    assert to_launch(config, 4, 1, {}) == {"gpu-4-spot": 1}
    assert to_launch(config, 4, 1, {"gpu-4-spot": 0.0}) == {"gpu-4": 1}
    assert sum(to_launch(config, 1, 8, {}).values()) in (2, 8)  # two of four GPUs, or eight of one


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[set[str]]:
    """A pretended AWS account; the set of the actions that were called in it. What is made there bears Ray's mark."""
    for key, value in {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "HOME": str(tmp_path)}.items():
        monkeypatch.setenv(key, value)
    (tmp_path / ".ssh").mkdir()
    monkeypatch.chdir(REPOSITORY)
    calls: set[str] = set()
    call = botocore.client.BaseClient._make_api_call

    def recorded(self: Any, operation: str, parameters: dict[str, Any]) -> Any:
        calls.add(f"{self.meta.service_model.service_name}:{operation}")
        if operation in ("RunInstances", "CreateSecurityGroup"):  # the policies' conditions ask for it
            tags = [tag for one in parameters["TagSpecifications"] for tag in one["Tags"]]
            assert {"Key": "ray-cluster-name", "Value": "crosscells"} in tags
        return call(self, operation, parameters)

    with mock_aws():
        for role in ("crosscells-head", "crosscells-worker"):
            boto3.client("iam", "us-east-1").create_instance_profile(InstanceProfileName=role)
        monkeypatch.setattr(botocore.client.BaseClient, "_make_api_call", recorded)
        yield calls


def allowed(policy: str) -> set[str]:
    statements = json.loads((CLUSTERS / "aws" / f"{policy}.json").read_text())["Statement"]
    actions = [statement["Action"] for statement in statements]
    return {action for group in actions for action in ([group] if isinstance(group, str) else group)}


def test_aws_gets_a_cluster_that_lets_in_ssh_alone_with_the_rights_the_policies_give(aws: set[str]) -> None:
    config = prepare_config(read(CLOUDS["aws"]))
    declared = {name: dict(kind["resources"]) for name, kind in config["available_node_types"].items()}
    config = bootstrap_aws(AWSNodeProvider.fillout_available_node_types_resources(config))
    for name, kind in config["available_node_types"].items():  # what the instance types have, by AWS' own list
        assert {key: kind["resources"][key] for key in declared[name]} == declared[name]
        assert kind["resources"].get("accelerator_type:L40S") == (1 if "gpu" in name else None)
        assert kind["node_config"]["MetadataOptions"]["HttpTokens"] == "required"
        assert kind["node_config"]["IamInstanceProfile"]["Name"] in ("crosscells-head", "crosscells-worker")
    ec2 = boto3.client("ec2", "us-east-1")
    (group,) = [g for g in ec2.describe_security_groups()["SecurityGroups"] if "crosscells" in g["GroupName"]]
    outside = [rule for rule in group["IpPermissions"] if rule["IpRanges"]]
    assert [(rule["FromPort"], rule["ToPort"]) for rule in outside] == [(22, 22)]
    inside = [pair["GroupId"] for rule in group["IpPermissions"] for pair in rule["UserIdGroupPairs"]]
    assert inside == [group["GroupId"]]
    launch(config, "head")
    needed = {call for call in aws if call.startswith("ec2:")}
    assert needed <= allowed("launcher")
    assert not any(call.startswith("iam:") for call in aws)  # Ray would make roles with all of EC2 and S3
    aws.clear()
    spot = launch(config, "gpu-1-spot")
    assert spot["InstanceLifecycle"] == "spot"
    assert aws <= allowed("head")
    assert not any("*" in action for policy in ("launcher", "head", "worker") for action in allowed(policy))
    assert all(action.startswith("s3:") for action in allowed("worker"))


def launch(config: dict[str, Any], name: str) -> dict[str, Any]:
    """Start a node as Ray does, and end it again; what EC2 said of it."""
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    node_config = config["available_node_types"][name]["node_config"]
    kind = "head" if name == "head" else "worker"
    tags = {"ray-node-type": kind, "ray-user-node-type": name, "ray-node-name": name}
    provider.create_node(node_config, tags, 1)
    (node,) = provider.non_terminated_nodes({"ray-user-node-type": name})
    (found,) = boto3.client("ec2", "us-east-1").describe_instances(InstanceIds=[node])["Reservations"][0]["Instances"]
    provider.set_node_tags(node, {"ray-node-status": "up-to-date"})
    provider.terminate_node(node)
    assert not provider.non_terminated_nodes({"ray-user-node-type": name})
    return dict(found)


def check_fields(value: Any, schema: dict[str, Any], schemas: dict[str, Any], where: str) -> None:
    """Raise AssertionError where a value is no such object of Google's API."""
    schema = schemas[schema["$ref"]] if "$ref" in schema else schema
    if isinstance(value, dict):
        for key, inner in value.items():
            assert key in schema["properties"], f"{where}.{key}"
            check_fields(inner, schema["properties"][key], schemas, f"{where}.{key}")
    elif isinstance(value, list):
        for inner in value:
            check_fields(inner, schema["items"], schemas, f"{where}[]")
    else:
        assert schema["type"] in {str: ("string",), bool: ("boolean",), int: ("integer", "string")}[type(value)], where
        assert value in schema.get("enum", [value]), where


def test_googles_api_knows_every_field() -> None:
    folder = Path(googleapiclient.discovery_cache.__file__).parent / "documents"
    schemas = json.loads((folder / "compute.v1.json").read_text())["schemas"]
    for name, kind in read(CLOUDS["gcp"])["available_node_types"].items():
        check_fields(kind["node_config"], {"$ref": "Instance"}, schemas, name)


def test_kubernetes_objects_agree_lock_their_pods_and_hold_no_secret() -> None:
    cluster, job = (read(CLUSTERS / "kubernetes" / f"{name}.yaml") for name in ("raycluster", "rayjob"))
    spec = cluster["spec"]
    assert job["spec"]["rayClusterSpec"] == spec
    assert spec["rayVersion"] == version("ray")
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["enableInTreeAutoscaling"]
    assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    groups = spec["workerGroupSpecs"]
    gpus = [group["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] for group in groups]
    assert gpus == ["1", "4"]
    assert [(group["minReplicas"], group["replicas"]) for group in groups] == [(0, 0), (0, 0)]
    for group in [spec["headGroupSpec"], *groups]:
        pod = group["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        (container,) = pod["containers"]
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert "env" not in container  # secrets come from a Secret
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        assert mounts["cache"] == "/cache"
        assert set(mounts) <= {volume["name"] for volume in pod["volumes"]}


def test_grafana_asks_for_metrics_that_there_are() -> None:
    board = json.loads((CLUSTERS / "grafana" / "crosscells.json").read_text())
    asked = {target["expr"] for panel in board["panels"] for target in panel["targets"]}
    asked |= {variable["query"] for variable in board["templating"]["list"]}
    names = {name for text in asked for name in re.findall(r"ray_[a-z_]+", text)}
    ours = {name.removeprefix("ray_") for name in names if name.startswith("ray_crosscells_")}
    emitted = set(re.findall(r'(?:Counter|Gauge)\("(\w+)"', inspect.getsource(metrics)))
    assert ours == emitted
    assert names - {f"ray_{name}" for name in emitted} <= {"ray_node_gpus_utilization"}  # Ray's own
    provider = yaml.safe_load((CLUSTERS / "grafana" / "dashboards.yaml").read_text())["providers"][0]
    assert provider["options"]["path"] == "$CROSSCELLS/clusters/grafana"


def own_folder(base: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TMP_BASE": str(base)}
    return subprocess.run([str(CLUSTERS / "own.sh")], env=environment, capture_output=True, text=True, check=False)


def test_sessions_of_ray_lie_where_nobody_else_may_enter(tmp_path: Path) -> None:
    """On a node whose /tmp others write to: they cannot take the place of the folder, nor look into it."""
    made = own_folder(tmp_path)
    own = Path(made.stdout.strip())
    assert own == tmp_path / f"cc-{getpass.getuser()}"
    assert stat.S_IMODE(own.stat().st_mode) == 0o700
    assert own_folder(tmp_path).stdout == made.stdout
    own.chmod(0o2700)  # as it is made below a folder that hands its group down
    assert own_folder(tmp_path).stdout == made.stdout
    for mode in (0o777, 0o755, 0o710, 0o2710):
        own.chmod(mode)
        refused = own_folder(tmp_path)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "may enter" in refused.stderr
    own.rmdir()
    (tmp_path / "another").mkdir(mode=0o700)
    own.symlink_to(tmp_path / "another")
    assert own_folder(tmp_path).returncode == 2
    own.unlink()
    own.write_text("")
    assert own_folder(tmp_path).returncode == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="giving a folder to another user needs root")
def test_a_folder_that_another_has_made_is_not_used(tmp_path: Path) -> None:
    own = tmp_path / f"cc-{getpass.getuser()}"
    own.mkdir(mode=0o700)
    os.chown(own, 12345, 12345)
    refused = own_folder(tmp_path)
    assert refused.returncode == 2
    assert "have its owner remove it" in refused.stderr


def test_a_slurm_job_starts_ray_on_each_node_in_a_folder_of_its_own(tmp_path: Path) -> None:
    """Real script, with Slurm's commands and Ray's in the place of which scripts say what they were asked."""
    for name in ("srun", "scontrol", "ray", "python"):
        (tmp_path / name).write_text(SLURM_COMMANDS[name])
        (tmp_path / name).chmod(0o755)
    home, base, asked, submit = (tmp_path / name for name in ("home", "tmp", "asked", "submit"))
    for folder in (home, base, submit):
        folder.mkdir()
    (submit / "clusters").symlink_to(CLUSTERS)
    environment = {**os.environ, "HOME": str(home), "TMP_BASE": str(base), "ASKED": str(asked), "SLURM_JOB_ID": "7"}
    environment |= {"SLURM_SUBMIT_DIR": str(submit), "SLURM_JOB_NODELIST": "n[1-2]", "VENV": str(tmp_path / "none")}
    environment["PATH"] = f"{tmp_path}:{environment['PATH']}"
    command = ["bash", str(CLUSTERS / "slurm.sh"), "study.yaml"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    own = base / f"cc-{getpass.getuser()}"
    head, sweep, worker = sorted(
        asked.read_text().splitlines(), key=lambda line: ("--address" in line, "sweep" in line)
    )
    assert f"--temp-dir={own}/7" in head
    assert "--address=10.0.0.1:20007" in worker
    assert "orchestrator.sweep study.yaml" in sweep
    assert stat.S_IMODE(own.stat().st_mode) == 0o700
    own.chmod(0o777)
    refused = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "may enter" in refused.stderr


def test_shell_scripts_are_sound() -> None:
    scripts = [
        str(path) for path in [REPOSITORY / "install.sh", REPOSITORY / "tests" / "run.sh", *CLUSTERS.glob("*.sh")]
    ]
    check = [str(Path(sys.executable).parent / "shellcheck"), "--severity=warning", *scripts]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
