"""The incremental calculation against the whole computed from scratch, after any updates."""

from __future__ import annotations

from random import Random

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.policies import GlobalNetworkPolicy, NetworkPolicy
from calico_openstack.felix.calc import HostCalculation, HostDelta, HostState
from calico_openstack.felix.calc.ipsets import merged, port_key
from calico_openstack.policy.addresses import Prefix
from calico_openstack.policy.cluster import Cluster
from calico_openstack.policy.rules import (
    EndpointPolicy,
    HostEndpointPolicy,
    NamedPort,
    RuleBlock,
)
from tests.support.clusters import HOST, ClusterGenerator, Update, Value

Sets = dict[str, tuple[set[bytes], tuple[tuple[bytes, bytes], ...]]]
Interfaces = dict[str, frozenset[bytes]]
Governed = dict[ResourceKey, tuple[frozenset[str], HostEndpointPolicy]]
Whole = tuple[dict[ResourceKey, EndpointPolicy], Governed, dict[ResourceKey, RuleBlock], Sets]


def from_scratch(resources: dict[ResourceKey, Value], interfaces: Interfaces) -> Whole:
    """Compute endpoints, rules and sets by looking at everything."""
    cluster = Cluster(resources)
    by_interface: dict[str, list[ResourceKey]] = {}
    for key, endpoint in cluster.endpoints.items():
        if endpoint.spec.node == HOST:
            by_interface.setdefault(endpoint.spec.interface_name, []).append(key)
    local = [key for keys in by_interface.values() for key in keys]
    winners = {
        min(keys, key=lambda k: (f"{k.namespace}/{cluster.endpoints[k].spec.workload}", k.name))
        for keys in by_interface.values()
    }
    policies = {key: cluster.policy_of(key) for key in local}
    host_policies = {
        key: cluster.host_policy_of(key)
        for key, endpoint in cluster.host_endpoints.items()
        if endpoint.spec.node == HOST
    }
    used = [policy.blocks() for policy in (*policies.values(), *host_policies.values())]
    blocks = {each: cluster.block(each) for some in (*used, ready(resources)) for each in some}
    sets: Sets = {}
    for block in blocks.values():
        for uid, selector in block.selectors().items():
            chosen = [h for h in cluster.holders() if selector.matches(h.labels)]
            networks = {n for holder in chosen for n in holder.networks}
            sets[uid] = split(networks)
        for uid, named in block.named_ports().items():
            sets[uid] = (named_keys(cluster, named), ())
    return {key: policies[key] for key in winners}, governed(cluster, interfaces), blocks, sets


def governed(cluster: Cluster, interfaces: Interfaces) -> Governed:
    own = {name: interfaces[name] for name in interfaces if not name.startswith("tap")}
    found: dict[ResourceKey, set[str]] = {}
    for name, key in cluster.governors(HOST, own).items():
        found.setdefault(key, set()).add(name)
    return {k: (frozenset(names), cluster.host_policy_of(k)) for k, names in found.items()}


def ready(resources: dict[ResourceKey, Value]) -> list[ResourceKey]:
    """Return the policies whose rules are to be ready though they may apply to nothing here."""
    return [
        key
        for key, value in resources.items()
        if isinstance(value, NetworkPolicy | GlobalNetworkPolicy)
        and value.spec.performance_hints
        and getattr(value.spec, "staged_action", "") not in ("Delete", "Ignore")
    ]


def split(networks: set[Prefix]) -> tuple[set[bytes], tuple[tuple[bytes, bytes], ...]]:
    exact = {n.network for n in networks if n.length == n.bits}
    return exact, tuple(merged({n for n in networks if n.length != n.bits}))


def named_keys(cluster: Cluster, named: NamedPort) -> set[bytes]:
    return {
        port_key(network.network, protocol, port)
        for holder in cluster.holders()
        if named.selector.matches(holder.labels)
        for name, protocol, port in holder.ports
        if name in named.names and named.protocol in (None, protocol)
        for network in holder.networks
    }


def whole(state: HostState) -> Whole:
    return (
        {key: endpoint.policy for key, endpoint in state.endpoints.items()},
        {k: (e.interfaces, e.policy) for k, e in state.host_endpoints.items()},
        dict(state.blocks),
        {uid: (set(s.counts), tuple(s.ranges)) for uid, s in state.sets.items()},
    )


