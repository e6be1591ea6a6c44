"""Short ways to write resources in tests."""

from __future__ import annotations

from typing import Any

from calico_openstack.datamodel.endpoints import WorkloadEndpoint, WorkloadEndpointSpec
from calico_openstack.datamodel.keys import ResourceKey, workload_endpoint_name
from calico_openstack.datamodel.policies import NetworkPolicy, NetworkPolicySpec
from calico_openstack.datamodel.resource import Metadata
from calico_openstack.datamodel.rules import EntityRule, Rule

NAMESPACE = "openstack"


def workload(
    number: int, *groups: str, node: str = "here", **spec: Any
) -> tuple[ResourceKey, WorkloadEndpoint]:
    """Return endpoint *number*: addresses 10.0.0.n and fd00::n, a label for each group."""
    workload_id, port = f"vm{number}", f"port{number}"
    name = workload_endpoint_name(node, "openstack", workload_id, port)
    labels = {f"sg-{group}": "" for group in groups}
    values = {
        "orchestrator": "openstack",
        "workload": workload_id,
        "node": node,
        "endpoint": port,
        "interface_name": f"tap{number}",
        "mac": f"fa:16:3e:00:00:{number:02x}",
        "ip_networks": (f"10.0.0.{number}/32", f"fd00::{number:x}/128"),
        **spec,
    }
    metadata = Metadata(
        name=name,
        namespace=NAMESPACE,
        labels={**labels, "projectcalico.org/namespace": NAMESPACE},
    )
    key = ResourceKey("WorkloadEndpoint", name, NAMESPACE)
    return key, WorkloadEndpoint(metadata=metadata, spec=WorkloadEndpointSpec(**values))


def group_policy(group: str, *ingress: Rule, **spec: Any) -> tuple[ResourceKey, NetworkPolicy]:
    """Return the policy of a security group: these rules in, everything out."""
    values = {
        "selector": f"has(sg-{group})",
        "types": ("Ingress", "Egress"),
        "ingress": ingress,
        "egress": (Rule(action="Allow"),),
        **spec,
    }
    name = f"ossg.default.{group}"
    return ResourceKey("NetworkPolicy", name, NAMESPACE), NetworkPolicy(
        metadata=Metadata(name=name, namespace=NAMESPACE), spec=NetworkPolicySpec(**values)
    )


def allow(
    protocol: str | None = None,
    *ports: int | str,
    group: str = "",
    nets: tuple[str, ...] = (),
    action: str = "Allow",
) -> Rule:
    """Return a rule about what comes from a group or networks to some ports."""
    return Rule(
        action=action,
        protocol=protocol,
        source=EntityRule(selector=f"has(sg-{group})" if group else "", nets=nets),
        destination=EntityRule(ports=ports),
    )
