"""Every transcript in the operators' guide to calicoctl is what really happens."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from calico_openstack.agent.introspection.protocol import Answer, Question
from calico_openstack.agent.introspection.relay import IntrospectionRelay
from calico_openstack.calicoctl.main import cli
from calico_openstack.datamodel import (
    EntityRule,
    IpNat,
    Metadata,
    NetworkPolicy,
    NetworkPolicySpec,
    Node,
    Resource,
    ResourceKey,
    Rule,
    Tier,
    TierSpec,
    WorkloadEndpoint,
    WorkloadEndpointSpec,
    as_written,
    encode,
    workload_endpoint_name,
)
from calico_openstack.etcd import EtcdClient

GUIDE = Path(__file__).parents[2] / "docs" / "calicoctl.md"
GROUP = "sg.projectcalico.org/openstack-"


def transcripts(text: str) -> Iterator[tuple[list[str], str, str]]:
    """Yield the words of each command in console blocks, its standard input and its output."""
    for block in re.findall(r"^```console\n(.*?)^```$", text, re.M | re.S):
        for part in re.split(r"^\$ calicoctl ", block, flags=re.M)[1:]:
            command, _, rest = part.partition("\n")
            given = ""
            if (here := re.search(r" <<'(\w+)'$", command)) is not None:
                command = command[: here.start()]
                given, _, rest = rest.partition(f"\n{here[1]}\n")
            yield shlex.split(command), given, rest


def _endpoint(name: str, number: int, node: str, group: str, *nats: IpNat) -> WorkloadEndpoint:
    port = f"{number}f0c4a5e-port"
    key = workload_endpoint_name(node, "openstack", f"instance-{number}", port)
    return WorkloadEndpoint(
        metadata=Metadata(
            name=key,
            namespace="openstack",
            labels={f"{GROUP}{group}": f"{group}-servers"},
            annotations={"openstack.projectcalico.org/fqdn": f"{name}.example.org."},
        ),
        spec=WorkloadEndpointSpec(
            orchestrator="openstack",
            workload=f"instance-{number}",
            node=node,
            endpoint=port,
            interface_name=f"tap{number}f0c4a5e-po",
            ip_networks=(f"10.0.0.{number}/32",),
            ip_nats=nats,
        ),
    )


def _group(name: str, *ingress: Rule) -> NetworkPolicy:
    return NetworkPolicy(
        metadata=Metadata(name=f"ossg.default.{name}", namespace="openstack"),
        spec=NetworkPolicySpec(
            selector=f"has({GROUP}{name})",
            types=("Ingress", "Egress"),
            ingress=ingress,
            egress=(Rule(action="Allow"),),
        ),
    )


def _port(number: int, source: EntityRule | None = None) -> Rule:
    to = EntityRule(ports=(number,))
    return Rule(action="Allow", protocol="TCP", source=source or EntityRule(), destination=to)


def _felix(question: Question) -> Answer:
    """Answer as the Felix of a host that has programmed everything."""
    if question.table == "way":
        way = {"interface": "eth0", "way": "to 192.0.2.2 by eth0", "route": "10.0.0.2/32"}
        return Answer(rows=({"destination": question.match, **way},), total=1)
    things = (f"chain {number}" for number in range(17))
    return Answer(rows=tuple({"thing": thing, "kernel": "ok"} for thing in things), total=17)


@pytest.fixture
def agents(etcd: EtcdClient) -> Iterator[None]:
    """Provide hosts that answer."""
    relays = [IntrospectionRelay(etcd, f"compute-{number}", _felix) for number in (1, 2)]
    for relay in relays:
        relay.start()
    yield
    for relay in relays:
        relay.stop()


@pytest.fixture
def cloud(etcd: EtcdClient, agents: None) -> EtcdClient:
    """Provide a small cloud: a web server with a floating IP, and a database."""
    nat = IpNat(internal_ip="10.0.0.1", external_ip="198.51.100.1")
    resources: list[Resource] = [
        _endpoint("web-1", 1, "compute-1", "web", nat),
        _endpoint("db-1", 2, "compute-2", "db"),
        _group("web", _port(80), _port(443)),
        _group("db", _port(3306, EntityRule(selector=f"has({GROUP}web)"))),
        Node(metadata=Metadata(name="compute-1")),
        Tier(metadata=Metadata(name="gold"), spec=TierSpec(order=100.0)),
        Tier(metadata=Metadata(name="default"), spec=TierSpec(order=1e6)),
    ]
    for resource in resources:
        metadata = resource.metadata
        key = ResourceKey(resource.KIND, metadata.name, metadata.namespace)
        etcd.put(key.path, encode(as_written(resource)))
    return etcd


def run(etcd: EtcdClient, words: list[str], given: str) -> str:
    """Return what a command prints, without spaces at the ends of lines."""
    environment = {"ETCD_ENDPOINTS": ",".join(etcd.config.endpoints), "CALICO_ETCD_ENDPOINTS": ""}
    printed = CliRunner().invoke(cli, words, input=given, env=environment).output
    return "".join(f"{line.rstrip()}\n" for line in printed.splitlines())


def test_the_guide_tells_the_truth(cloud: EtcdClient) -> None:
    found = list(transcripts(GUIDE.read_text(encoding="utf-8")))
    assert len(found) > 10
    for words, given, expected in found:
        assert run(cloud, words, given) == expected, words


@pytest.mark.parametrize("source", ["web-1", "1f0c", "instance-1", "tap1f0c4a5e-po", "10.0.0.1"])
def test_an_end_may_be_called_by_any_name(cloud: EtcdClient, source: str) -> None:
    told = run(cloud, ["explain", source, "instance-2", "tcp/3306"], "")
    assert "from 10.0.0.1: port web-1 of instance web-1 on compute-1" in told
    assert told.endswith("and so do the answers to it.\n")


def test_scripts_are_told_by_the_exit_status(cloud: EtcdClient) -> None:
    environment = {"ETCD_ENDPOINTS": ",".join(cloud.config.endpoints), "CALICO_ETCD_ENDPOINTS": ""}
    for port, status in ((3306, 0), (5432, 2)):
        words = ["explain", "web-1", "db-1", f"tcp/{port}", "--fail-if-refused", "-o", "json"]
        result = CliRunner().invoke(cli, words, env=environment)
        assert result.exit_code == status
        assert json.loads(result.output)["allowed"] is (status == 0)
