"""The resources that BGP depends on, as they are now. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from calico_openstack.datamodel.addresses import Network, parse_network
from calico_openstack.datamodel.bgp import BGPConfiguration, BGPFilter, BGPPeer
from calico_openstack.datamodel.configuration import ClusterInformation, FelixConfiguration
from calico_openstack.datamodel.dhcp import DhcpSubnet
from calico_openstack.datamodel.endpoints import WorkloadEndpoint
from calico_openstack.datamodel.invalid import Invalid
from calico_openstack.datamodel.nodes import Node
from calico_openstack.datamodel.pools import IPPool
from calico_openstack.datamodel.resource import Resource

_R = TypeVar("_R", bound=Resource)

SUBNET: Final = "Subnet"
"""What subnets are called where resources are named by kind."""

WATCHED_TYPES: Final[tuple[type[Resource], ...]] = (
    BGPConfiguration,
    BGPPeer,
    BGPFilter,
    Node,
    IPPool,
    FelixConfiguration,
    ClusterInformation,
)


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """Something in the datastore that could not be used, and what became of it."""

    resource: str
    field: str
    reason: str

    def __str__(self) -> str:
        where = f" field {self.field}" if self.field else ""
        return f"{self.resource}{where}: {self.reason}"


class RefusedError(Exception):
    """The state says nothing dependable about this host; what runs must go on running.

    The message is the reason, for the log and the status.
    """


@dataclass(frozen=True, slots=True)
class BgpState:
    """Valid resources by kind and name, and what is invalid by kind and name.

    ``nodes`` maps a host's name to its Node, and so on. A name is in ``invalid`` of its kind or in
    the kind's own map, never in both. ``subnets`` are the networks of Neutron's subnets by their
    ids; ``affinities`` are the blocks of addresses that belong to this host, with their states;
    ``workloads`` are the endpoints on this host by namespace and name.
    """

    nodes: Mapping[str, Node] = field(default_factory=dict)
    configurations: Mapping[str, BGPConfiguration] = field(default_factory=dict)
    peers: Mapping[str, BGPPeer] = field(default_factory=dict)
    filters: Mapping[str, BGPFilter] = field(default_factory=dict)
    pools: Mapping[str, IPPool] = field(default_factory=dict)
    felix: Mapping[str, FelixConfiguration] = field(default_factory=dict)
    cluster: ClusterInformation | None = None
    subnets: Mapping[str, Network] = field(default_factory=dict)
    affinities: Mapping[Network, str] = field(default_factory=dict)
    workloads: Mapping[str, WorkloadEndpoint] = field(default_factory=dict)
    invalid: Mapping[tuple[str, str], Invalid] = field(default_factory=dict)

    def refuse_if_invalid(self, kind: str, name: str) -> None:
        """Raise RefusedError if the resource exists and cannot be used."""
        invalid = self.invalid.get((kind, name))
        if invalid is not None:
            raise RefusedError(str(invalid))

    def problems(self) -> tuple[Problem, ...]:
        """Return what is invalid, in order."""
        return tuple(
            Problem(f"{kind} {name}", reason.field, reason.reason)
            for (kind, name), invalid in sorted(self.invalid.items())
            for reason in invalid.reasons
        )


class StateStore:
    """Collects updates of single resources; gives the state that they add up to."""

    def __init__(self) -> None:
        self._valid: dict[type[Resource], dict[str, Resource]] = {t: {} for t in WATCHED_TYPES}
        self._subnets: dict[str, Network] = {}
        self._affinities: dict[Network, str] = {}
        self._workloads: dict[str, WorkloadEndpoint] = {}
        self._invalid: dict[tuple[str, str], Invalid] = {}

    def apply(self, kind: str, name: str, value: Resource | Invalid | None) -> None:
        """Take the newest value of a resource; None is its absence."""
        self._invalid.pop((kind, name), None)
        for known, resources in self._valid.items():
            if kind == known.KIND:
                resources.pop(name, None)
        if isinstance(value, Invalid):
            self._invalid[kind, name] = value
        elif value is not None and type(value) in self._valid:
            self._valid[type(value)][name] = value

    def apply_subnet(self, name: str, value: DhcpSubnet | Invalid | None) -> None:
        """Take the newest value of a subnet; None is its absence."""
        self._invalid.pop((SUBNET, name), None)
        self._subnets.pop(name, None)
        if isinstance(value, Invalid):
            self._invalid[SUBNET, name] = value
        elif value is not None and (network := parse_network(value.cidr)) is not None:
            self._subnets[name] = network

    def apply_affinity(self, block: Network, state: str | None) -> None:
        """Take the newest state of the affinity of a block to this host; None is its absence."""
        self._affinities.pop(block, None)
        if state is not None:
            self._affinities[block] = state

    def apply_workload(self, name: str, value: WorkloadEndpoint | None) -> None:
        """Take the newest value of an endpoint on this host; None is its absence, or that it
        cannot be used."""
        self._workloads.pop(name, None)
        if value is not None:
            self._workloads[name] = value

    @property
    def workloads_matter(self) -> bool:
        """Whether some BGPPeer is about workloads."""
        return any(peer.spec.local_workload_selector for peer in self._of(BGPPeer).values())

    def state(self) -> BgpState:
        """Return the current state; later updates do not change it."""
        cluster = self._of(ClusterInformation).get("default")
        return BgpState(
            nodes=self._of(Node),
            configurations=self._of(BGPConfiguration),
            peers=self._of(BGPPeer),
            filters=self._of(BGPFilter),
            pools=self._of(IPPool),
            felix=self._of(FelixConfiguration),
            cluster=cluster,
            subnets=dict(self._subnets),
            affinities=dict(self._affinities),
            workloads=dict(self._workloads),
            invalid=dict(self._invalid),
        )

    def _of(self, kind: type[_R]) -> dict[str, _R]:
        return {name: r for name, r in self._valid[kind].items() if isinstance(r, kind)}
