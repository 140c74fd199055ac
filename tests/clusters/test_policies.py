"""AWS' policies, read as AWS reads them: what the head and the launcher may do, and what each attack got before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase

import pytest

from tests.support.tiny_world import REPOSITORY

EC2, OURS = "arn:aws:ec2:us-east-1:ACCOUNT:", {"aws:ResourceTag/ray-cluster-name": "crosscells"}
INSTANCE, GROUP = f"{EC2}instance/i-1", f"{EC2}security-group/sg-1"
NAMED = {"aws:RequestTag/ray-cluster-name": "crosscells"}


def allows(policy: str, action: str, resource: str, context: Mapping[str, str] | None = None) -> bool:
    """Whether a statement's action and resource match and all its conditions hold (IAM's evaluation without Deny).

    A key that the request lacks makes StringEquals false. Another operator is an error: this reads no more than that.
    """
    for statement in json.loads((REPOSITORY / "clusters" / "aws" / f"{policy}.json").read_text())["Statement"]:
        actions, resources = (
            [one] if isinstance(one := statement[key], str) else one for key in ("Action", "Resource")
        )
        conditions = statement.get("Condition", {})
        assert statement["Effect"] == "Allow"
        assert conditions.keys() <= {"StringEquals"}
        wanted = conditions.get("StringEquals", {})
        holds = all((context or {}).get(key) in ([v] if isinstance(v, str) else v) for key, v in wanted.items())
        if action in actions and holds and any(fnmatchcase(resource, pattern) for pattern in resources):
            return True
    return False


@pytest.mark.parametrize(
    ("policy", "action", "resource", "context"),
    [
        ("head", "ec2:CreateTags", INSTANCE, {}),  # it could call any instance its own, and then end it
        ("head", "ec2:CreateTags", INSTANCE, {"aws:ResourceTag/ray-cluster-name": "other"}),
        ("head", "ec2:TerminateInstances", INSTANCE, {}),
        ("head", "ec2:RunInstances", INSTANCE, {}),  # started instances that nothing here ends
        ("head", "ec2:AuthorizeSecurityGroupIngress", GROUP, OURS),
        ("head", "iam:PassRole", "arn:aws:iam::ACCOUNT:role/admin", {"iam:PassedToService": "ec2.amazonaws.com"}),
        ("head", "iam:PassRole", "arn:aws:iam::ACCOUNT:role/crosscells-worker", {"iam:PassedToService": "lambda"}),
        ("launcher", "ec2:AuthorizeSecurityGroupIngress", GROUP, {}),  # could open any firewall of the account
        ("launcher", "ec2:CreateSecurityGroup", GROUP, {}),
        ("launcher", "ec2:CreateTags", GROUP, {}),
        ("launcher", "ec2:CreateTags", f"{EC2}volume/v-1", {}),
        ("launcher", "ec2:CreateTags", INSTANCE, {"ec2:CreateAction": "CreateVolume"}),
        ("launcher", "ec2:CreateKeyPair", f"{EC2}key-pair/admin", {}),
        ("launcher", "ec2:TerminateInstances", INSTANCE, {}),
        ("worker", "ec2:CreateTags", INSTANCE, OURS),
        ("worker", "s3:GetObject", "arn:aws:s3:::OTHER/x", {}),
    ],
)
def test_what_no_policy_allows(policy: str, action: str, resource: str, context: dict[str, str]) -> None:
    assert not allows(policy, action, resource, context)


@pytest.mark.parametrize(
    ("policy", "action", "resource", "context"),
    [
        *(
            (policy, "ec2:RunInstances", resource, {})
            for policy in ("head", "launcher")
            for resource in (
                "arn:aws:ec2:us-east-1::image/ami-1", *(
                    f"{EC2}{kind}/x" for kind in ("key-pair", "network-interface", "security-group", "subnet", "volume")
                ),
            )
        ),
        ("head", "ec2:RunInstances", INSTANCE, NAMED),
        ("head", "ec2:CreateTags", INSTANCE, {"ec2:CreateAction": "RunInstances"}),
        ("head", "ec2:CreateTags", INSTANCE, OURS),
        ("head", "ec2:TerminateInstances", INSTANCE, OURS),
        ("launcher", "ec2:RunInstances", INSTANCE, NAMED),
        ("launcher", "ec2:CreateKeyPair", f"{EC2}key-pair/ray-autoscaler_us-east-1", {}),
        ("launcher", "ec2:CreateSecurityGroup", GROUP, NAMED),
        ("launcher", "ec2:CreateSecurityGroup", f"{EC2}vpc/vpc-1", {}),
        ("launcher", "ec2:CreateTags", GROUP, {"ec2:CreateAction": "CreateSecurityGroup"}),
        ("launcher", "ec2:CreateTags", INSTANCE, OURS),
        ("launcher", "ec2:AuthorizeSecurityGroupIngress", GROUP, OURS),
        ("worker", "s3:GetObject", "arn:aws:s3:::BUCKET/x", {}),
    ],
)  # fmt: skip
def test_what_ray_asks_for_is_allowed(policy: str, action: str, resource: str, context: dict[str, str]) -> None:
    assert allows(policy, action, resource, context)
