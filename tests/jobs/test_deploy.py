"""The templates in jobs/deploy: valid, and closed to the outside."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY

FOLDER = REPOSITORY / "jobs" / "deploy"
TEMPLATES = ("emr.yaml", "training.yaml")
ANYWHERE = ("0.0.0.0/0", "::/0")


def _parse(path: Path) -> dict[str, Any]:
    """A template as plain values; `!Ref X` becomes {"Ref": "X"} and so on."""
    yaml = pytest.importorskip("yaml", reason="needs PyYAML, which cfn-lint brings")

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        pass

    def short(loader: Any, suffix: str, node: Any) -> dict[str, Any]:
        name = suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}"
        if isinstance(node, yaml.ScalarNode):
            return {name: loader.construct_scalar(node)}
        build = loader.construct_sequence if isinstance(node, yaml.SequenceNode) else loader.construct_mapping
        return {name: build(node, deep=True)}

    Loader.add_multi_constructor("!", short)
    parsed: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), Loader)
    return parsed


@pytest.fixture(params=TEMPLATES)
def resources(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The resources of each template."""
    found: dict[str, Any] = _parse(FOLDER / request.param)["Resources"]
    return found


def _of(resources: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    found = [value["Properties"] for value in resources.values() if value["Type"] == kind]
    assert found, kind
    return found


def _walk(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """(key, value) of everything in a template."""
    yield key, value
    items = (
        value.items() if isinstance(value, dict) else ((key, item) for item in value) if isinstance(value, list) else ()
    )
    for name, item in items:
        yield from _walk(item, str(name))


def _statements(resources: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [s for policy in _of(resources, kind) for s in policy["PolicyDocument"]["Statement"]]


def test_templates_are_all_of_them() -> None:
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(TEMPLATES)


def test_cfn_lint_finds_nothing() -> None:
    program = shutil.which("cfn-lint", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("needs cfn-lint: pip install 'tdtool[dev]'")
    places = [str(FOLDER / name) for name in TEMPLATES]
    done = subprocess.run(
        [program, "--include-checks", "I", "--", *places], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("", 0), done.stderr


def test_nothing_comes_in_from_outside(resources: dict[str, Any]) -> None:
    """The word cidr occurs with what goes out only, and no machine has a public address."""
    for name, resource in resources.items():
        if resource["Type"] == "AWS::EC2::SecurityGroup":
            assert "SecurityGroupIngress" not in resource["Properties"], name
        if resource["Type"] == "AWS::EC2::SecurityGroupIngress":
            assert not [key for key in resource["Properties"] if key.startswith("Cidr") or "PrefixList" in key], name
            assert resource["Properties"]["SourceSecurityGroupId"] == resource["Properties"]["GroupId"]
    open_to = [value for key, value in _walk(resources) if key == "SecurityGroupEgress" and isinstance(value, list)]
    outgoing = {id(rule) for rules in open_to for rule in rules}
    for _, value in _walk(resources):
        if isinstance(value, dict) and set(ANYWHERE) & {str(item) for item in value.values()}:
            assert id(value) in outgoing, value
    assert not [value for key, value in _walk(resources) if key in ("Ec2KeyName", "KeyName")], "nobody logs in by ssh"
    assert all(value is False for key, value in _walk(resources) if key == "AssociatePublicIpAddress")


def test_buckets_are_encrypted_and_closed(resources: dict[str, Any]) -> None:
    for bucket in _of(resources, "AWS::S3::Bucket"):
        (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
        closed = bucket["PublicAccessBlockConfiguration"]
        assert closed == dict.fromkeys(
            ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"), True
        )
        assert bucket["OwnershipControls"]["Rules"] == [{"ObjectOwnership": "BucketOwnerEnforced"}]
    denied = [s for s in _statements(resources, "AWS::S3::BucketPolicy") if s["Effect"] == "Deny"]
    conditions = [s["Condition"] for s in denied if s["Action"] == "s3:*" and s["Principal"] == "*"]
    assert {"Bool": {"aws:SecureTransport": "false"}} in conditions
    assert {"NumericLessThan": {"s3:TlsVersion": "1.2"}} in conditions
    assert all(len(s["Resource"]) == 2 for s in denied), "the bucket and what is in it"
    assert not [s for s in _statements(resources, "AWS::S3::BucketPolicy") if s["Effect"] == "Allow"]


def test_keys_rotate_and_stay(resources: dict[str, Any]) -> None:
    assert all(key["EnableKeyRotation"] is True for key in _of(resources, "AWS::KMS::Key"))
    kept = [r for r in resources.values() if r["Type"] in ("AWS::KMS::Key", "AWS::S3::Bucket")]
    assert all(r["DeletionPolicy"] == r["UpdateReplacePolicy"] == "Retain" for r in kept)


def test_roles_name_what_they_may_do(resources: dict[str, Any]) -> None:
    """No stars for actions or places, and no managed policy that gives more than its one purpose."""
    managed = {"service-role/AmazonEMRServicePolicy_v2", "AmazonSSMManagedInstanceCore"}
    for role in _of(resources, "AWS::IAM::Role"):
        assert {arn["Fn::Sub"].partition(":policy/")[2] for arn in role["ManagedPolicyArns"]} <= managed
    policies = [policy for role in _of(resources, "AWS::IAM::Role") for policy in role["Policies"]]
    policies += [value["Properties"] for value in resources.values() if value["Type"] == "AWS::IAM::Policy"]
    for statement in (s for policy in policies for s in policy["PolicyDocument"]["Statement"]):
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        assert not [action for action in actions if action.partition(":")[2] in ("*", "Get*", "Put*", "List*")]
        assert statement["Resource"] != "*"
        assert not set(actions) & {"iam:PassRole", "kms:CreateGrant"} or "Condition" in statement


def test_cluster_encrypts_and_ends() -> None:
    resources = _parse(FOLDER / "emr.yaml")["Resources"]
    (security,) = _of(resources, "AWS::EMR::SecurityConfiguration")
    said = security["SecurityConfiguration"]
    encryption = said["EncryptionConfiguration"]
    assert encryption["EnableInTransitEncryption"] is encryption["EnableAtRestEncryption"] is True
    at_rest = encryption["AtRestEncryptionConfiguration"]
    assert at_rest["S3EncryptionConfiguration"]["EncryptionMode"] == "SSE-KMS"
    assert at_rest["LocalDiskEncryptionConfiguration"]["EnableEbsEncryption"] is True
    assert said["InstanceMetadataServiceConfiguration"]["MinimumInstanceMetadataServiceVersion"] == 2
    (cluster,) = _of(resources, "AWS::EMR::Cluster")
    assert cluster["SecurityConfiguration"] == {"Ref": "Security"}
    assert cluster["AutoTerminationPolicy"]["IdleTimeout"] <= 600
    assert cluster["Instances"]["TerminationProtected"] is False
    (settings,) = cluster["Configurations"]
    on = {name for name, value in settings["ConfigurationProperties"].items() if value == "true"}
    assert {"spark.authenticate", "spark.network.crypto.enabled", "spark.io.encryption.enabled"} <= on


def test_step_is_what_submit_prints() -> None:
    """The same spark-submit, with the bucket's archive."""
    from tdtool.config import SparkConfig
    from tdtool.run.submit import Places, SubmitConfig, plan_submission

    (step,) = _of(_parse(FOLDER / "emr.yaml")["Resources"], "AWS::EMR::Step")
    words = step["HadoopJarStep"]["Args"]["Fn::Split"][1]["Fn::Join"][1]
    texts = [word["Fn::Sub"] if isinstance(word, dict) and "Fn::Sub" in word else word for word in words]
    sent = texts[6].removeprefix("spark.archives=").removesuffix("#environment").replace("${Environment}", "e.tar.gz")
    plan = plan_submission("topics", [], Places(), SubmitConfig(SparkConfig("yarn"), "cluster", sent))
    printed = [word for word in plan.spark_submit[1:-2] if word not in ("--name", "tdtool topics")]
    ours = [word for word in printed if "appMasterEnv" not in word and word not in ("--files", "tdtool.toml")]
    assert [text.replace("${Environment}", "e.tar.gz") for text in texts[1:-2]] == ours
    assert texts[-2].endswith("/__main__.py")


def test_machines_are_encrypted_and_ask_for_a_token() -> None:
    resources = _parse(FOLDER / "training.yaml")["Resources"]
    (template,) = _of(resources, "AWS::EC2::LaunchTemplate")
    data = template["LaunchTemplateData"]
    assert data["MetadataOptions"]["HttpTokens"] == "required"
    assert data["MetadataOptions"]["HttpPutResponseHopLimit"] == 1
    assert all(disk["Ebs"]["Encrypted"] is True for disk in data["BlockDeviceMappings"])
    assert [card["AssociatePublicIpAddress"] for card in data["NetworkInterfaces"]] == [False]
    (policy,) = _of(resources, "AWS::AutoScaling::ScalingPolicy")
    assert (policy["AdjustmentType"], policy["ScalingAdjustment"]) == ("ExactCapacity", 0), "idle machines go"
