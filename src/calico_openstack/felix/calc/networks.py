"""The networks of the cluster as a whole: address pools, and the addresses of the hosts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from calico_openstack.datamodel.addresses import Address, parse_address
from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.nodes import Node
from calico_openstack.datamodel.pools import IPPool
from calico_openstack.felix.calc.ipsets import AddressRange, merged
from calico_openstack.policy.addresses import Prefix, pack_prefix


class ClusterNetworks(Struct, frozen=True):
    """Disjoint ranges of both families, IPv4 first: what belongs to the cluster.

    ``pools``: all address pools, whether addresses may be taken from them or not. ``masqueraded``:
    those of them whose addresses are not to be seen outside of the cluster. ``hosts``: the hosts'
    own addresses, packed.
    """

    pools: tuple[AddressRange, ...] = ()
    masqueraded: tuple[AddressRange, ...] = ()
    hosts: frozenset[bytes] = frozenset()


class NetworkTable:
    """Keeps `ClusterNetworks` from pools and nodes; there are few of the former.

    Of several pools with the same network the one with the lowest name counts.
    """

    def __init__(self) -> None:
        self._pools: dict[str, tuple[Prefix, bool]] = {}
        self._hosts: dict[str, frozenset[bytes]] = {}
        self._stale = False

    def update_pool(self, key: ResourceKey, pool: IPPool | None) -> None:
        """Take up the present value of a pool."""
        new = (pack_prefix(pool.spec.cidr), pool.spec.nat_outgoing) if pool else None
        if self._pools.pop(key.name, None) != new:
            self._stale = True
        if new:
            self._pools[key.name] = new

    def update_node(self, key: ResourceKey, node: Node | None) -> None:
        """Take up the present value of a node."""
        new = _addresses(node) if node else frozenset()
        if self._hosts.pop(key.name, frozenset()) != new:
            self._stale = True
        if new:
            self._hosts[key.name] = new

    def flush(self, before: ClusterNetworks) -> ClusterNetworks:
        """Return what holds now, given what held at the last call."""
        if not self._stale:
            return before
        self._stale = False
        hidden = dict(self._pools[name] for name in sorted(self._pools, reverse=True))
        return ClusterNetworks(
            pools=merged(hidden),
            masqueraded=merged({prefix for prefix in hidden if hidden[prefix]}),
            hosts=frozenset[bytes]().union(*self._hosts.values()),
        )


def _addresses(node: Node) -> frozenset[bytes]:
    """Return by which address of each IP version a host is known (specification section 1.10).

    That of BGP, if it says its network, else the first internal one, else the first external one.
    """
    bgp = node.spec.bgp
    networks = (bgp.ipv4_address, bgp.ipv6_address) if bgp else ()
    texts = [text for text in networks if "/" in text]
    for kind in ("InternalIP", "ExternalIP"):
        texts += [each.address for each in node.spec.addresses if each.type == kind]
    found: dict[int, Address] = {}
    for address in _parsed(texts):
        found.setdefault(address.version, address)
    return frozenset(address.packed for address in found.values())


def _parsed(texts: Iterable[str]) -> Iterator[Address]:
    for text in texts:
        if address := parse_address(text.partition("/")[0]):
            yield address
