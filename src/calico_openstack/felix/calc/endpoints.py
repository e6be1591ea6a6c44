"""The workload endpoints of this host, and who wins where two claim the same interface."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from calico_openstack.datamodel.endpoints import WorkloadEndpoint, WorkloadEndpointSpec
from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.felix.calc.groups import Group
from calico_openstack.felix.calc.state import LocalEndpoint
from calico_openstack.policy.addresses import Prefix, pack_address, pack_prefix
from calico_openstack.policy.rules import EndpointPolicy


class _Local(Struct, frozen=True):
    """An endpoint of this host as stored, with its addresses packed, and its group."""

    spec: WorkloadEndpointSpec
    mac: bytes
    addresses: tuple[bytes, ...]
    sources: tuple[Prefix, ...]
    group: int


class LocalEndpoints:
    """Endpoints of this host by key, interface, address and group.

    ``dirty`` are those whose outcome may have changed; the owner clears it.
    """

    def __init__(self) -> None:
        self.dirty: set[ResourceKey] = set()
        self._by_key: dict[ResourceKey, _Local] = {}
        self._by_interface: dict[str, set[ResourceKey]] = {}
        self._by_group: dict[int, set[ResourceKey]] = {}

    def __contains__(self, key: ResourceKey) -> bool:
        return key in self._by_key

    def put(self, key: ResourceKey, endpoint: WorkloadEndpoint, group: Group) -> None:
        """Take up an endpoint or its new value."""
        spec = endpoint.spec
        local = _Local(
            spec,
            bytes.fromhex(spec.mac.replace(":", "")),
            tuple(dict.fromkeys(map(pack_address, spec.ip_networks))),
            tuple(map(pack_prefix, spec.allow_spoofed_source_prefixes)),
            group.id,
        )
        if self._by_key.get(key) == local:
            return
        self.discard(key)
        self._by_key[key] = local
        self._by_group.setdefault(group.id, set()).add(key)
        claims = self._by_interface.setdefault(spec.interface_name, set())
        claims.add(key)
        self.dirty |= claims

    def discard(self, key: ResourceKey) -> None:
        """Forget an endpoint if it is there."""
        local = self._by_key.pop(key, None)
        if local is None:
            return
        members = self._by_group[local.group]
        members.discard(key)
        if not members:
            del self._by_group[local.group]
        claims = self._by_interface[local.spec.interface_name]
        self.dirty |= claims
        claims.discard(key)
        if not claims:
            del self._by_interface[local.spec.interface_name]

    def of_group(self, group: int) -> Iterable[ResourceKey]:
        """Return the endpoints of a group."""
        return self._by_group.get(group, ())

    def group_of(self, key: ResourceKey) -> int:
        """Return the group of a known endpoint."""
        return self._by_key[key].group

    def rival(self, key: ResourceKey) -> ResourceKey | None:
        """Return the endpoint that has a better claim to the same interface, if there is one.

        The lowest orchestrator, workload and endpoint wins (specification section 3.13).
        """
        claims = self._by_interface[self._by_key[key].spec.interface_name]
        winner = min(claims, key=self._claim)
        return None if winner == key else winner

    def outcome(self, key: ResourceKey, policy: EndpointPolicy, peer: str) -> LocalEndpoint:
        """Return an endpoint with its policy, and the BGPPeer that it is."""
        local = self._by_key[key]
        return LocalEndpoint(
            key,
            local.spec.interface_name,
            local.mac,
            local.addresses,
            local.sources,
            local.spec,
            policy,
            peer,
        )

    def _claim(self, key: ResourceKey) -> tuple[str, str, str, str]:
        spec = self._by_key[key].spec
        # The key's name ends ties between objects that claim to be the same endpoint.
        return spec.orchestrator, f"{key.namespace}/{spec.workload}", spec.endpoint, key.name
