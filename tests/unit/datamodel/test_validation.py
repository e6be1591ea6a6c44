"""Validation: every reason for which an object is refused, and what is let pass."""

from __future__ import annotations

import json
from typing import Any

import pytest

from calico_openstack.datamodel import AgentStatus, DhcpSubnet, EndpointStatus, HostRoute, validate
from calico_openstack.datamodel.codec import decode
from calico_openstack.datamodel.invalid import Invalid, Reason
from calico_openstack.datamodel.resource import Resource
from calico_openstack.datamodel.validation import remarks
from calico_openstack.datamodel.validation.bgp import is_community, parse_peer_ip
from tests.unit.datamodel.examples import document_of, path_of

LONG = "x" * 1_000_000


def reasons_against(kind: str, changes: dict[str, Any]) -> tuple[Reason, ...]:
    """Return the reasons against a kind's example with members of its spec replaced."""
    document = document_of(kind)
    for where, value in changes.items():
        target = document if where.startswith("metadata") else document["spec"]
        *outer, last = where.split(".")
        for name in outer:
            target = target[int(name) if name.isdecimal() else name]
        if value is None:
            del target[last]
        else:
            target[last] = value
    found = decode(path_of(kind), json.dumps(document).encode())
    assert found is not None
    return found.reasons if isinstance(found, Invalid) else ()


