"""Parameters from the datastore: resources become the text that a configuration file would hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from calico_openstack.datamodel.configuration import (
    FELIX_CONFIG_ANNOTATION_PREFIX,
    NODE_CONFIGURATION_PREFIX,
    ClusterInformation,
    FelixConfiguration,
)
from calico_openstack.datamodel.durations import parse_duration
from calico_openstack.datamodel.felix_choice import NODE_SELECTOR
from calico_openstack.datamodel.invalid import quoted
from calico_openstack.datamodel.nodes import Node
from calico_openstack.felix.config.kinds import SECONDS
from calico_openstack.felix.config.settings import ATTRIBUTES, PARAMETERS

_BY_SPEC_FIELD: Final = {p.spec_field: p for p in PARAMETERS.values() if p.spec_field}


class Unreadable(Struct, frozen=True):
    """A value of the datastore that has no text: it counts as a bad value."""

    value: str


def parameters_of(configuration: FelixConfiguration) -> dict[str, str | Unreadable]:
    """Return the parameters that a resource sets, by name in lower case.

    Members of the spec that are no parameter here are named as they are. Annotations
    ``config.projectcalico.org/<Name>`` win over the spec.
    """
    found: dict[str, str | Unreadable] = {}
    for member, value in configuration.spec.items():
        if member == NODE_SELECTOR or value is None:
            continue
        declared = _BY_SPEC_FIELD.get(member)
        duration = declared is not None and declared.kind is SECONDS
        name = (declared.name if declared is not None else member).lower()
        if declared is None and name in ATTRIBUTES:
            # A parameter that the spec has under another name, or not at all.
            name = f"spec.{member}"
        try:
            found[name] = _seconds(value) if duration else _text(member, value)
        except (TypeError, ValueError, KeyError):
            found[name] = Unreadable(_shown(value))
    for annotation, text in configuration.metadata.annotations.items():
        if annotation.startswith(FELIX_CONFIG_ANNOTATION_PREFIX):
            found[annotation.removeprefix(FELIX_CONFIG_ANNOTATION_PREFIX).lower()] = text
    return found


def parameters_of_cluster(information: ClusterInformation) -> dict[str, str | Unreadable]:
    """Return the facts of the cluster as parameters."""
    spec = information.spec
    return {
        "clusterguid": spec.cluster_guid,
        "clustertype": spec.cluster_type,
        "calicoversion": spec.calico_version,
    }


def parameters_of_node(node: Node) -> dict[str, str | Unreadable]:
    """Return the facts of this host's node as parameters."""
    spec = node.spec
    return {
        "ipiniptunneladdr": spec.bgp.ipv4_ipip_tunnel_addr if spec.bgp else "",
        "ipv4vxlantunneladdr": spec.ipv4_vxlan_tunnel_addr,
        "vxlantunnelmacaddr": spec.vxlan_tunnel_mac_addr,
        "ipv6vxlantunneladdr": spec.ipv6_vxlan_tunnel_addr,
        "vxlantunnelmacaddrv6": spec.vxlan_tunnel_mac_addr_v6,
    }


def host_configuration_name(host: str) -> str:
    """Return the name of the configuration of one host."""
    return NODE_CONFIGURATION_PREFIX + host


def _shown(value: Any) -> str:
    """Return a JSON value in a few words; structures may be too deep to be shown."""
    if isinstance(value, Mapping):
        return "an object"
    return "a list" if isinstance(value, list) else quoted(value)


def _seconds(value: Any) -> str:
    """Return a duration in Go's notation as decimal seconds."""
    if not isinstance(value, str):
        raise TypeError
    seconds = parse_duration(value)
    if seconds is None:
        raise ValueError
    return f"{seconds:.9f}".rstrip("0").rstrip(".")


def _text(member: str, value: Any) -> str:
    """Return a JSON value of the spec as text. Raises TypeError, ValueError or KeyError."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, Mapping):
        return ",".join(f"{key}={_scalar(inner)}" for key, inner in value.items())
    if not value and "failsafe" in member:
        # An empty list closes every port; an empty text would mean the default.
        return "none"
    return ",".join(map(_element, value))


def _element(value: Any) -> str:
    """Return an element of a list as text: a scalar or one of the known structures."""
    if not isinstance(value, Mapping):
        return _scalar(value)
    if "port" in value:
        return _failsafe_port(value)
    if "timeout" in value:
        return f"{_scalar(value['name'])}={_scalar(value['timeout'])}"
    return f"{_scalar(value['min'])}-{_scalar(value['max'])}"


def _failsafe_port(value: Mapping[str, Any]) -> str:
    protocol = _scalar(value.get("protocol") or "tcp")
    net = _scalar(value.get("net") or "")
    if ":" in net:
        net = f"[{net}]"
    return ":".join(filter(None, (protocol, net, _scalar(value["port"]))))


def _scalar(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError
    return str(value)
