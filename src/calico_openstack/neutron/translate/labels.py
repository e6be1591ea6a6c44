"""Labels and annotations of workload endpoints, by which policies select them."""

from __future__ import annotations

import json
import re

from calico_openstack.datamodel.openstack import (
    DHCP_OPTIONS_ANNOTATION,
    FQDN_ANNOTATION,
    GROUP_LABEL,
    GROUP_NAME_LABEL,
    GUEST_NAME_ANNOTATION,
    NETWORK_ANNOTATION,
    NETWORK_NAME_LABEL,
    PORT_NAME_ANNOTATION,
    PROJECT_ID_LABEL,
    PROJECT_NAME_LABEL,
)
from calico_openstack.neutron.translate.facts import PortFacts

# Only on ports that a network log is about, other than through a group.
LOG_LABEL = "log.projectcalico.org/openstack-"

ORCHESTRATOR = "openstack"

LABEL_LENGTH = 63
# A group's name also stands in a label's key, behind GROUP_NAME_LABEL.
GROUP_NAME_LENGTH = LABEL_LENGTH - len(GROUP_NAME_LABEL)

_FORBIDDEN = re.compile(r"[^A-Za-z0-9_.-]")
_OUTER = re.compile(r"\A[^A-Za-z0-9]+|[^A-Za-z0-9]+\Z")


def sanitise(name: str, length: int = LABEL_LENGTH) -> str:
    """Return ``name`` as a label value of at most ``length`` characters, maybe empty.

    It is cut first, as the names in existing clusters were: a different order would rename
    labels that operators' policies select.
    """
    return _OUTER.sub("", _FORBIDDEN.sub("_", name[:length]))


def group_selector(group_id: str) -> str:
    """Return the selector of the members of a security group."""
    return f"has({GROUP_LABEL}{group_id})"


def endpoint_labels(port: PortFacts, namespace: str) -> dict[str, str]:
    """Return a port's labels; without port security none that puts it into a group.

    A port without any group is under no policy, and must not come under one that only logs.
    """
    result: dict[str, str] = {}
    groups = port.groups if port.port_security_enabled else ()
    for group in sorted(groups, key=lambda group: group.id):
        name = sanitise(group.name, GROUP_NAME_LENGTH)
        result[f"{GROUP_LABEL}{group.id}"] = name
        if name:
            result[f"{GROUP_NAME_LABEL}{name}"] = group.id
    if result:
        result.update({f"{LOG_LABEL}{log.id}": "" for log in port.logs})
    result["projectcalico.org/namespace"] = namespace
    result["projectcalico.org/orchestrator"] = ORCHESTRATOR
    if port.project_id is not None:
        result[PROJECT_ID_LABEL] = sanitise(port.project_id)
    if port.project_name:
        result[PROJECT_NAME_LABEL] = sanitise(port.project_name)
    if port.project_parent_id:
        result["projectcalico.org/openstack-project-parent-id"] = sanitise(port.project_parent_id)
    if port.network_name is not None:
        result[NETWORK_NAME_LABEL] = sanitise(port.network_name)
    return result


def endpoint_annotations(port: PortFacts) -> dict[str, str]:
    """Return a port's annotations: what the DHCP agent must know, and names for people."""
    result = {NETWORK_ANNOTATION: port.network_id}
    if port.fqdn:
        result[FQDN_ANNOTATION] = port.fqdn
    if port.name:
        result[PORT_NAME_ANNOTATION] = port.name
    if port.dns_name:
        result[GUEST_NAME_ANNOTATION] = port.dns_name
    if port.dhcp_options:
        options = sorted(port.dhcp_options, key=lambda o: (o.version, o.name, o.value))
        result[DHCP_OPTIONS_ANNOTATION] = json.dumps(
            [{"name": o.name, "value": o.value, "ipVersion": o.version} for o in options]
        )
    return result
