"""What differs between two states of policy: who gains and who loses what. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

from calico_openstack.calicoctl.plan.alike import Ends, endpoints_alike, outside
from calico_openstack.calicoctl.plan.probes import Kind, joined, kinds
from calico_openstack.calicoctl.plan.world import Resources, World
from calico_openstack.datamodel import ResourceKey
from calico_openstack.policy.addresses import Prefix
from calico_openstack.policy.packet import Direction, Packet
from calico_openstack.policy.rules import PolicyRule

_BOTH = frozenset({4, 6})


class Difference(Struct, frozen=True):
    """What packets from *source* to *destination* gain or lose, by IP version."""

    source: Ends
    destination: Ends
    gained: Mapping[int, tuple[Kind, ...]]
    lost: Mapping[int, tuple[Kind, ...]]


def differences(before: Resources, after: Resources) -> Iterator[Difference]:
    """Yield what differs between two states of all resources; see `compared`."""
    return compared(World(before), World(after))


def compared(old: World, new: World) -> Iterator[Difference]:
    """Yield every pair of ends, grouped where policy cannot tell them apart, that differs.

    Both ends of a packet are asked, each in its direction.
    """
    networks = _networks(old, new)
    endpoints = {**old.cluster.endpoints, **new.cluster.endpoints}
    inside = list(endpoints_alike(endpoints, networks))
    changed = {ends.endpoint for ends in inside if is_changed(old, new, ends.endpoint)}
    everybody = [*inside, *outside(endpoints, networks)]
    for source in everybody:
        for destination in everybody:
            alone = source is destination and source.count == 1
            concerned = source.endpoint in changed or destination.endpoint in changed
            if alone or not concerned or (source.endpoint is destination.endpoint is None):
                continue
            found = _compared(old, new, source, destination)
            if any(found.gained.values()) or any(found.lost.values()):
                yield found


def is_changed(old: World, new: World, endpoint: ResourceKey | None) -> bool:
    """Tell whether what an endpoint decides may differ: its policies, their rules, or members."""
    if endpoint is None:
        return False
    if endpoint not in old.cluster.endpoints or endpoint not in new.cluster.endpoints:
        return True
    if old.policy_of(endpoint) != new.policy_of(endpoint):
        return True
    if old.blocks_of(endpoint) != new.blocks_of(endpoint):
        return True
    # Whoever is selected by rules may have changed with labels and network sets.
    moved = {
        key
        for key in old.resources.keys() | new.resources.keys()
        if old.resources.get(key) != new.resources.get(key)
    }
    return any(not key.kind.endswith(("NetworkPolicy", "Tier")) for key in moved)


def _networks(old: World, new: World) -> list[Prefix]:
    """Return all networks that rules name."""
    found: dict[Prefix, None] = {}
    for world in (old, new):
        for key in world.cluster.endpoints:
            for rule in _rules(world, key):
                for entity in (rule.source, rule.destination):
                    found.update(dict.fromkeys((*(entity.nets or ()), *entity.not_nets)))
    return list(found)


def _rules(world: World, endpoint: ResourceKey | None) -> Iterator[PolicyRule]:
    if endpoint is None or endpoint not in world.cluster.endpoints:
        return
    for block in world.blocks_of(endpoint).values():
        yield from block.ingress
        yield from block.egress


def _compared(old: World, new: World, source: Ends, destination: Ends) -> Difference:
    gained: dict[int, tuple[Kind, ...]] = {}
    lost: dict[int, tuple[Kind, ...]] = {}
    rules = [
        rule
        for world in (old, new)
        for ends in (source, destination)
        for rule in _rules(world, ends.endpoint)
    ]
    for version in sorted(source.addresses.keys() & destination.addresses.keys()):
        more: list[Kind] = []
        fewer: list[Kind] = []
        for kind in kinds(rules, version):
            packet = kind.packet(source.addresses[version], destination.addresses[version])
            passed, passes = (_passes(world, source, destination, packet) for world in (old, new))
            if passes and not passed:
                more.append(kind)
            elif passed and not passes:
                fewer.append(kind)
        if more:
            gained[version] = tuple(joined(more))
        if fewer:
            lost[version] = tuple(joined(fewer))
    return Difference(source, destination, gained, lost)


def _passes(world: World, source: Ends, destination: Ends, packet: Packet) -> bool:
    return world.allows(source.endpoint, Direction.EGRESS, packet) and world.allows(
        destination.endpoint, Direction.INGRESS, packet
    )


def lines(found: list[Difference]) -> Iterator[str]:
    """Yield differences as text."""
    if not found:
        yield "Nothing changes for any existing workload."
        return
    for sign, title, some in (
        ("-", "Lost:", [(each, each.lost) for each in found if each.lost]),
        ("+", "Gained:", [(each, each.gained) for each in found if each.gained]),
    ):
        if some:
            yield title
        for each, what in some:
            yield f"  {sign} {each.source.title} -> {each.destination.title}: {words(what)}"


def words(by_version: Mapping[int, tuple[Kind, ...]]) -> str:
    """Return kinds of packets in words; what both IP versions have is said once."""
    if len(set(by_version.values())) == 1 and by_version.keys() == _BOTH:
        return ", ".join(map(str, next(iter(by_version.values()))))
    return "; ".join(
        f"IPv{version} {', '.join(map(str, found))}" for version, found in by_version.items()
    )
