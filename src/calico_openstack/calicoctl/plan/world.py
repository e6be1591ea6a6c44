"""All resources at one moment, made quick to ask about many packets. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from calico_openstack.datamodel import Invalid, Resource, ResourceKey
from calico_openstack.datamodel.selector import Selector
from calico_openstack.policy.cluster import Cluster, Holder
from calico_openstack.policy.evaluation import evaluate
from calico_openstack.policy.packet import Direction, Packet
from calico_openstack.policy.rules import EndpointPolicy, NamedPort, RuleBlock

Resources = Mapping[ResourceKey, Resource | Invalid]


class World:
    """Says what the endpoints at the ends of a packet decide. `policy.evaluation.Members` too."""

    def __init__(self, resources: Resources) -> None:
        self.resources = resources
        # Who may use foreign sources matters to the packets that policy sees, not to policy.
        self.cluster = Cluster(resources, source_spoofing=True)
        self._holders: dict[bytes, list[Holder]] = {}
        self._wide: list[Holder] = []
        for holder in self.cluster.holders():
            for network in holder.networks:
                if network.length == network.bits:
                    self._holders.setdefault(network.network, []).append(holder)
                elif holder not in self._wide:
                    self._wide.append(holder)
        self._selected: dict[tuple[Selector, bytes], bool] = {}
        self._policies: dict[ResourceKey, EndpointPolicy] = {}
        self._blocks: dict[ResourceKey, RuleBlock] = {}

    def selects(self, selector: Selector, address: bytes) -> bool:
        """Tell whether an endpoint or network set that *selector* matches has *address*."""
        found = self._selected.get((selector, address))
        if found is None:
            found = any(selector.matches(holder.labels) for holder in self._at(address))
            self._selected[selector, address] = found
        return found

    def selects_port(self, named: NamedPort, address: bytes, protocol: int, port: int) -> bool:
        """Tell whether an endpoint of *named* has *address* and that port under its name."""
        return named.protocol in (None, protocol) and any(
            any((name, protocol, port) in holder.ports for name in named.names)
            and named.selector.matches(holder.labels)
            for holder in self._at(address)
        )

    def _at(self, address: bytes) -> list[Holder]:
        wide = [h for h in self._wide if any(n.covers(address) for n in h.networks)]
        return [*self._holders.get(address, ()), *wide]

    def policy_of(self, endpoint: ResourceKey) -> EndpointPolicy:
        """Return the ordered policies and profiles of an endpoint."""
        found = self._policies.get(endpoint)
        if found is None:
            found = self._policies[endpoint] = self.cluster.policy_of(endpoint)
        return found

    def blocks_of(self, endpoint: ResourceKey) -> dict[ResourceKey, RuleBlock]:
        """Return the rules of all policies and profiles of an endpoint."""
        keys = self.policy_of(endpoint).blocks()
        for key in keys:
            if key not in self._blocks:
                self._blocks[key] = self.cluster.block(key)
        return {key: self._blocks[key] for key in keys}

    def allows(self, endpoint: ResourceKey | None, direction: Direction, packet: Packet) -> bool:
        """Tell whether an endpoint allows a packet; who is none has no say."""
        if endpoint is None or endpoint not in self.cluster.endpoints:
            return True
        policy, blocks = self.policy_of(endpoint), self.blocks_of(endpoint)
        return evaluate(policy, blocks, direction, packet, self).allowed