def rule(**members: Any) -> dict[str, Any]:
    return {"ingress": [{"action": "Allow"} | members]}


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    # Envelope
    ("Tier", {"metadata.labels": {"": "x"}}, "metadata.labels"),
    ("Tier", {"metadata.labels": {"A.b/c": "x"}}, "metadata.labels"),
    ("Tier", {"metadata.labels": {"/c": "x"}}, "metadata.labels"),
    ("Tier", {"metadata.labels": {"a" * 64: "x"}}, "metadata.labels"),
    ("Tier", {"metadata.labels": {"a": "-x"}}, "metadata.labels"),
    ("Tier", {"metadata.labels": {"a": "x y"}}, "metadata.labels"),
    ("Tier", {"metadata.labels": {"a": "x" * 64}}, "metadata.labels"),
    ("Tier", {"metadata.labels": {LONG: ""}}, "metadata.labels"),
    ("Tier", {"metadata.labels": {"a": LONG}}, "metadata.labels"),
    ("Tier", {"metadata.annotations": {"a": "x" * 256 * 1024}}, "metadata.annotations"),
    ("Tier", {"metadata.annotations": {"a.b$c": "x"}}, "metadata.annotations"),
    ("Tier", {"metadata.annotations": {LONG: "x"}}, "metadata.annotations"),
    ("Tier", {"metadata.creationTimestamp": "yesterday"}, "metadata.creationTimestamp"),
    # WorkloadEndpoint
    ("WorkloadEndpoint", {"node": "compute-2"}, "spec.node"),
    ("WorkloadEndpoint", {"orchestrator": "k8s"}, "spec.orchestrator"),
    ("WorkloadEndpoint", {"workload": "other"}, "spec.workload"),
    ("WorkloadEndpoint", {"endpoint": None}, "spec.endpoint"),
    ("WorkloadEndpoint", {"interfaceName": None}, "spec.interfaceName"),
    ("WorkloadEndpoint", {"interfaceName": "x" * 16}, "spec.interfaceName"),
    ("WorkloadEndpoint", {"interfaceName": "a b"}, "spec.interfaceName"),
    ("WorkloadEndpoint", {"interfaceName": LONG}, "spec.interfaceName"),
    ("WorkloadEndpoint", {"mac": "fa:16"}, "spec.mac"),
    ("WorkloadEndpoint", {"ipNetworks": ["10.0.0.0/24"]}, "spec.ipNetworks[0]"),
    ("WorkloadEndpoint", {"ipNetworks": ["10.0.0.0/24/32"]}, "spec.ipNetworks[0]"),
    ("WorkloadEndpoint", {"ipNetworks": ["10.65.0.7", "x"]}, "spec.ipNetworks[1]"),
    ("WorkloadEndpoint", {"allowedIps": ["10.0.0.0/24"]}, "spec.allowedIps[0]"),
    ("WorkloadEndpoint", {"ipv4Gateway": "fd00::1"}, "spec.ipv4Gateway"),
    ("WorkloadEndpoint", {"ipv6Gateway": "10.0.0.1"}, "spec.ipv6Gateway"),
    ("WorkloadEndpoint", {"ipNATs.0.internalIP": "10.65.0.8"}, "spec.ipNATs[0].internalIP"),
    ("WorkloadEndpoint", {"ipNATs.0.externalIP": "fd00::1"}, "spec.ipNATs[0]"),
    ("WorkloadEndpoint", {"ipNATs.0.externalIP": "x"}, "spec.ipNATs[0]"),
    ("WorkloadEndpoint", {"profiles": ["a b"]}, "spec.profiles[0]"),
    (
        "WorkloadEndpoint",
        {"allowSpoofedSourcePrefixes": ["x"]},
        "spec.allowSpoofedSourcePrefixes[0]",
    ),
    ("WorkloadEndpoint", {"ports.0.protocol": "ICMP"}, "spec.ports[0].protocol"),
    ("WorkloadEndpoint", {"ports.0.port": 0}, "spec.ports[0].port"),
    ("WorkloadEndpoint", {"ports.0.name": ""}, "spec.ports[0].name"),
    ("WorkloadEndpoint", {"ports.0.name": "HTTP"}, "spec.ports[0].name"),
    ("WorkloadEndpoint", {"ports.0.hostPort": 65536}, "spec.ports[0].hostPort"),
    ("WorkloadEndpoint", {"ports.0.hostIP": "x"}, "spec.ports[0].hostIP"),
    (
        "WorkloadEndpoint",
        {"qosControls": {"ingressBandwidth": 999}},
        "spec.qosControls.ingressBandwidth",
    ),
    (
        "WorkloadEndpoint",
        {"qosControls": {"egressBurst": 34359738361}},
        "spec.qosControls.egressBurst",
    ),
    (
        "WorkloadEndpoint",
        {"qosControls": {"egressPeakrate": 1009}},
        "spec.qosControls.egressPeakrate",
    ),
    (
        "WorkloadEndpoint",
        {"qosControls": {"ingressMinburst": 10**8 + 1}},
        "spec.qosControls.ingressMinburst",
    ),
    (
        "WorkloadEndpoint",
        {"qosControls": {"ingressPacketRate": 10001}},
        "spec.qosControls.ingressPacketRate",
    ),
    (
        "WorkloadEndpoint",
        {"qosControls": {"egressPacketBurst": -1}},
        "spec.qosControls.egressPacketBurst",
    ),
    (
        "WorkloadEndpoint",
        {"qosControls": {"egressMaxConnections": 2**32}},
        "spec.qosControls.egressMaxConnections",
    ),
    ("WorkloadEndpoint", {"qosControls": {"dscp": "XX"}}, "spec.qosControls.dscp"),
    # Rules
    ("Profile", rule(action="allow"), "spec.ingress[0].action"),
    ("Profile", rule(action=""), "spec.ingress[0].action"),
    ("Profile", rule(ipVersion=5), "spec.ingress[0].ipVersion"),
    ("Profile", rule(protocol=0), "spec.ingress[0].protocol"),
    ("Profile", rule(protocol=256), "spec.ingress[0].protocol"),
    ("Profile", rule(protocol="XTP"), "spec.ingress[0].protocol"),
    ("Profile", rule(protocol=LONG), "spec.ingress[0].protocol"),
    ("Profile", rule(notProtocol="XTP"), "spec.ingress[0].notProtocol"),
    ("Profile", rule(protocol="ICMP", ipVersion=6), "spec.ingress[0].protocol"),
    ("Profile", rule(protocol=58, ipVersion=4), "spec.ingress[0].protocol"),
    ("Profile", rule(notProtocol="ICMP", ipVersion=6), "spec.ingress[0].notProtocol"),
    ("Profile", rule(icmp={"type": 8}), "spec.ingress[0].icmp"),
    ("Profile", rule(protocol="ICMP", icmp={"type": 255}), "spec.ingress[0].icmp.type"),
    ("Profile", rule(protocol="ICMP", icmp={"type": 8, "code": 256}), "spec.ingress[0].icmp.code"),
    ("Profile", rule(protocol="ICMP", notICMP={"code": 1}), "spec.ingress[0].notICMP.code"),
    ("Profile", rule(http={"methods": ["GET"]}), "spec.ingress[0].http"),
    ("Profile", rule(source={"selector": "a"}), "spec.ingress[0].source.selector"),
    ("Profile", rule(source={"selector": "  global() "}), "spec.ingress[0].source.selector"),
    ("Profile", rule(source={"notSelector": "("}), "spec.ingress[0].source.notSelector"),
    (
        "Profile",
        rule(source={"selector": "has(a) && " * 103 + "has(a)"}),
        "spec.ingress[0].source.selector",
    ),
    (
        "Profile",
        rule(source={"namespaceSelector": "global() || has(a)"}),
        "spec.ingress[0].source.namespaceSelector",
    ),
    # With what upstream puts before it, the label would be longer than a selector may have.
    (
        "Profile",
        rule(source={"namespaceSelector": f"has({'a' * 508})"}),
        "spec.ingress[0].source.namespaceSelector",
    ),
    (
        "Profile",
        rule(source={"serviceAccounts": {"selector": f"has({'a' * 508})"}}),
        "spec.ingress[0].source.serviceAccounts.selector",
    ),
    (
        "NetworkPolicy",
        {"serviceAccountSelector": f"has({'a' * 508})"},
        "spec.serviceAccountSelector",
    ),
    ("GlobalNetworkPolicy", {"namespaceSelector": f"has({'a' * 508})"}, "spec.namespaceSelector"),
    ("Profile", rule(source={"services": {"name": "s"}}), "spec.ingress[0].source.services"),
    (
        "Profile",
        rule(source={"serviceAccounts": {"selector": "x"}}),
        "spec.ingress[0].source.serviceAccounts.selector",
    ),
    ("Profile", rule(source={"nets": ["10.0.0.1/8"]}), "spec.ingress[0].source.nets[0]"),
    ("Profile", rule(source={"nets": ["10.0.0.1"]}), "spec.ingress[0].source.nets[0]"),
    (
        "Profile",
        rule(metadata={"annotations": {"...": "x"}}),
        "spec.ingress[0].metadata.annotations",
    ),
    ("Profile", rule(source={"nets": ["x"]}), "spec.ingress[0].source.nets[0]"),
    ("Profile", rule(source={"nets": ["10.0.0.0/8"] * 257}), "spec.ingress[0].source.nets"),
    ("Profile", rule(source={"notNets": ["::/0"]}), "spec.ingress[0].source.notNets[0]"),
    ("Profile", rule(source={"nets": ["10.0.0.0/8", "fd00::/8"]}), "spec.ingress[0]"),
    (
        "Profile",
        rule(source={"nets": ["10.0.0.0/8"]}, destination={"nets": ["fd00::/8"]}),
        "spec.ingress[0]",
    ),
    ("Profile", rule(ipVersion=6, source={"nets": ["10.0.0.0/8"]}), "spec.ingress[0]"),
    ("Profile", rule(destination={"ports": [80]}), "spec.ingress[0].destination.ports"),
    ("Profile", rule(protocol=1, destination={"ports": [8]}), "spec.ingress[0].destination.ports"),
    ("Profile", rule(protocol=33, source={"ports": ["x"]}), "spec.ingress[0].source.ports"),
    ("Profile", rule(protocol=6, source={"ports": [0]}), "spec.ingress[0].source.ports[0]"),
    ("Profile", rule(protocol=6, source={"ports": ["8:None"]}), "spec.ingress[0].source.ports[0]"),
    (
        "Profile",
        rule(protocol=6, source={"notPorts": [65536]}),
        "spec.ingress[0].source.notPorts[0]",
    ),
    ("Profile", rule(protocol=6, source={"ports": ["HTTP"]}), "spec.ingress[0].source.ports[0]"),
    ("Profile", rule(protocol=6, source={"ports": [1] * 51}), "spec.ingress[0].source.ports"),
    ("Profile", {"ingress": [{"action": "Allow"}] * 1025}, "spec.ingress"),
    ("Profile", {"labelsToApply": {"a b": ""}}, "spec.labelsToApply"),
    # Policies and tiers
    ("NetworkPolicy", {"tier": "a b"}, "spec.tier"),
    ("NetworkPolicy", {"selector": "global()"}, "spec.selector"),
    ("NetworkPolicy", {"selector": LONG}, "spec.selector"),
    ("NetworkPolicy", {"serviceAccountSelector": "x"}, "spec.serviceAccountSelector"),
    ("NetworkPolicy", {"types": ["Ingress", "Ingress"]}, "spec.types"),
    ("NetworkPolicy", {"types": ["ingress"]}, "spec.types"),
    ("NetworkPolicy", {"performanceHints": ["Fast"]}, "spec.performanceHints"),
    ("NetworkPolicy", {"egress": [{"action": "No"}]}, "spec.egress[0].action"),
    ("StagedNetworkPolicy", {"stagedAction": "Perhaps"}, "spec.stagedAction"),
    ("StagedNetworkPolicy", {"tier": "a b"}, "spec.tier"),
    ("StagedNetworkPolicy", {"stagedAction": "Delete"}, "spec.stagedAction"),
    ("StagedGlobalNetworkPolicy", {"stagedAction": "set"}, "spec.stagedAction"),
    ("StagedGlobalNetworkPolicy", {"doNotTrack": True}, "spec.applyOnForward"),
    ("GlobalNetworkPolicy", {"namespaceSelector": "global()"}, "spec.namespaceSelector"),
    ("GlobalNetworkPolicy", {"doNotTrack": True}, "spec.preDNAT"),
    ("GlobalNetworkPolicy", {"applyOnForward": False}, "spec.applyOnForward"),
    ("GlobalNetworkPolicy", {"types": ["Egress"]}, "spec.egress"),
    ("Tier", {"defaultAction": "Allow"}, "spec.defaultAction"),
    # Sets, host endpoints, migrations
    ("NetworkSet", {"nets": ["x"]}, "spec.nets[0]"),
    (
        "NetworkSet",
        {"metadata.labels": {"projectcalico.org/namespace": "other"}},
        "metadata.labels",
    ),
    (
        "NetworkSet",
        {"metadata.labels": {"projectcalico.org/namespace": "openstack"}},
        "metadata.labels",
    ),
    (
        "GlobalNetworkSet",
        {"metadata.labels": {"projectcalico.org/namespace": "n"}},
        "metadata.labels",
    ),
    ("HostEndpoint", {"node": None}, "spec.node"),
    ("HostEndpoint", {"interfaceName": "a b"}, "spec.interfaceName"),
    ("HostEndpoint", {"interfaceName": None, "expectedIPs": None}, "spec"),
    ("HostEndpoint", {"expectedIPs": ["10.0.0.0/8"]}, "spec.expectedIPs[0]"),
    ("HostEndpoint", {"expectedIPs": [""]}, "spec.expectedIPs[0]"),
    ("HostEndpoint", {"ports.0.port": 65536}, "spec.ports[0].port"),
    ("LiveMigration", {"source": {}}, "spec.source"),
    ("LiveMigration", {"target": None}, "spec.target"),
    ("LiveMigration", {"source.workload": {"hostname": "h"}}, "spec.source"),
    ("LiveMigration", {"target": {"selector": "x"}}, "spec.target.selector"),
    # Pools, nodes, cluster
    ("IPPool", {"cidr": "10.65.0.1/16"}, "spec.cidr"),
    ("IPPool", {"cidr": "10.65.0.1"}, "spec.cidr"),
    ("IPPool", {"cidr": "169.254.0.0/24"}, "spec.cidr"),
    ("IPPool", {"cidr": None}, "spec"),
    ("IPPool", {"ipipMode": "Sometimes"}, "spec.ipipMode"),
    ("IPPool", {"vxlanMode": "Always"}, "spec.ipipMode"),
    ("IPPool", {"cidr": "fd00::/64", "blockSize": None}, "spec.ipipMode"),
    ("IPPool", {"blockSize": 15}, "spec.blockSize"),
    ("IPPool", {"cidr": "10.65.0.0/27", "blockSize": None}, "spec.cidr"),
    ("IPPool", {"cidr": "10.65.0.0/25", "blockSize": 24}, "spec.cidr"),
    ("IPPool", {"nodeSelector": "x"}, "spec.nodeSelector"),
    ("IPPool", {"allowedUses": ["Play"]}, "spec.allowedUses"),
    ("IPPool", {"assignmentMode": "Random"}, "spec.assignmentMode"),
    ("Node", {"bgp": {}}, "spec.bgp"),
    ("Node", {"bgp.asNumber": "1.2.3"}, "spec.bgp.asNumber"),
    ("Node", {"bgp.ipv4Address": "fd00::1/64"}, "spec.bgp.ipv4Address"),
    ("Node", {"bgp.ipv6Address": "x"}, "spec.bgp.ipv6Address"),
    ("Node", {"bgp.routeReflectorClusterID": "1"}, "spec.bgp.routeReflectorClusterID"),
    ("Node", {"addresses": [{"address": "x"}]}, "spec.addresses[0].address"),
    # BGP
    ("BGPConfiguration", {"logSeverityScreen": "Loud"}, "spec.logSeverityScreen"),
    ("BGPConfiguration", {"asNumber": "x"}, "spec.asNumber"),
    ("BGPConfiguration", {"serviceClusterIPs": [{"cidr": "x"}]}, "spec.serviceClusterIPs[0].cidr"),
    ("BGPConfiguration", {"listenPort": 65536}, "spec.listenPort"),
    ("BGPConfiguration", {"nodeMeshMaxRestartTime": "1s"}, "spec.nodeToNodeMeshEnabled"),
    (
        "BGPConfiguration",
        {"nodeToNodeMeshEnabled": True, "nodeMeshMaxRestartTime": "x"},
        "spec.nodeMeshMaxRestartTime",
    ),
    ("BGPConfiguration", {"bindMode": "All"}, "spec.bindMode"),
    ("BGPConfiguration", {"ignoredInterfaces": ["*"]}, "spec.ignoredInterfaces[0]"),
    ("BGPConfiguration", {"ignoredInterfaces": ["a b"]}, "spec.ignoredInterfaces[0]"),
    ("BGPConfiguration", {"communities.0.value": "1:65536"}, "spec.communities[0].value"),
    ("BGPConfiguration", {"prefixAdvertisements": None}, "spec.communities"),
    (
        "BGPConfiguration",
        {"prefixAdvertisements.0.communities": ["d"]},
        "spec.prefixAdvertisements[0].communities",
    ),
    (
        "BGPConfiguration",
        {"prefixAdvertisements.0.communities": None},
        "spec.prefixAdvertisements[0].communities",
    ),
    ("BGPConfiguration", {"ipv4NormalRoutePriority": 0}, "spec.ipv4NormalRoutePriority"),
    ("BGPConfiguration", {"programClusterRoutes": "Yes"}, "spec.programClusterRoutes"),
    ("BGPConfiguration", {"localWorkloadPeeringIPV4": "fd00::1"}, "spec.localWorkloadPeeringIPV4"),
    ("BGPPeer", {"node": "n"}, "spec.node"),
    ("BGPPeer", {"peerSelector": "has(a)", "asNumber": None, "reachableBy": None}, "spec.peerIP"),
    ("BGPPeer", {"peerIP": None, "peerSelector": "has(a)", "reachableBy": None}, "spec.asNumber"),
    ("BGPPeer", {"localWorkloadSelector": "has(a)"}, "spec.localWorkloadSelector"),
    ("BGPPeer", {"peerIP": None}, "spec.reachableBy"),
    ("BGPPeer", {"reachableBy": "10.0.0.1"}, "spec.reachableBy"),
    ("BGPPeer", {"peerIP": "10.0.0.1:0", "reachableBy": None}, "spec.peerIP"),
    ("BGPPeer", {"peerIP": LONG, "reachableBy": None}, "spec.peerIP"),
    ("BGPPeer", {"keepOriginalNextHop": True}, "spec.keepOriginalNextHop"),
    ("BGPPeer", {"nextHopMode": "Maybe"}, "spec.nextHopMode"),
    ("BGPPeer", {"sourceAddress": "10.0.0.1"}, "spec.sourceAddress"),
    ("BGPPeer", {"nodeSelector": "x"}, "spec.nodeSelector"),
    ("BGPPeer", {"asNumber": 2**32}, "spec.asNumber"),
    ("BGPPeer", {"maxRestartTime": "-1s"}, "spec.maxRestartTime"),
    ("BGPPeer", {"ttlSecurity": 256}, "spec.ttlSecurity"),
    ("BGPPeer", {"filters": ["a'b"]}, "spec.filters"),
    ("BGPPeer", {"reversePeering": "No"}, "spec.reversePeering"),
    ("BGPFilter", {"exportV4.0.action": "Pass"}, "spec.exportV4[0].action"),
    ("BGPFilter", {"exportV4.0.matchOperator": None}, "spec.exportV4[0]"),
    ("BGPFilter", {"exportV4.0.cidr": "fd00::/8"}, "spec.exportV4[0].cidr"),
    ("BGPFilter", {"exportV4.0.interface": "a b"}, "spec.exportV4[0].interface"),
    ("BGPFilter", {"exportV4.0.source": "Local"}, "spec.exportV4[0].source"),
    ("BGPFilter", {"exportV4.0.priority": 0}, "spec.exportV4[0].priority"),
    ("BGPFilter", {"exportV4.0.asPathPrefix": ["x"]}, "spec.exportV4[0].asPathPrefix[0]"),
    ("BGPFilter", {"importV6.0.prefixLength.max": 129}, "spec.importV6[0].prefixLength.max"),
    (
        "BGPFilter",
        {"importV6.0.communities": {"values": []}},
        "spec.importV6[0].communities.values",
    ),
    ("BGPFilter", {"importV6.0.action": "Reject"}, "spec.importV6[0].operations"),
    ("BGPFilter", {"importV6.0.operations": [{}]}, "spec.importV6[0].operations[0]"),
    (
        "BGPFilter",
        {"importV6.0.operations": [{"setPriority": {}}]},
        "spec.importV6[0].operations[0].setPriority.value",
    ),
    (
        "BGPFilter",
        {"importV6.0.operations": [{"prependASPath": {"prefix": []}}]},
        "spec.importV6[0].operations[0].prependASPath.prefix",
    ),
]