class Follower:
    """Rebuilds the state from deltas alone, to check that they leave nothing out."""

    def __init__(self) -> None:
        self.endpoints: dict[ResourceKey, object] = {}
        self.host_endpoints: dict[ResourceKey, object] = {}
        self.blocks: dict[ResourceKey, RuleBlock] = {}
        self.sets: dict[str, tuple[set[bytes], set[tuple[bytes, bytes]]]] = {}

    def take(self, delta: HostDelta, state: HostState) -> None:
        for mine, names, theirs in (
            (self.endpoints, delta.endpoints, state.endpoints),
            (self.host_endpoints, delta.host_endpoints, state.host_endpoints),
            (self.blocks, delta.blocks, state.blocks),
        ):
            for name in names:
                mine.pop(name, None)  # type: ignore[attr-defined]
                if name in theirs:
                    mine[name] = theirs[name]  # type: ignore[index]
        for uid in delta.gone_sets:
            del self.sets[uid]
        for uid in delta.new_sets:
            assert uid not in self.sets
            self.sets[uid] = set(state.sets[uid].counts), set(state.sets[uid].ranges)
        for uid, change in delta.sets.items():
            exact, ranges = self.sets[uid]
            assert not change.added & exact
            assert change.removed <= exact
            exact |= change.added
            exact -= change.removed
            assert change.removed_ranges <= ranges
            ranges -= change.removed_ranges
            ranges |= change.added_ranges

    def agrees(self, state: HostState) -> bool:
        sets = {uid: (set(s.counts), set(s.ranges)) for uid, s in state.sets.items()}
        mine = self.endpoints, self.host_endpoints, self.blocks, self.sets
        return mine == (state.endpoints, state.host_endpoints, state.blocks, sets)


# Seeds do not shrink to anything meaningful.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
seeds = st.integers(0, 2**32 - 1)


def applied(
    calculation: HostCalculation, resources: dict[ResourceKey, Value], batch: list[Update]
) -> None:
    """Give a batch to the calculation, and take it up in a plain mapping."""
    for key, value in batch:
        calculation.update(key, value)
        resources.pop(key, None)
        if value is not None:
            resources[key] = value


@settings(max_examples=150, deadline=None, phases=PHASES)
@given(seeds)
def test_equals_from_scratch_after_every_batch(seed: int) -> None:
    calculation = HostCalculation(HOST)
    follower = Follower()
    resources: dict[ResourceKey, Value] = {}
    generator = ClusterGenerator(Random(seed))
    for batch in generator.batches():
        applied(calculation, resources, batch)
        interfaces = generator.interfaces()
        calculation.update_interfaces(interfaces)
        delta = calculation.flush()
        assert whole(calculation.state) == from_scratch(resources, interfaces)
        follower.take(delta, calculation.state)
        assert follower.agrees(calculation.state)
        newcomer = Follower()
        newcomer.take(calculation.state.news(), calculation.state)
        assert newcomer.agrees(calculation.state)
        assert not calculation.flush()


@settings(max_examples=100, deadline=None, phases=PHASES)
@given(seeds)
def test_order_and_repetition_do_not_matter(seed: int) -> None:
    random = Random(seed)
    generator = ClusterGenerator(random)
    steps = generator.batches()
    resources: dict[ResourceKey, Value | None] = {}
    wandering = HostCalculation(HOST)
    for batch in steps:
        for key, value in batch:
            wandering.update(key, value)
            resources[key] = value
        wandering.update_interfaces(generator.interfaces())
        wandering.flush()
    interfaces = generator.interfaces()
    wandering.update_interfaces(interfaces)
    wandering.flush()
    final = list(resources.items()) * 2
    random.shuffle(final)
    direct = HostCalculation(HOST)
    direct.update_interfaces(interfaces)
    for key, value in final:
        direct.update(key, value)
    first = direct.flush()
    assert whole(wandering.state) == whole(direct.state)
    news = wandering.state.news()
    assert (news.endpoints, news.networks) == (first.endpoints, first.networks)
    assert news.withdrawals == first.withdrawals


@settings(max_examples=100, deadline=None, phases=PHASES)
@given(seeds)
def test_everything_removed_leaves_nothing(seed: int) -> None:
    calculation = HostCalculation(HOST)
    keys = set()
    generator = ClusterGenerator(Random(seed))
    for batch in generator.batches():
        for key, value in batch:
            calculation.update(key, value)
            keys.add(key)
        calculation.update_interfaces(generator.interfaces())
        calculation.flush()
    for key in keys:
        calculation.update(key, None)
    calculation.flush()
    assert whole(calculation.state) == ({}, {}, {}, {})
    assert not calculation.state.problems
    groups = calculation._groups
    assert not groups.by_id
    assert not groups._labels._by_label
    assert not groups._by_profile
    assert not groups._selectors._filed
    assert not calculation._entries
    assert not calculation._by_address
    assert not calculation._policies._matching


@settings(max_examples=150, deadline=None, phases=PHASES)
@given(seeds)
def test_judges_as_the_evaluator_does(seed: int) -> None:
    generator = ClusterGenerator(Random(seed))
    flows = {generator.packet() for _ in range(8)}
    calculation = HostCalculation(HOST)
    resources: dict[ResourceKey, Value] = {}
    previous = dict.fromkeys(flows, True)
    for batch in generator.batches():
        applied(calculation, resources, batch)
        delta = calculation.flush()
        cluster = Cluster(resources)
        for packet in flows:
            wanted = cluster.judge(packet, lambda key, _: key in calculation.state.endpoints)
            judged = calculation.judge(packet)
            assert {(v.endpoint, v.direction, v.verdict) for v in judged.verdicts} == {
                (v.endpoint, v.direction, v.verdict) for v in wanted.verdicts
            }
            # A flow that is refused now and was not before is among those to be looked at.
            if previous[packet] and not judged.allowed:
                assert any(w.concerns(packet.source, packet.destination) for w in delta.withdrawals)
            previous[packet] = judged.allowed
