"""Networks that a host announces besides its workloads: aggregates and blocks. Pure.

An aggregate stands for the workloads of all hosts that are in it, towards neighbours in other ASs.
Its own route in the kernel is a black hole: what is sent to an address that no workload has ends
at the host and does not go back and forth between it and the router.

A block belongs to one host, by an affinity of upstream's address management (hosts of Kubernetes
beside those of OpenStack in one cluster). It stands for its own workloads, towards everybody.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from calico_openstack.bgp.detection import Family
from calico_openstack.bgp.extras import Aggregates
from calico_openstack.datamodel.addresses import Network, parse_network

_AFFINITY: Final = re.compile(r"/calico/ipam/v2/host/([^/]+)/ipv([46])/block/([^/]+)")
_ANNOUNCED_STATES: Final = ("confirmed", "")
_PENDING: Final = "pending"


@dataclass(frozen=True, slots=True)
class Block:
    """A block of addresses of this host. ``announced``: it stands for its workloads; if not it
    only keeps what is sent to unused addresses of it from wandering."""

    network: Network
    announced: bool


def affinity_prefix(host: str) -> str:
    """Return where the affinities of a host's blocks are stored."""
    return f"/calico/ipam/v2/host/{host}/"


def affine_block(path: str) -> Network | None:
    """Return the block that a key is about, None if it is about none."""
    match = _AFFINITY.fullmatch(path)
    if match is None:
        return None
    address, _, length = match[3].rpartition("-")
    network = parse_network(f"{address}/{length}", strict=True)
    return network if network is not None and network.version == int(match[2]) else None


def affinity_state(value: bytes) -> str | None:
    """Return the state in an affinity's value (``confirmed``, ``pending``, ...); None if it is
    unreadable."""
    try:
        stored = json.loads(value)
    except (ValueError, RecursionError):
        return None
    state = stored.get("state", "") if isinstance(stored, dict) else None
    return state if isinstance(state, str) else None


def blocks_of(affinities: Mapping[Network, str]) -> tuple[Block, ...]:
    """Return the blocks that a host announces or holds, in order, from their states."""
    return tuple(
        Block(network, state in _ANNOUNCED_STATES)
        for network, state in sorted(affinities.items(), key=lambda item: _order(item[0]))
        if state != _PENDING and network.prefixlen < network.max_prefixlen
    )


def aggregated(
    aggregates: Aggregates | None, subnets: Iterable[Network], family: Family
) -> tuple[Network, ...]:
    """Return the networks that *aggregates* mean in one family, in order.

    A network inside another one goes with it; single addresses have nothing to aggregate.
    """
    if aggregates is None:
        return ()
    wanted = {*aggregates.networks, *(subnets if aggregates.subnets else ())}
    usable = [
        network
        for network in sorted(wanted, key=_order)
        if network.version == family and 0 < network.prefixlen < network.max_prefixlen
    ]
    outermost: list[Network] = []
    for network in usable:
        # In order, a network comes right after those that contain it.
        if not outermost or not _contains(outermost[-1], network):
            outermost.append(network)
    return tuple(outermost)


def _contains(outer: Network, inner: Network) -> bool:
    return (
        inner.prefixlen >= outer.prefixlen
        and outer.network_address <= inner.network_address <= outer.broadcast_address  # type: ignore[operator]
    )


def _order(network: Network) -> tuple[int, int, int]:
    return network.version, int(network.network_address), network.prefixlen