@pytest.mark.parametrize(("kind", "changes", "field"), REFUSED, ids=lambda v: str(v)[:40])
def test_refused(kind: str, changes: dict[str, Any], field: str) -> None:
    reasons = reasons_against(kind, changes)
    assert field in [reason.field for reason in reasons]
    assert all(len(str(reason)) < 600 for reason in reasons)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("Tier", {"metadata.labels": {"a.b-c.d/E_f.g": "", "x": "A.b_c-9"}}),
        ("Tier", {"metadata.creationTimestamp": "2026-08-22T09:30:00.123+02:00"}),
        ("Tier", {"order": None, "defaultAction": None}),
        ("WorkloadEndpoint", {"ipNetworks": [], "ipNATs": None}),
        ("WorkloadEndpoint", {"ipNetworks": ["10.65.0.7", "fd5f:65::7"]}),
        ("WorkloadEndpoint", {"mac": "FA-16-3E-11-22-33", "ipv4Gateway": None}),
        ("WorkloadEndpoint", {"qosControls": {"ingressBandwidth": 0, "egressBurst": 0, "dscp": 0}}),
        ("WorkloadEndpoint", {"ports.0.name": "", "ports.0.hostPort": 8080}),
        ("Profile", rule(action="Log", protocol="icmp")),
        ("Profile", rule(protocol="6", destination={"ports": ["1:65535", "http"]})),
        ("Profile", rule(destination={"ports": ["http"]})),
        ("Profile", rule(source={"nets": ["0.0.0.0/0"], "notNets": ["10.0.0.1/32"]})),
        ("Profile", rule(source={"namespaceSelector": " global( ) "})),
        ("Profile", rule(source={"namespaceSelector": f"has({'a' * 507})"})),
        ("Profile", rule(protocol=58, ipVersion=6, notICMP={"type": 0})),
        ("Profile", {"ingress": [{"action": "Allow"}] * 1024}),
        ("NetworkPolicy", {"types": [], "selector": ""}),
        ("HostEndpoint", {"interfaceName": "*", "expectedIPs": None}),
        ("LiveMigration", {"target": {"selector": "has(a)"}}),
        ("IPPool", {"cidr": "fd00::/64", "ipipMode": None, "blockSize": 122}),
        ("IPPool", {"cidr": "10.65.0.0/27", "blockSize": None, "disabled": True}),
        ("Tier", {"metadata.annotations": {"ProjectCalico.org/Label": "value"}}),
        ("Node", {"bgp": None}),
        ("BGPPeer", {"peerIP": None, "reachableBy": None, "localWorkloadSelector": "has(a)"}),
        ("FelixConfiguration", {"healthPort": "abc"}),
    ],
    ids=lambda v: str(v)[:40],
)
def test_accepted(kind: str, changes: dict[str, Any]) -> None:
    assert reasons_against(kind, changes) == ()


