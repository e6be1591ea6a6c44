"""The kinds of v3 resource: their names in keys, their scope and their types."""

from __future__ import annotations

from typing import Final, NamedTuple

from calico_openstack.datamodel.bgp import BGPConfiguration, BGPFilter, BGPPeer
from calico_openstack.datamodel.configuration import ClusterInformation, FelixConfiguration
from calico_openstack.datamodel.endpoints import (
    GlobalNetworkSet,
    HostEndpoint,
    NetworkSet,
    WorkloadEndpoint,
)
from calico_openstack.datamodel.kept import (
    CalicoNodeStatus,
    IPReservation,
    KubeControllersConfiguration,
    StagedKubernetesNetworkPolicy,
)
from calico_openstack.datamodel.migration import LiveMigration
from calico_openstack.datamodel.nodes import Node
from calico_openstack.datamodel.policies import (
    GlobalNetworkPolicy,
    NetworkPolicy,
    Profile,
    StagedGlobalNetworkPolicy,
    StagedNetworkPolicy,
    Tier,
)
from calico_openstack.datamodel.pools import IPPool
from calico_openstack.datamodel.resource import Resource


class Kind(NamedTuple):
    """A kind of resource. ``type`` is None for kinds that are known and not used."""

    name: str
    plural: str
    namespaced: bool
    type: type[Resource] | None = None


RESOURCE_TYPES: Final[tuple[type[Resource], ...]] = (
    WorkloadEndpoint,
    HostEndpoint,
    NetworkPolicy,
    GlobalNetworkPolicy,
    StagedNetworkPolicy,
    StagedGlobalNetworkPolicy,
    Tier,
    Profile,
    NetworkSet,
    GlobalNetworkSet,
    LiveMigration,
    IPPool,
    Node,
    BGPConfiguration,
    BGPPeer,
    BGPFilter,
    FelixConfiguration,
    ClusterInformation,
    CalicoNodeStatus,
    IPReservation,
    KubeControllersConfiguration,
    StagedKubernetesNetworkPolicy,
)

# Upstream keeps these beside the ones above; nothing here reads them.
_UNUSED_KINDS: Final = (
    Kind("IPAMConfiguration", "ipamconfigurations", False),
    Kind("BlockAffinity", "blockaffinities", False),
)

KINDS: Final[dict[str, Kind]] = {
    kind.name: kind
    for kind in (
        *(Kind(cls.KIND, cls.PLURAL, cls.NAMESPACED, cls) for cls in RESOURCE_TYPES),
        *_UNUSED_KINDS,
    )
}
"""Every known kind by its name."""

KINDS_BY_PLURAL: Final[dict[str, Kind]] = {kind.plural: kind for kind in KINDS.values()}
"""Every known kind by its name in keys."""
