"""The addresses that one selector, or one named port, stands for; see `IPSet`."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple, TypeVar

from msgspec import Struct

from calico_openstack.datamodel.selector import Selector
from calico_openstack.policy.addresses import Prefix
from calico_openstack.policy.rules import NamedPort

K = TypeVar("K")

Member = bytes | Prefix
"""What endpoints and network sets contribute: single addresses, packed, and networks."""

EndpointPort = tuple[str, int, int]
"""A named port of an endpoint: its name, its protocol's number and its port's number."""


class AddressRange(NamedTuple):
    """First and last address, both included, packed."""

    first: bytes
    last: bytes


class SetChange(Struct, frozen=True):
    """What came to a set and what left it: exact keys and, apart from them, ranges."""

    added: frozenset[bytes]
    removed: frozenset[bytes]
    added_ranges: frozenset[AddressRange]
    removed_ranges: frozenset[AddressRange]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.added_ranges or self.removed_ranges)

    def addresses(self) -> frozenset[bytes] | None:
        """Return the addresses concerned; None if they are too many to list, being ranges."""
        if self.added_ranges or self.removed_ranges:
            return None
        return frozenset(map(key_address, (*self.added, *self.removed)))


class IPSet:
    """Members of one selector or named port, of both families, with how many contribute each.

    Single addresses are exact keys: the packed address, for named ports followed by the protocol
    and the port, each padded to four bytes (nftables' layout of concatenations). Networks are kept
    apart and come out as the fewest disjoint ranges, because interval sets refuse overlaps. An
    address stays as long as anything contributes it. Changes are netted until `flush`.
    """

    __slots__ = (
        "_before",
        "_names",
        "_networks",
        "_stale",
        "counts",
        "named",
        "ranges",
        "selector",
        "uid",
    )

    def __init__(self, selector: Selector, named: NamedPort | None = None) -> None:
        self.selector = selector
        self.named = named
        self._names = frozenset(named.names if named else ())
        self.uid = named.uid if named else selector.uid
        self.counts: dict[bytes, int] = {}
        self.ranges: tuple[AddressRange, ...] = ()
        self._networks: dict[Prefix, int] = {}
        self._before: dict[bytes, bool] = {}
        self._stale = False

    def add(self, member: Member, ports: Iterable[EndpointPort]) -> None:
        """Count in one contribution of a holder with these named ports."""
        if isinstance(member, Prefix):
            if self.named is None:
                self._networks[member] = self._networks.get(member, 0) + 1
                self._stale = True
            return
        for key in self._keys(member, ports):
            count = self.counts.get(key, 0)
            if not count:
                self._before.setdefault(key, False)
            self.counts[key] = count + 1

    def remove(self, member: Member, ports: Iterable[EndpointPort]) -> None:
        """Take out a contribution that was counted in before."""
        if isinstance(member, Prefix):
            if self.named is None:
                _decrement(self._networks, member)
                self._stale = True
            return
        for key in self._keys(member, ports):
            if _decrement(self.counts, key):
                self._before.setdefault(key, True)

    def flush(self) -> SetChange:
        """Return what changed since the last call."""
        added = frozenset(k for k, was in self._before.items() if not was and k in self.counts)
        removed = frozenset(k for k, was in self._before.items() if was and k not in self.counts)
        self._before = {}
        old = frozenset(self.ranges)
        if self._stale:
            self.ranges = merged(self._networks)
            self._stale = False
        new = frozenset(self.ranges)
        return SetChange(added, removed, new - old, old - new)

    def __contains__(self, key: bytes) -> bool:
        """Tell whether an exact key is a member, or an address lies in a range."""
        if key in self.counts:
            return True
        # The ranges of both families stand in one tuple, shorter addresses first.
        place = bisect_right(self.ranges, (len(key), key), key=_range_order) - 1
        if place < 0:
            return False
        found = self.ranges[place]
        return len(found.last) == len(key) and key <= found.last

    def _keys(self, address: bytes, ports: Iterable[EndpointPort]) -> Iterator[bytes]:
        named = self.named
        if named is None:
            yield address
            return
        for name, protocol, port in ports:
            if name in self._names and named.protocol in (None, protocol):
                yield port_key(address, protocol, port)


def port_key(address: bytes, protocol: int, port: int) -> bytes:
    """Return the key of a named port's set: address, protocol and port, padded to four bytes."""
    return address + bytes((protocol, 0, 0, 0)) + port.to_bytes(2, "big") + b"\0\0"


def key_address(key: bytes) -> bytes:
    """Return the address in an exact key of a set, which may be that of a named port."""
    return key if len(key) in (4, 16) else key[:-8]


def merged(networks: Collection[Prefix]) -> tuple[AddressRange, ...]:
    """Return the fewest ranges that cover exactly *networks*; IPv4 first, ascending."""
    result: list[AddressRange] = []
    for size in (4, 16):
        bounds = sorted((n.first, n.last) for n in networks if len(n.network) == size)
        joined: list[tuple[int, int]] = []
        for first, last in bounds:
            if joined and first <= joined[-1][1] + 1:
                joined[-1] = (joined[-1][0], max(joined[-1][1], last))
            else:
                joined.append((first, last))
        result += [
            AddressRange(a.to_bytes(size, "big"), b.to_bytes(size, "big")) for a, b in joined
        ]
    return tuple(result)


def _range_order(found: AddressRange) -> tuple[int, bytes]:
    return len(found.first), found.first


def _decrement(counts: dict[K, int], key: K) -> bool:
    """Lower a count; tell whether the key is gone."""
    count = counts[key] - 1
    if count:
        counts[key] = count
        return False
    del counts[key]
    return True
