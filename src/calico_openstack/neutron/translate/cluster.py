"""What the driver provides in the datastore beside Neutron's objects.

Each function takes the stored specification (an empty one where nothing is stored) and returns
it as it must be; members that are not its business stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from calico_openstack.datamodel.policies import DEFAULT_TIER
from calico_openstack.neutron.translate.endpoint import INTERFACE_PREFIX
from calico_openstack.neutron.translate.labels import ORCHESTRATOR

Spec = Mapping[str, Any]

TIER_NAME = DEFAULT_TIER
# The order that upstream gives its default tier: below tiers with an order of their own.
_TIER_ORDER = 1_000_000


def cluster_information(stored: Spec, new_guid: str) -> dict[str, Any]:
    """Return ClusterInformation: an identity, this orchestrator, and that Felix may start.

    ``datastoreReady`` false is an operator's word and stays.
    """
    result = dict(stored)
    if not result.get("clusterGUID"):
        result["clusterGUID"] = new_guid
    cluster_type = str(result.get("clusterType") or "")
    if ORCHESTRATOR not in cluster_type:
        result["clusterType"] = ",".join(filter(None, (cluster_type, ORCHESTRATOR)))
    result.setdefault("datastoreReady", True)
    return result


def felix_configuration(stored: Spec) -> dict[str, Any]:
    """Return FelixConfiguration: endpoints' status is reported, TAP devices are workloads.

    Prefixes among allowed address pairs need ``workloadSourceSpoofing``; without it Felix takes an
    endpoint that has any for absent, and one tenant's pair would cost the port its network. Only
    endpoints with such prefixes are concerned. What an operator wrote there stays.
    """
    result = dict(stored)
    if not result.get("endpointReportingEnabled"):
        result["endpointReportingEnabled"] = True
    prefixes = [part for part in str(result.get("interfacePrefix") or "").split(",") if part]
    if INTERFACE_PREFIX not in prefixes:
        prefixes.append(INTERFACE_PREFIX)
        result["interfacePrefix"] = ",".join(prefixes)
    result.setdefault("workloadSourceSpoofing", "Any")
    return result


def logging_configuration(stored: Spec) -> dict[str, Any]:
    """Return FelixConfiguration as network logs need it, which an operator may overrule.

    The prefix tells a log or a group by the policy's name and, with Felix of this project, the
    rule. The rate is that of Neutron's other drivers.
    """
    result = dict(stored)
    result.setdefault("logPrefix", "calico-packet %n %r")
    if not result.get("logActionRateLimit"):
        result["logActionRateLimit"] = "100/second"
        result["logActionRateLimitBurst"] = 25
    return result


def default_tier(stored: Spec | None) -> dict[str, Any]:
    """Return the tier of the security groups' policies; a stored one stays as it is."""
    if stored is not None:
        return dict(stored)
    return {"order": _TIER_ORDER, "defaultAction": "Deny"}
