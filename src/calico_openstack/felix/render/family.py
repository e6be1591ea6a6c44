"""Everything in the table of one IP version that follows the policy state."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.felix.calc import AddressRange, HostDelta, HostState, IPSet, LocalEndpoint
from calico_openstack.felix.render import layout, metadata, names
from calico_openstack.felix.render.class_chains import ClassChains
from calico_openstack.felix.render.host_endpoints import HostEndpointRenderer
from calico_openstack.felix.render.limits import Limited, LimitRenderer
from calico_openstack.felix.render.matches import ADDRESS_KEY
from calico_openstack.felix.render.nft import (
    Compare,
    Element,
    ElementValue,
    Field,
    InNetwork,
    KeyType,
    Range,
    Rule,
    Set,
    Verdict,
    VerdictKind,
    interface_key,
)
from calico_openstack.felix.render.offload import OffloadExceptions
from calico_openstack.felix.render.policy_chains import PolicyChains
from calico_openstack.felix.render.settings import RenderSettings
from calico_openstack.felix.render.tables import TableWriter
from calico_openstack.felix.render.ways import WORKLOAD
from calico_openstack.policy.addresses import Prefix, ip_version, network_of
from calico_openstack.policy.packet import Direction

_SIZE = {4: 4, 6: 16}
# What follows the address in the key of a named port: protocol and port.
_PORT_KEY_SIZE = 8
_DISPATCH = {Direction.EGRESS: names.FROM_WORKLOAD, Direction.INGRESS: names.TO_WORKLOAD}


class _Programmed(Struct, frozen=True):
    """What was written for an endpoint, so that it can be taken back."""

    interface: str
    addresses: tuple[bytes, ...]
    sources: tuple[Prefix, ...]
    chains: dict[Direction, str]


class FamilyRenderer:
    """Keeps one IP version's table in step with the policy state."""

    def __init__(
        self, version: int, writer: TableWriter, settings: RenderSettings, state: HostState
    ) -> None:
        self._version = version
        self._writer = writer
        self._settings = settings
        self._state = state
        self._policies = PolicyChains(writer, version, settings, self._has_ranges)
        self._classes = ClassChains(writer, settings, self._policies)
        self._programmed: dict[ResourceKey, _Programmed] = {}
        self._spoofing: dict[ResourceKey, tuple[Rule, ...]] = {}
        self._ranged: set[str] = set()
        self._blocks_of_set: dict[str, set[ResourceKey]] = {}
        self._sets_of_block: dict[ResourceKey, frozenset[str]] = {}
        self._layout = layout.IpLayout(writer, version, settings)
        self._limits = LimitRenderer(writer, self._layout)
        self._offload = OffloadExceptions(version, writer)
        self._host_endpoints = HostEndpointRenderer(writer, self._layout, self._classes, state)

    def apply(self, delta: HostDelta) -> None:
        """Take up what changed in the state.

        What is needed is written before what needs it, and removed after: the order matters for
        the counting of users, not for the kernel.
        """
        for uid in delta.new_sets:
            self._add_set(self._state.sets[uid])
        reshaped = self._change_sets(delta)
        gone = [key for key in delta.blocks if key not in self._state.blocks]
        changed = (delta.blocks | reshaped) & self._state.blocks.keys()
        self._classes.refresh([key for key in changed if self._put_block(key)])
        self._update_endpoints(delta.endpoints)
        if delta.host_endpoints:
            self._host_endpoints.apply()
        for key in gone:
            self._policies.remove(key)
            self._index_sets(key, frozenset())
        for uid in delta.gone_sets:
            self._remove_set(uid)

    # --- sets ---------------------------------------------------------------------------------

    def _has_ranges(self, uid: str) -> bool:
        return uid in self._ranged

    def _add_set(self, ipset: IPSet) -> None:
        size = _SIZE[self._version]
        key: tuple[KeyType, ...] = (ADDRESS_KEY[self._version],)
        if ipset.named:
            size += _PORT_KEY_SIZE
            key = (*key, KeyType.PROTOCOL, KeyType.PORT)
        members: dict[Element, ElementValue] = {
            member: None for member in ipset.counts if len(member) == size
        }
        self._writer.add_set(names.address_set(ipset.uid, self._version), Set(key), members)
        self._update_ranges(ipset.uid, ipset.ranges, ())

    def _remove_set(self, uid: str) -> None:
        self._writer.remove_set(names.address_set(uid, self._version))
        if uid in self._ranged:
            self._ranged.discard(uid)
            self._writer.remove_set(names.range_set(uid, self._version))

    def _change_sets(self, delta: HostDelta) -> set[ResourceKey]:
        """Take up changed members; return the policies whose rules must be written anew."""
        reshaped: set[ResourceKey] = set()
        sizes = (_SIZE[self._version], _SIZE[self._version] + _PORT_KEY_SIZE)
        for uid, change in delta.sets.items():
            size = sizes[1] if self._state.sets[uid].named else sizes[0]
            name = names.address_set(uid, self._version)
            for key in change.removed:
                if len(key) == size:
                    self._writer.remove_element(name, key)
            for key in change.added:
                if len(key) == size:
                    self._writer.put_element(name, key)
            if self._update_ranges(uid, change.added_ranges, change.removed_ranges):
                reshaped |= self._blocks_of_set.get(uid, set())
        return reshaped

    def _update_ranges(
        self, uid: str, added: Iterable[AddressRange], removed: Iterable[AddressRange]
    ) -> bool:
        """Change a set's networks; tell whether it has some now and had none, or the reverse."""
        size = _SIZE[self._version]
        name = names.range_set(uid, self._version)
        came = [Range(*each) for each in added if len(each.first) == size]
        left = [Range(*each) for each in removed if len(each.first) == size]
        if uid not in self._ranged:
            if not came:
                return False
            kind = Set((ADDRESS_KEY[self._version],), interval=True)
            elements: dict[Element, ElementValue] = {}
            self._writer.add_set(name, kind, elements)
            elements.update(dict.fromkeys(came))
            self._ranged.add(uid)
            return True
        for each in left:
            self._writer.remove_element(name, each)
        for each in came:
            self._writer.put_element(name, each)
        if self._writer.state.elements[name]:
            return False
        self._writer.remove_set(name)
        self._ranged.discard(uid)
        return True

    # --- policies -----------------------------------------------------------------------------

    def _put_block(self, key: ResourceKey) -> bool:
        block = self._state.blocks[key]
        self._index_sets(key, frozenset(block.selectors()))
        return self._policies.put(block)

    def _index_sets(self, key: ResourceKey, uids: frozenset[str]) -> None:
        before = self._sets_of_block.pop(key, frozenset())
        if uids:
            self._sets_of_block[key] = uids
        for uid in uids - before:
            self._blocks_of_set.setdefault(uid, set()).add(key)
        for uid in before - uids:
            self._blocks_of_set[uid].discard(key)
            if not self._blocks_of_set[uid]:
                del self._blocks_of_set[uid]

    # --- endpoints ----------------------------------------------------------------------------

    def _update_endpoints(self, keys: Iterable[ResourceKey]) -> None:
        """Bring endpoints up to date, all at once: one may take over another's interface."""
        before: dict[tuple[str, bytes], ElementValue] = {}
        after: dict[tuple[str, bytes], ElementValue] = {}
        released: list[str] = []
        limited: dict[ResourceKey, Limited | None] = {}
        for key in keys:
            old = self._programmed.pop(key, None)
            new = self._programmed_form(self._state.endpoints.get(key))
            if new:
                self._programmed[key] = new
                after.update(_elements(new))
            if old:
                before.update(_elements(old))
                released += old.chains.values()
            self._update_spoofing(key, new)
            endpoint = self._state.endpoints.get(key) if new else None
            limited[key] = Limited.of(endpoint) if endpoint else None
        self._layout.make_room(len(self._programmed))
        for name, element in before.keys() - after.keys():
            self._writer.remove_element(name, element)
        for (name, element), verdict in after.items():
            self._writer.put_element(name, element, verdict)
        for chain in released:
            self._classes.release(chain)
        self._limits.update(limited)
        if self._settings.flow_offload:
            self._layout.offload(exceptions=self._offload.update(keys, self._state))

    def _programmed_form(self, endpoint: LocalEndpoint | None) -> _Programmed | None:
        """Return what to write for an endpoint; None if it has nothing of this IP version."""
        if endpoint is None:
            return None
        addresses = tuple(a for a in endpoint.addresses if ip_version(a) == self._version)
        sources = tuple(s for s in endpoint.sources if ip_version(s.network) == self._version)
        if not addresses and not sources:
            return None
        chains = {each: self._classes.use(WORKLOAD[each], endpoint.policy) for each in Direction}
        return _Programmed(endpoint.interface, addresses, sources, chains)

    def _update_spoofing(self, key: ResourceKey, new: _Programmed | None) -> None:
        """Keep the exceptions of endpoints that may use foreign source addresses."""
        field = Field.IP_SADDR if self._version == 4 else Field.IP6_SADDR
        rules: tuple[Rule, ...] = ()
        if new:
            admitted = metadata.admitted(self._version, self._settings)
            name = Compare(Field.IIFNAME, new.interface.encode())
            rules = tuple(
                Rule((name, InNetwork(field, network_of(source)), admitted))
                for source in new.sources
            )
        if self._spoofing.get(key, ()) == rules:
            return
        self._spoofing.pop(key, None)
        if rules:
            self._spoofing[key] = rules
        owners = sorted(self._spoofing, key=lambda owner: owner.path)
        exceptions = tuple(rule for owner in owners for rule in self._spoofing[owner])
        chain = layout.anti_spoofing(self._version, self._settings, exceptions)
        self._writer.put_chain(names.ANTI_SPOOFING, chain)


def _elements(endpoint: _Programmed) -> dict[tuple[str, bytes], ElementValue]:
    """Return the elements of an endpoint, by set."""
    interface = interface_key(endpoint.interface)
    elements: dict[tuple[str, bytes], ElementValue] = {
        (_DISPATCH[direction], interface): Verdict(VerdictKind.GOTO, chain)
        for direction, chain in endpoint.chains.items()
    }
    for address in endpoint.addresses:
        elements[names.WORKLOAD_SOURCES, interface + address] = None
    return elements
