"""One valid value of every kind, rich in members, and the key it is stored under."""

from __future__ import annotations

import json
from typing import Any

from calico_openstack.datamodel.keys import prefix_of

VM = "1e2f3a44-0b11-4c6e-9a1d-2f3344556677"
PORT = "9b2c7d10-1111-4222-8333-abcdefabcdef"
ENDPOINT_NAME = f"compute--1-openstack-{VM.replace('-', '--')}-{PORT.replace('-', '--')}"
RULES = [
    {
        "action": "Allow",
        "ipVersion": 4,
        "protocol": 6,
        "destination": {"ports": [22, "8000:8080", "http"]},
        "source": {"nets": ["10.0.0.0/8"], "notNets": ["10.1.0.0/16"]},
        "metadata": {"annotations": {"sg-rule": "1"}},
    },
    {
        "action": "Deny",
        "protocol": "UDP",
        "source": {"selector": "has(a)", "notSelector": "b == 'c'", "notPorts": [53]},
    },
    {"action": "Pass", "ipVersion": 6, "protocol": "ICMPv6", "icmp": {"type": 128, "code": 0}},
    {"action": "Log", "notProtocol": 17, "destination": {"namespaceSelector": "global()"}},
]

SPECS: dict[str, dict[str, Any]] = {
    "WorkloadEndpoint": {
        "orchestrator": "openstack",
        "workload": VM,
        "node": "compute-1",
        "endpoint": PORT,
        "interfaceName": "tap9b2c7d10-11",
        "mac": "fa:16:3e:11:22:33",
        "ipv4Gateway": "10.65.0.1",
        "ipv6Gateway": "fd5f:65::1",
        "ipNetworks": ["10.65.0.7/32", "fd5f:65::7/128", "10.65.0.200/32"],
        "allowedIps": ["10.65.0.200/32"],
        "ipNATs": [{"internalIP": "10.65.0.7", "externalIP": "172.24.4.50"}],
        "qosControls": {"ingressBandwidth": 10000000, "egressPacketRate": 1000, "dscp": "EF"},
        "profiles": ["p"],
        "ports": [
            {"name": "http", "protocol": "TCP", "port": 80, "hostPort": 0, "hostIP": ""},
        ],
        "allowSpoofedSourcePrefixes": ["192.0.2.0/24"],
    },
    "HostEndpoint": {
        "node": "compute-1",
        "interfaceName": "eth0",
        "expectedIPs": ["192.0.2.10"],
        "profiles": ["p"],
        "ports": [{"name": "ssh", "protocol": "TCP", "port": 22}],
    },
    "NetworkPolicy": {
        "tier": "default",
        "order": 100.5,
        "selector": "role == 'web'",
        "types": ["Ingress", "Egress"],
        "ingress": RULES,
        "egress": RULES[:1],
        "serviceAccountSelector": "a == 'b'",
        "performanceHints": ["AssumeNeededOnEveryNode"],
    },
    "GlobalNetworkPolicy": {
        "order": 100,
        "selector": "role == 'web'",
        "namespaceSelector": "all()",
        "types": ["Ingress"],
        "ingress": RULES,
        "preDNAT": True,
        "applyOnForward": True,
    },
    "StagedNetworkPolicy": {
        "order": 100,
        "selector": "role == 'web'",
        "types": ["Ingress"],
        "ingress": RULES,
        "egress": [],
        "stagedAction": "Set",
    },
    "StagedGlobalNetworkPolicy": {
        "selector": "role == 'web'",
        "types": ["Egress"],
        "egress": RULES,
        "stagedAction": "Learn",
    },
    "Tier": {"order": 1000000, "defaultAction": "Deny"},
    "Profile": {"ingress": RULES, "egress": RULES, "labelsToApply": {"a": "b"}},
    "NetworkSet": {"nets": ["10.0.0.0/8", "fd00::1"]},
    "GlobalNetworkSet": {"nets": ["0.0.0.0/0"]},
    "LiveMigration": {
        side: {
            "workloadEndpoint": {
                "hostname": host,
                "orchestratorID": "openstack",
                "workloadID": f"openstack/{VM}",
                "endpointID": PORT,
            }
        }
        for side, host in (("source", "compute-2"), ("target", "compute-1"))
    },
    "IPPool": {
        "cidr": "10.65.0.0/16",
        "ipipMode": "Always",
        "vxlanMode": "Never",
        "natOutgoing": True,
        "blockSize": 26,
        "nodeSelector": "all()",
        "allowedUses": ["Workload"],
        "assignmentMode": "Automatic",
    },
    "Node": {
        "bgp": {
            "asNumber": 64512,
            "ipv4Address": "192.0.2.10/24",
            "ipv6Address": "2001:db8::10/64",
            "routeReflectorClusterID": "10.0.0.1",
        },
        "orchRefs": [{"nodeName": "compute-1", "orchestrator": "openstack"}],
        "addresses": [{"address": "192.0.2.10/24", "type": "CalicoNodeIP"}],
        "interfaces": [{"name": "eth0", "addresses": ["192.0.2.10"]}],
    },
    "BGPConfiguration": {
        "logSeverityScreen": "Info",
        "nodeToNodeMeshEnabled": False,
        "asNumber": 64512,
        "serviceClusterIPs": [{"cidr": "10.96.0.0/12"}],
        "communities": [{"name": "c", "value": "100:1"}],
        "prefixAdvertisements": [{"cidr": "10.0.0.0/8", "communities": ["c", "1:2:3"]}],
        "listenPort": 1790,
        "bindMode": "NodeIP",
        "ignoredInterfaces": ["eth*"],
        "ipv4NormalRoutePriority": 1024,
        "programClusterRoutes": "Disabled",
    },
    "BGPPeer": {
        "nodeSelector": "rack == 'r1'",
        "peerIP": "[2001:db8::1]:1790",
        "asNumber": 65001,
        "localASNumber": 65101,
        "nextHopMode": "Keep",
        "password": {"secretKeyRef": {"name": "n", "key": "k"}},
        "sourceAddress": "None",
        "maxRestartTime": "2m0s",
        "reachableBy": "2001:db8::2",
        "filters": ["f"],
        "ttlSecurity": 1,
    },
    "BGPFilter": {
        "exportV4": [
            {
                "action": "Reject",
                "cidr": "10.0.0.0/8",
                "matchOperator": "In",
                "source": "RemotePeers",
            }
        ],
        "importV6": [
            {
                "action": "Accept",
                "prefixLength": {"min": 64, "max": 128},
                "cidr": "fd00::/8",
                "matchOperator": "In",
                "communities": {"values": ["1:2"]},
                "operations": [
                    {"addCommunity": {"value": "1:2"}},
                    {"prependASPath": {"prefix": [1, 2]}},
                    {"setPriority": {"value": 512}},
                ],
            }
        ],
    },
    "FelixConfiguration": {"interfacePrefix": "tap", "reportingInterval": "30s", "x": [{"y": 1}]},
    "ClusterInformation": {"clusterType": "openstack", "datastoreReady": False},
    "CalicoNodeStatus": {
        "node": "compute-1",
        "classes": ["Agent", "BGP", "Routes"],
        "updatePeriodSeconds": 10,
    },
    "IPReservation": {"reservedCIDRs": ["192.168.2.3", "10.0.2.3/32", "cafe:f00d::/123"]},
    "KubeControllersConfiguration": {"logSeverityScreen": "Info", "controllers": {"node": {}}},
    "StagedKubernetesNetworkPolicy": {
        "stagedAction": "Set",
        "podSelector": {"matchLabels": {"role": "db"}},
        "policyTypes": ["Ingress"],
    },
}
NAMES = {
    "WorkloadEndpoint": ENDPOINT_NAME,
    "LiveMigration": ENDPOINT_NAME,
    "ClusterInformation": "default",
    "BGPConfiguration": "default",
}
NAMESPACED = {
    "WorkloadEndpoint",
    "NetworkPolicy",
    "StagedNetworkPolicy",
    "StagedKubernetesNetworkPolicy",
    "NetworkSet",
    "LiveMigration",
}


def path_of(kind: str) -> str:
    """Return the key of a kind's example."""
    return prefix_of(kind, "openstack" if kind in NAMESPACED else "") + NAMES.get(kind, "example")


def document_of(kind: str) -> dict[str, Any]:
    """Return a kind's example as a fresh structure of JSON."""
    document = {
        "kind": kind,
        "apiVersion": "projectcalico.org/v3",
        "metadata": {
            "name": NAMES.get(kind, "example"),
            "uid": "0f5f2f1e-6a7b-4c3d-9e21-0d4f5a6b7c8d",
            "creationTimestamp": "2026-08-22T09:30:00Z",
            "labels": {"a.b/c": "d"},
            "annotations": {"e": "f"},
        },
        "spec": SPECS[kind],
    }
    if kind in NAMESPACED:
        document["metadata"]["namespace"] = "openstack"  # type: ignore[index]
    return json.loads(json.dumps(document))  # type: ignore[no-any-return]