def test_endpoints_of_kubernetes_have_their_own_names() -> None:
    changes = {"metadata.name": "n-k8s-pod-eth0", "node": "n", "orchestrator": "k8s"}
    document = document_of("WorkloadEndpoint")
    document["metadata"]["name"] = changes["metadata.name"]
    document["spec"] |= {"node": "n", "orchestrator": "k8s", "pod": "pod", "endpoint": "eth0"}
    path = path_of("WorkloadEndpoint").rsplit("/", 1)[0] + "/n-k8s-pod-eth0"
    assert not isinstance(decode(path, json.dumps(document).encode()), Invalid)


@pytest.mark.parametrize("name", ["a-b-c", "a/b", "", "-a-b-c-d", "a-b-c-" + "d" * 129, LONG])
def test_names_that_are_no_endpoint_names(name: str) -> None:
    path = path_of("WorkloadEndpoint").rsplit("/", 1)[0] + "/" + name
    found = decode(path, b"{}")
    assert found is None or isinstance(found, Invalid)


def test_host_bgp_configuration_sets_nothing_global() -> None:
    path = path_of("BGPConfiguration").removesuffix("default") + "node.h"
    found = decode(path, json.dumps({"spec": {"asNumber": 1, "listenPort": 178}}).encode())
    assert isinstance(found, Invalid)
    assert [reason.field for reason in found.reasons] == ["spec.asNumber"]
    assert "Cannot set" in found.reasons[0].reason
    assert not isinstance(decode(path, b'{"spec":{"listenPort":178}}'), Invalid)


