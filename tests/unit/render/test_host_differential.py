"""Every way of a packet through a host: what rules do, against what the evaluator says."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Network
from random import Random

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.felix.calc import CalculationSettings, HostCalculation
from calico_openstack.felix.render import HostAction, Renderer, RenderSettings
from calico_openstack.felix.render.settings import OpenPort
from calico_openstack.policy.addresses import prefix_of
from calico_openstack.policy.cluster import Cluster
from calico_openstack.policy.passage import AlwaysOpen, HostRules, passage
from tests.support.clusters import HOST, ClusterGenerator, Value
from tests.support.hooks import through
from tests.support.nft_model import check

PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
seeds = st.integers(0, 2**32 - 1)

INBOUND = (
    OpenPort(6, None, 22),
    OpenPort(17, IPv4Network("192.0.2.0/24"), 80),
    OpenPort(6, IPv6Network("fd00::/126"), 443),
)
OUTBOUND = (OpenPort(17, None, 443), OpenPort(6, IPv4Network("10.0.0.0/30"), 80))
METADATA = IPv4Address("10.0.0.8")


def rendering(action: HostAction) -> RenderSettings:
    return RenderSettings(
        metadata_address=METADATA,
        metadata_port=80,
        vxlan_port=100,
        endpoint_to_host_action=action,
        failsafe_inbound=INBOUND,
        failsafe_outbound=OUTBOUND,
    )


def evaluation(action: HostAction) -> HostRules:
    return HostRules(
        metadata=(METADATA.packed, 80),
        vxlan_port=100,
        workloads_reach_host=action is not HostAction.DROP,
        open_inbound=tuple(map(always_open, INBOUND)),
        open_outbound=tuple(map(always_open, OUTBOUND)),
    )


def always_open(port: OpenPort) -> AlwaysOpen:
    network = None if port.network is None else prefix_of(port.network)
    return AlwaysOpen(port.protocol, network, port.port)


@settings(max_examples=200, deadline=None, phases=PHASES)
@given(seeds, st.sampled_from(HostAction))
def test_every_way_through_the_host(seed: int, action: HostAction) -> None:
    generator = ClusterGenerator(Random(seed))
    resources = generator.cluster()
    resources.update(generator.host_endpoint() for _ in range(generator.random.randint(0, 3)))
    resources.update(generator.policy() for _ in range(4))
    interfaces = generator.interfaces()
    spoofing = generator.random.randrange(2) == 0
    calculation = HostCalculation(HOST, CalculationSettings(source_spoofing=spoofing))
    calculation.update_interfaces(interfaces)
    renderer = Renderer(rendering(action), calculation.state)
    for key, value in resources.items():
        calculation.update(key, value)
    renderer.apply(calculation.flush())
    for table in renderer.desired.ruleset.values():
        check(table)
    own = {name: some for name, some in interfaces.items() if not name.startswith("tap")}
    cluster = Cluster(resources, source_spoofing=spoofing)
    host = cluster.host(HOST, own, evaluation(action))
    names = ("", "eth0", "eth1", "lo", "tap0", "tap1", "tap2", "tap5")
    for _ in range(60):
        packet = generator.packet()
        incoming, outgoing = generator.random.choice(names), generator.random.choice(names)
        rightful = [
            each.interface
            for each in calculation.state.endpoints.values()
            if packet.source in each.addresses
        ]
        if rightful and generator.random.randrange(2):
            incoming = generator.random.choice(rightful)
        if incoming == outgoing == "":
            continue
        wanted = passage(host, packet, incoming, outgoing)
        passes, tracked = through(renderer.desired, packet, incoming, outgoing)
        assert passes == wanted.allowed, (str(packet), incoming, outgoing, wanted)
        if passes:
            assert tracked == wanted.tracked, (str(packet), incoming, outgoing, wanted)


@settings(max_examples=40, deadline=None, phases=PHASES)
@given(seeds)
def test_incremental_equals_from_scratch(seed: int) -> None:
    generator = ClusterGenerator(Random(seed))
    calculation = HostCalculation(HOST)
    renderer = Renderer(rendering(HostAction.DROP), calculation.state)
    resources: dict[ResourceKey, Value] = {}
    for batch in generator.batches():
        batch += [generator.host_endpoint()]
        for key, value in batch:
            calculation.update(key, value)
            resources.pop(key, None)
            if value is not None:
                resources[key] = value
        interfaces = generator.interfaces()
        calculation.update_interfaces(interfaces)
        renderer.apply(calculation.flush())
        other = HostCalculation(HOST)
        other.update_interfaces(interfaces)
        fresh = Renderer(rendering(HostAction.DROP), other.state)
        for key, value in resources.items():
            other.update(key, value)
        fresh.apply(other.flush())
        assert renderer.desired == fresh.desired
        for table in renderer.desired.ruleset.values():
            check(table)
