"""What upstream's client refuses to write because of what else is stored, or was before.

Validation judges an object by itself; these are the rules between objects (specification sections
1.5, 1.7 and 1.10). Agents take whatever is stored: without a tier its policies come last, behind
those that may allow what they deny, so nobody is to remove one by mistake.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from calico_openstack.datamodel import (
    BGPFilter,
    BGPPeer,
    GlobalNetworkPolicy,
    IPPool,
    NetworkPolicy,
    Resource,
    ResourceKey,
    StagedGlobalNetworkPolicy,
    StagedNetworkPolicy,
    Tier,
    decode,
    parse_key,
    prefix_of,
)
from calico_openstack.datamodel.addresses import parse_network
from calico_openstack.datamodel.invalid import as_far_as_read
from calico_openstack.datamodel.policies import DEFAULT_TIER
from calico_openstack.etcd import EtcdClient

BUILT_IN_TIERS: Final = {
    DEFAULT_TIER: (1_000_000.0, "Deny"),
    "kube-admin": (1_000.0, "Pass"),
    "kube-baseline": (10_000_000.0, "Pass"),
}
"""Order and default action of the tiers that upstream creates in an empty datastore."""

_POLICIES: Final = (
    NetworkPolicy,
    GlobalNetworkPolicy,
    StagedNetworkPolicy,
    StagedGlobalNetworkPolicy,
)
_BLOCK_SIZE: Final = {4: 26, 6: 122}
_SHOWN: Final = 5


def refusal_to_write(client: EtcdClient, resource: Resource, before: Resource | None) -> str:
    """Return why *resource* may not replace *before* (None: be created), "" if it may.

    Raises EtcdError.
    """
    match resource:
        case NetworkPolicy() | GlobalNetworkPolicy():
            tier = _tier(resource)
            return "" if _tier(before) == tier else _missing_tier(client, tier)
        case Tier():
            return _changed_tier(resource)
        case BGPPeer():
            known = before.spec.filters if isinstance(before, BGPPeer) else ()
            return _missing_filters(client, resource, known)
        case IPPool():
            old = before if isinstance(before, IPPool) else None
            return _overlap(client, resource) if old is None else _changed_pool(old, resource)
    return ""


def refusal_to_delete(client: EtcdClient, key: ResourceKey) -> str:
    """Return why a resource may not be removed, "" if it may; raises EtcdError."""
    if key.kind != Tier.KIND:
        return ""
    if key.name in BUILT_IN_TIERS:
        return "it is built in"
    users = [
        f"{cls.KIND}({'/'.join(filter(None, (each.namespace, each.name)))})"
        for cls in _POLICIES
        for each, policy in _stored(client, cls)
        if _tier(policy) == key.name
    ]
    more = f" and {len(users) - _SHOWN} more" if len(users) > _SHOWN else ""
    return f"it has policies: {', '.join(users[:_SHOWN])}{more}" if users else ""


def _tier(resource: Resource | None) -> str:
    """Return the tier of a policy, "" for what is none."""
    if not isinstance(resource, NetworkPolicy | GlobalNetworkPolicy):
        return ""
    return resource.spec.tier or DEFAULT_TIER


def _missing_tier(client: EtcdClient, name: str) -> str:
    if client.get(ResourceKey(Tier.KIND, name).path) is not None:
        return ""
    return f"error with field Tier = '{name}' (there is no such tier)"


def _changed_tier(tier: Tier) -> str:
    """Return what is wrong with a tier of Kubernetes, whose place in the order is fixed."""
    name, spec = tier.metadata.name, tier.spec
    if name == DEFAULT_TIER or name not in BUILT_IN_TIERS:
        return ""
    order, action = BUILT_IN_TIERS[name]
    if (spec.order, spec.default_action) == (order, action):
        return ""
    return f"order {order:g} and defaultAction {action} of this tier cannot be changed"


def _missing_filters(client: EtcdClient, peer: BGPPeer, known: tuple[str, ...]) -> str:
    """Return which filters do not exist, but for *known* ones, which are no news."""
    names = dict.fromkeys(each for each in peer.spec.filters if each not in known)
    missing = [n for n in names if client.get(ResourceKey(BGPFilter.KIND, n).path) is None]
    return f"error with field Filters = {missing} (no such BGPFilter)" if missing else ""


def _changed_pool(before: IPPool, pool: IPPool) -> str:
    network = parse_network(pool.spec.cidr)
    if network is None or network != parse_network(before.spec.cidr):
        return f"error with field CIDR = '{pool.spec.cidr}' (it cannot be changed)"
    default = _BLOCK_SIZE[network.version]
    if (pool.spec.block_size or default) != (before.spec.block_size or default):
        return f"error with field BlockSize = '{pool.spec.block_size}' (it cannot be changed)"
    return ""


def _overlap(client: EtcdClient, pool: IPPool) -> str:
    network = parse_network(pool.spec.cidr)
    for key, other in _stored(client, IPPool):
        known = parse_network(other.spec.cidr) if isinstance(other, IPPool) else None
        if known and network and key.name != pool.metadata.name and known.overlaps(network):
            return f"error with field CIDR = '{pool.spec.cidr}' (IPPool({key.name}) overlaps it)"
    return ""


def _stored(client: EtcdClient, cls: type[Resource]) -> Iterator[tuple[ResourceKey, Resource]]:
    """Yield all resources of a kind, of invalid ones what can be read."""
    for page in client.iterate_prefix(prefix_of(cls.KIND)):
        for kv in page.kvs:
            key = parse_key(kv.key)
            found = as_far_as_read(decode(kv.key, kv.value))
            if isinstance(key, ResourceKey) and found is not None:
                yield key, found