@pytest.mark.parametrize(
    ("kind", "changes", "field"),
    [
        ("IPPool", {"ipipMode": "Always"}, "spec.ipipMode"),
        ("IPPool", {"ipipMode": None, "vxlanMode": "CrossSubnet"}, "spec.vxlanMode"),
        ("IPPool", {"ipipMode": "Never"}, ""),
        (
            "HostEndpoint",
            {"metadata.annotations": {"qos.projectcalico.org/dscp": "64"}},
            "metadata.annotations[qos.projectcalico.org/dscp]",
        ),
        ("HostEndpoint", {"metadata.annotations": {"qos.projectcalico.org/dscp": "EF"}}, ""),
        ("Tier", {}, ""),
    ],
)
def test_what_is_told_and_ignored(kind: str, changes: dict[str, Any], field: str) -> None:
    document = document_of(kind)
    for where, value in changes.items():
        target = document["metadata"] if where.startswith("metadata") else document["spec"]
        target[where.rpartition(".")[2]] = value
    found = decode(path_of(kind), json.dumps(document).encode())
    assert isinstance(found, Resource)
    assert [reason.field for reason in remarks(found)] == ([field] if field else [])


def test_every_problem_is_told_up_to_a_limit() -> None:
    reasons = reasons_against("NetworkSet", {"nets": ["x"] * 1000})
    assert len(reasons) == 50
    found = Invalid("/key", None, reasons)  # type: ignore[arg-type]
    assert "and 45 more" in str(found)


