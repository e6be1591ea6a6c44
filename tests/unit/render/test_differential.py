"""What the rendered rules do with a packet, against what the evaluator says about it."""

from __future__ import annotations

from random import Random

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.felix.calc import HostCalculation
from calico_openstack.felix.render import TABLES, HostAction, Renderer, RenderSettings
from calico_openstack.felix.render.dataplane import DataplaneDelta, DesiredDataplane
from calico_openstack.felix.render.nft import Family, Set, Table, TableState
from calico_openstack.policy.cluster import Cluster
from calico_openstack.policy.packet import Direction, Packet
from tests.support.clusters import HOST, ClusterGenerator, Value
from tests.support.nft_model import Frame, Machine, Outcome, check, unreachable_chains, unused_sets

PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
seeds = st.integers(0, 2**32 - 1)

# Sets that are there before anything uses them.
ALWAYS_SETS = {
    *("workload-sources", "workload-addresses", "from-workload", "to-workload"),
    *("network-ip-pools", "masq-ipam-pools"),
}
# Chains that only policy leads to.
ALWAYS_CHAINS = {
    *("egress-allowed", "endpoint-to-host"),
    *("forwarded-from-host", "pre-dnat-allowed", "untracked-allowed"),
}


def frame_of(packet: Packet, iifname: str, oifname: str, **more: int) -> Frame:
    return Frame(
        iifname,
        oifname,
        packet.source,
        packet.destination,
        packet.protocol,
        packet.source_port,
        packet.destination_port,
        packet.icmp_type,
        packet.icmp_code,
        **more,  # type: ignore[arg-type]
    )


def run(desired: DesiredDataplane, chain: str, frame: Frame) -> Outcome:
    family = Family.IP if len(frame.source) == 4 else Family.IP6
    return Machine(desired.ruleset[Table(family, "calico")], frame).run(chain)


def programmed(
    resources: dict[ResourceKey, Value], **options: object
) -> tuple[HostCalculation, Renderer]:
    calculation = HostCalculation(HOST)
    renderer = Renderer(RenderSettings(**options), calculation.state)  # type: ignore[arg-type]
    for key, value in resources.items():
        calculation.update(key, value)
    renderer.apply(calculation.flush())
    return calculation, renderer


def verify_packets(
    calculation: HostCalculation, renderer: Renderer, cluster: Cluster, packets: list[Packet]
) -> None:
    """Send packets from every local sender, or from outside, to every local receiver, or out."""
    endpoints = calculation.state.endpoints
    for packet in packets:
        senders = [e for e in endpoints.values() if packet.source in e.addresses]
        receivers = [e for e in endpoints.values() if packet.destination in e.addresses]
        for sender in senders or [None]:
            for receiver in receivers or [None]:
                concerned = {
                    (each.key, direction)
                    for each, direction in (
                        (sender, Direction.EGRESS),
                        (receiver, Direction.INGRESS),
                    )
                    if each
                }
                wanted = cluster.judge(packet, lambda k, d, c=concerned: (k, d) in c)  # type: ignore[misc]
                frame = frame_of(
                    packet,
                    sender.interface if sender else "eth0",
                    receiver.interface if receiver else "eth1",
                    mark=0xFFFF0000,
                )
                got = run(renderer.desired, "filter-forward", frame)
                assert got.accepted == wanted.allowed, (str(packet), got, wanted)
                assert run(renderer.desired, "raw-prerouting", frame).accepted


@settings(max_examples=300, deadline=None, phases=PHASES)
@given(seeds)
def test_rules_do_what_the_evaluator_says(seed: int) -> None:
    generator = ClusterGenerator(Random(seed))
    resources = generator.workloads()
    calculation, renderer = programmed(resources)
    verify_packets(
        calculation, renderer, Cluster(resources), [generator.packet() for _ in range(30)]
    )


# What a workload may always send to its host over IPv6 (specification section 3.9).
NEIGHBOUR_DISCOVERY = {130, 131, 132, 133, 135, 136}


@settings(max_examples=100, deadline=None, phases=PHASES)
@given(seeds, st.sampled_from(HostAction))
def test_packets_to_the_host(seed: int, action: HostAction) -> None:
    generator = ClusterGenerator(Random(seed))
    resources = generator.workloads()
    calculation, renderer = programmed(resources, endpoint_to_host_action=action)
    cluster = Cluster(resources)
    for _ in range(20):
        packet = generator.packet()
        if packet.protocol == 58 and packet.icmp_type in NEIGHBOUR_DISCOVERY:
            continue  # it passes before any policy
        for sender in calculation.state.endpoints.values():
            if packet.source not in sender.addresses:
                continue
            wanted = cluster.judge(
                packet,
                lambda k, d, s=sender: (k, d) == (s.key, Direction.EGRESS),  # type: ignore[misc]
            )
            got = run(renderer.desired, "filter-input", frame_of(packet, sender.interface, ""))
            assert got.accepted == (wanted.allowed and action is not HostAction.DROP)


@settings(max_examples=40, deadline=None, phases=PHASES)
@given(seeds)
def test_incremental_equals_from_scratch(seed: int) -> None:
    generator = ClusterGenerator(Random(seed))
    calculation = HostCalculation(HOST)
    renderer = Renderer(RenderSettings(), calculation.state)
    resources: dict[ResourceKey, Value] = {}
    follower = DesiredDataplane()
    for batch in generator.batches():
        for key, value in batch:
            calculation.update(key, value)
            resources.pop(key, None)
            if value is not None:
                resources[key] = value
        delta = renderer.apply(calculation.flush())
        follow(follower, renderer.desired, delta)
        assert follower == renderer.desired
        _, fresh = programmed(resources)
        assert renderer.desired == fresh.desired
        assert not renderer.apply(calculation.flush())
        for table in renderer.desired.ruleset.values():
            check(table)
            assert unreachable_chains(table) <= ALWAYS_CHAINS
            assert all(name.startswith("cali") for name in unused_sets(table) - ALWAYS_SETS)


def follow(mine: DesiredDataplane, theirs: DesiredDataplane, delta: DataplaneDelta) -> None:
    """Rebuild the desired state from deltas alone, to check that they leave nothing out."""
    for table in TABLES:
        mine.ruleset.setdefault(table, TableState())
    for table, changed in delta.tables.items():
        state, source = mine.ruleset[table], theirs.ruleset[table]
        copy(state.chains, source.chains, changed.chains)
        copy(state.sets, source.sets, changed.sets)
        for name in changed.sets:
            state.elements.pop(name, None)
            if name in source.elements:
                state.elements[name] = dict(source.elements[name])
        for name, elements in changed.elements.items():
            assert isinstance(source.sets[name], Set)
            copy(state.elements[name], source.elements[name], elements)
    copy(mine.routes, theirs.routes, delta.routes)
    copy(mine.neighbours, theirs.neighbours, delta.neighbours)
    copy(mine.interfaces, theirs.interfaces, delta.interfaces)
    copy(mine.globals, theirs.globals, delta.globals)
    mine.peers = (mine.peers - delta.peers) | (theirs.peers & delta.peers)
    copy(mine.translations, theirs.translations, delta.translations)


def copy(mine: dict, theirs: dict, names: set) -> None:  # type: ignore[type-arg]
    for name in names:
        mine.pop(name, None)
        if name in theirs:
            mine[name] = theirs[name]
