"""What the calculation yields: the policy state of this host, and what changed in it."""

from __future__ import annotations

from msgspec import Struct, field

from calico_openstack.datamodel.endpoints import HostEndpointSpec, WorkloadEndpointSpec
from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.felix.calc.ipsets import IPSet, SetChange
from calico_openstack.felix.calc.networks import ClusterNetworks
from calico_openstack.policy.addresses import Prefix
from calico_openstack.policy.rules import EndpointPolicy, HostEndpointPolicy, RuleBlock


class LocalEndpoint(Struct, frozen=True):
    """An endpoint of this host, with everything that decides about its packets.

    ``mac`` has six bytes, or none if the endpoint names no MAC. ``sources`` are prefixes that it
    may use as source addresses beside its own. ``spec`` is what is stored, for features that need
    more of it. ``peer`` names the BGPPeer that the workload is, if it speaks BGP with the host.
    """

    key: ResourceKey
    interface: str
    mac: bytes
    addresses: tuple[bytes, ...]
    sources: tuple[Prefix, ...]
    spec: WorkloadEndpointSpec
    policy: EndpointPolicy
    peer: str = ""


class LocalHostEndpoint(Struct, frozen=True):
    """A host endpoint of this host, with everything that decides about its packets.

    ``interfaces`` are those that it governs; `policy.host_interfaces.EVERY_INTERFACE` stands for
    all that no other one governs. ``dscp`` is the code point of what it sends out of the cluster.
    """

    key: ResourceKey
    interfaces: frozenset[str]
    spec: HostEndpointSpec
    policy: HostEndpointPolicy
    dscp: int | None = None


class HostState(Struct):
    """The policy state of this host. Owned and changed by the calculation; others read.

    ``endpoints``, ``host_endpoints``: what is to be programmed. ``blocks``: the rules of every
    policy and profile that these name. ``sets``: the members of everything that those rules select.
    ``problems``: endpoints of this host that are not programmed, and why. ``networks``: what
    belongs to the cluster.
    """

    endpoints: dict[ResourceKey, LocalEndpoint] = field(default_factory=dict)
    host_endpoints: dict[ResourceKey, LocalHostEndpoint] = field(default_factory=dict)
    blocks: dict[ResourceKey, RuleBlock] = field(default_factory=dict)
    sets: dict[str, IPSet] = field(default_factory=dict)
    problems: dict[ResourceKey, str] = field(default_factory=dict)
    networks: ClusterNetworks = field(default_factory=ClusterNetworks)

    def news(self) -> HostDelta:
        """Return what changed for somebody who knew nothing of this."""
        addresses = frozenset(one for each in self.endpoints.values() for one in each.addresses)
        return HostDelta(
            endpoints=set(self.endpoints),
            host_endpoints=set(self.host_endpoints),
            blocks=set(self.blocks),
            new_sets=set(self.sets),
            networks=self.networks != ClusterNetworks(),
            withdrawals=(Withdrawal(addresses),) if addresses else (),
        )


class Withdrawal(Struct, frozen=True):
    """Established flows that may no longer be allowed, and so have to be judged again.

    Flows with one of the *local* addresses at either end; with *others* given, only those that
    have one of these at either end as well.
    """

    local: frozenset[bytes]
    others: frozenset[bytes] | None = None

    def concerns(self, source: bytes, destination: bytes) -> bool:
        """Tell whether a flow between two packed addresses is meant."""
        if source not in self.local and destination not in self.local:
            return False
        return self.others is None or source in self.others or destination in self.others


class HostDelta(Struct):
    """What changed in a `HostState` since the last delta.

    ``endpoints``, ``host_endpoints``, ``blocks``, ``new_sets`` and ``gone_sets`` are names: what
    they are now, or that they are gone, is in the state. ``sets`` has what came to and left sets
    that stay. ``networks`` tells whether the networks of the cluster changed.
    """

    endpoints: set[ResourceKey] = field(default_factory=set)
    host_endpoints: set[ResourceKey] = field(default_factory=set)
    blocks: set[ResourceKey] = field(default_factory=set)
    new_sets: set[str] = field(default_factory=set)
    gone_sets: set[str] = field(default_factory=set)
    sets: dict[str, SetChange] = field(default_factory=dict)
    networks: bool = False
    withdrawals: tuple[Withdrawal, ...] = ()

    def __bool__(self) -> bool:
        return bool(
            self.endpoints
            or self.host_endpoints
            or self.blocks
            or self.new_sets
            or self.gone_sets
            or self.sets
            or self.networks
        )