SUBNET = {
    "network_id": "n",
    "cidr": "10.0.0.0/24",
    "gateway_ip": "10.0.0.1",
    "host_routes": (HostRoute(destination="10.9.0.0/16", nexthop="10.0.0.2"),),
    "dns_servers": ("8.8.8.8", "2001:4860:4860::8888"),
}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"network_id": "a/b"}, "network_id"),
        ({"cidr": "10.0.0.1/24"}, "cidr"),
        ({"cidr": "x"}, "cidr"),
        ({"gateway_ip": "fd00::1"}, "gateway_ip"),
        ({"gateway_ip": ""}, "gateway_ip"),
        ({"gateway_ip": "10.0.0.1\ndhcp-option=1"}, "gateway_ip"),
        (
            {"host_routes": (HostRoute(destination="x", nexthop="10.0.0.1"),)},
            "host_routes[0].destination",
        ),
        (
            {"host_routes": (HostRoute(destination="0.0.0.0/0", nexthop=""),)},
            "host_routes[0].nexthop",
        ),
        ({"dns_servers": ("8.8.8.8", "x")}, "dns_servers[1]"),
        ({"ipv6_ra_mode": "on"}, "ipv6_ra_mode"),
        ({"ipv6_address_mode": "on"}, "ipv6_address_mode"),
    ],
)
def test_subnets(changes: dict[str, Any], field: str) -> None:
    assert validate(DhcpSubnet(**SUBNET)) == ()  # type: ignore[arg-type]
    reasons = validate(DhcpSubnet(**SUBNET | changes))  # type: ignore[arg-type]
    assert [reason.field for reason in reasons] == [field]


