"""Kinds that operators write as upstream's documents show, and that decide nothing here.

Of them only `CalicoNodeStatus` is answered, by the BGP agent. The others are for a Kubernetes
cluster that shares the datastore; they are kept as they are.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

import msgspec

from calico_openstack.datamodel.resource import JsonObject, Resource

STATUS_CLASSES: Final = ("Agent", "BGP", "Routes")
LONGEST_STATUS_PERIOD: Final = 86400
"""Seconds, from the reference of CalicoNodeStatus."""


class CalicoNodeStatusSpec(JsonObject, frozen=True, kw_only=True):
    """Which host is to tell what about itself, and how often in seconds (0: not)."""

    node: str = ""
    classes: tuple[str, ...] = ()
    update_period_seconds: int | None = None


class CalicoNodeStatus(Resource, frozen=True, kw_only=True):
    """What a host tells about its BGP, when asked by this; ``status`` is the host's."""

    KIND: ClassVar[str] = "CalicoNodeStatus"
    PLURAL: ClassVar[str] = "caliconodestatuses"

    kind: str = KIND
    spec: CalicoNodeStatusSpec = CalicoNodeStatusSpec()
    status: dict[str, Any] = msgspec.field(default_factory=dict)


class IPReservation(Resource, frozen=True, kw_only=True):
    """Addresses that Calico's IPAM does not give away; Neutron, which assigns here, has its own."""

    KIND: ClassVar[str] = "IPReservation"
    PLURAL: ClassVar[str] = "ipreservations"

    kind: str = KIND
    spec: dict[str, Any] = msgspec.field(default_factory=dict)


class KubeControllersConfiguration(Resource, frozen=True, kw_only=True):
    """Settings of Calico's controllers for Kubernetes."""

    KIND: ClassVar[str] = "KubeControllersConfiguration"
    PLURAL: ClassVar[str] = "kubecontrollersconfigurations"

    kind: str = KIND
    spec: dict[str, Any] = msgspec.field(default_factory=dict)
    status: dict[str, Any] = msgspec.field(default_factory=dict)


class StagedKubernetesNetworkPolicy(Resource, frozen=True, kw_only=True):
    """A network policy of Kubernetes that is not enforced yet."""

    KIND: ClassVar[str] = "StagedKubernetesNetworkPolicy"
    PLURAL: ClassVar[str] = "stagedkubernetesnetworkpolicies"
    NAMESPACED: ClassVar[bool] = True

    kind: str = KIND
    spec: dict[str, Any] = msgspec.field(default_factory=dict)
