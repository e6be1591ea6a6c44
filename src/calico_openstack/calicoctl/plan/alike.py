"""Ends of flows grouped by what policy can know of them. Pure.

Policy looks at labels, profiles, named ports, and at which networks of rules an address lies in. Of
endpoints that have all of that in common one can be asked for all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from msgspec import Struct

from calico_openstack.calicoctl.naming import called, port_name, port_title
from calico_openstack.calicoctl.wording import groups_of
from calico_openstack.datamodel import ResourceKey, WorkloadEndpoint
from calico_openstack.policy.addresses import Prefix, ip_version, pack_address, unpack_address

# Where to look for an address that no rule's network has (RFC 5737, RFC 3849).
_ELSEWHERE = {4: ("192.0.2.77", "198.51.100.77", "203.0.113.77"), 6: ("2001:db8:77::77",)}
_SHOWN = 3


class Ends(Struct, frozen=True):
    """Ends that are alike: *endpoint* (None: outside) and *addresses*, one a version, for all.

    *title* is what people call them, *count* how many they are.
    """

    title: str
    endpoint: ResourceKey | None
    addresses: Mapping[int, bytes]
    count: int = 1


def endpoints_alike(
    endpoints: Mapping[ResourceKey, WorkloadEndpoint], networks: Collection[Prefix]
) -> Iterator[Ends]:
    """Yield the endpoints, grouped; *networks* are those that rules name."""
    grouped: dict[object, list[ResourceKey]] = {}
    for key, endpoint in endpoints.items():
        spec = endpoint.spec
        addresses = _addresses(endpoint)
        places = tuple(
            network for network in networks if any(network.covers(a) for a in addresses.values())
        )
        labels = frozenset(endpoint.metadata.labels.items())
        identity = labels, spec.profiles, spec.ports, places, tuple(addresses)
        grouped.setdefault(identity, []).append(key)
    for keys in grouped.values():
        first = endpoints[keys[0]]
        title = _title([endpoints[key] for key in keys])
        yield Ends(title, keys[0], _addresses(first), len(keys))


def outside(
    endpoints: Mapping[ResourceKey, WorkloadEndpoint], networks: Sequence[Prefix]
) -> Iterator[Ends]:
    """Yield ends that are no endpoints: one in each of the *networks*, and one in none."""
    taken = {pack_address(a) for each in endpoints.values() for a in each.spec.ip_networks}
    for network in networks:
        address = _free(network, taken, networks)
        if address is not None and network.length:
            yield Ends(f"outside in {network}", None, {ip_version(address): address})
    for version, texts in _ELSEWHERE.items():
        for packed in map(pack_address, texts):
            if not any(network.covers(packed) for network in networks if network.length):
                yield Ends("outside", None, {version: packed})
                break


def _free(network: Prefix, taken: Collection[bytes], networks: Collection[Prefix]) -> bytes | None:
    """Return an address of a network that no endpoint and no narrower network has, if any."""
    size = len(network.network)
    narrower = [
        each for each in networks if each.length > network.length and network.covers(each.network)
    ]
    number = network.first
    while number <= network.last:
        packed = number.to_bytes(size, "big")
        inside = [each.last for each in narrower if each.covers(packed)]
        if not inside and packed not in taken:
            return packed
        number = max(inside, default=number) + 1
    return None


def _addresses(endpoint: WorkloadEndpoint) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for network in endpoint.spec.ip_networks:
        packed = pack_address(network)
        found.setdefault(ip_version(packed), packed)
    return found


def _title(alike: Sequence[WorkloadEndpoint]) -> str:
    groups = groups_of(alike[0].metadata.labels).values()
    of = ", ".join(called(group.name, group.id) for group in groups)
    where = f"of security group {of}" if of else "without a security group"
    if len(alike) > 1:
        shown = [
            port_title(each.metadata.annotations, each.spec.endpoint)
            for each in alike
            if port_name(each.metadata.annotations)
        ]
        rest = ", ..." if len(alike) > _SHOWN else ""
        examples = f" ({', '.join(shown[:_SHOWN])}{rest})" if shown else ""
        return f"{len(alike)} ports {where}{examples}"
    addresses = _addresses(alike[0])
    address = unpack_address(next(iter(addresses.values()))) if addresses else "no address"
    title = port_title(alike[0].metadata.annotations, alike[0].spec.endpoint)
    return f"port {title} ({address}) {where}"