def test_status() -> None:
    status = AgentStatus(time="2026-08-22T09:30:00Z", uptime=1.0, first_update=True)
    assert validate(status) == ()
    assert validate(AgentStatus(time="now", uptime=1.0, first_update=True))[0].field == "time"
    assert validate(EndpointStatus(status="error")) == ()
    assert validate(EndpointStatus(status="fine"))[0].field == "status"


@pytest.mark.parametrize(
    ("text", "community"),
    [
        ("65535:0", True),
        ("1:2:4294967295", True),
        ("65536:0", False),
        ("1:2:4294967296", False),
        ("1", False),
        ("1:2:3:4", False),
        ("a:b", False),
        ("", False),
    ],
)
def test_communities(text: str, community: bool) -> None:
    assert is_community(text) == community


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("10.0.0.1", "10.0.0.1", None),
        ("10.0.0.1:179", "10.0.0.1", 179),
        ("fd00::1", "fd00::1", None),
        ("[fd00::1]:179", "fd00::1", 179),
    ],
)
def test_peer_addresses(text: str, address: str, port: int | None) -> None:
    found = parse_peer_ip(text)
    assert found is not None
    assert (str(found[0]), found[1]) == (address, port)


@pytest.mark.parametrize(
    "text",
    ["", "10.0.0.1:", "10.0.0.1:0", "10.0.0.1:65536", "[10.0.0.1]:1", "[fd00::1]", "x:1", "[]:1"],
)
def test_no_peer_addresses(text: str) -> None:
    assert parse_peer_ip(text) is None
