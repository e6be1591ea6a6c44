"""The host endpoints of this host, and the interfaces that they govern."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from msgspec import Struct

from calico_openstack.datamodel.endpoints import HostEndpointSpec
from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.felix.calc.groups import Group
from calico_openstack.felix.calc.state import LocalHostEndpoint
from calico_openstack.policy.host_interfaces import InterfaceSelection, governors
from calico_openstack.policy.rules import HostEndpointPolicy

UNUSED = "it governs no interface of this host"


class _Local(Struct, frozen=True):
    spec: HostEndpointSpec
    group: int
    dscp: int | None


class HostEndpoints:
    """Host endpoints of this host by key and by group, with the policy of each.

    There are few of them: who governs what is found out anew after every change.
    """

    def __init__(self, selection: InterfaceSelection) -> None:
        self.policies: dict[ResourceKey, HostEndpointPolicy] = {}
        self._selection = selection
        self._by_key: dict[ResourceKey, _Local] = {}
        self._by_group: dict[int, set[ResourceKey]] = {}
        self._interfaces: dict[str, frozenset[bytes]] = {}
        self._dirty: set[ResourceKey] = set()
        self._stale = False

    def __contains__(self, key: ResourceKey) -> bool:
        return key in self._by_key

    def put(self, key: ResourceKey, spec: HostEndpointSpec, group: Group, dscp: int | None) -> None:
        """Take up a host endpoint or its new value."""
        local = _Local(spec, group.id, dscp)
        if self._by_key.get(key) == local:
            return
        self.discard(key)
        self._by_key[key] = local
        self._by_group.setdefault(group.id, set()).add(key)

    def discard(self, key: ResourceKey) -> None:
        """Forget a host endpoint if it is there."""
        self._dirty.add(key)
        self._stale = True
        local = self._by_key.pop(key, None)
        if local is None:
            return
        members = self._by_group[local.group]
        members.discard(key)
        if not members:
            del self._by_group[local.group]

    def of_group(self, group: int) -> Collection[ResourceKey]:
        """Return the host endpoints of a group."""
        return self._by_group.get(group, ())

    def group_of(self, key: ResourceKey) -> int | None:
        """Return the group of a host endpoint, None if it is not there."""
        local = self._by_key.get(key)
        return local.group if local else None

    def set_interfaces(self, interfaces: Mapping[str, frozenset[bytes]]) -> None:
        """Take up which interfaces the host has, with their addresses."""
        chosen = {name: interfaces[name] for name in self._selection.chosen(interfaces)}
        if chosen != self._interfaces:
            self._interfaces = chosen
            self._stale = True

    def take_dirty(self) -> set[ResourceKey]:
        """Return the keys that came, changed or left since the last call."""
        dirty, self._dirty = self._dirty, set()
        return dirty

    def set_policy(self, key: ResourceKey, policy: HostEndpointPolicy | None) -> None:
        """Record what applies to a host endpoint; None: it is gone."""
        self._stale = True
        if policy is None:
            self.policies.pop(key, None)
        else:
            self.policies[key] = policy

    def update(
        self,
        outcomes: dict[ResourceKey, LocalHostEndpoint],
        problems: dict[ResourceKey, str],
    ) -> set[ResourceKey]:
        """Bring *outcomes* and *problems* up to date; return the keys whose outcome changed."""
        if not self._stale:
            return set()
        self._stale = False
        specs = {key: local.spec for key, local in self._by_key.items()}
        governed: dict[ResourceKey, set[str]] = {}
        for interface, key in governors(specs, self._interfaces).items():
            governed.setdefault(key, set()).add(interface)
        found = {
            key: LocalHostEndpoint(
                key, frozenset(names), specs[key], self.policies[key], self._by_key[key].dscp
            )
            for key, names in governed.items()
        }
        changed = {
            key for key in found.keys() | outcomes.keys() if found.get(key) != outcomes.get(key)
        }
        outcomes.clear()
        outcomes.update(found)
        for key in specs.keys() - found.keys():
            problems[key] = UNUSED
        for key in [key for key, why in problems.items() if why is UNUSED]:
            if key not in specs or key in found:
                del problems[key]
        return changed
