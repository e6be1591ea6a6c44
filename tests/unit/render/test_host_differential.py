"""Every way of a packet through a host: what rules do, against what the evaluator says."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Network
from random import Random

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from msgspec import structs

from calico_openstack.datamodel.endpoints import QosControls, WorkloadEndpoint
from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.felix.calc import CalculationSettings, HostCalculation, LocalEndpoint
from calico_openstack.felix.render import HostAction, Renderer, RenderSettings
from calico_openstack.felix.render.qos import packet_limits
from calico_openstack.felix.render.settings import OpenPort
from calico_openstack.policy.addresses import prefix_of
from calico_openstack.policy.cluster import Cluster
from calico_openstack.policy.packet import Direction, Packet
from calico_openstack.policy.passage import AlwaysOpen, HostRules, Place, passage
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


LIMITED = (
    *(None, None),
    QosControls(ingress_packet_rate=1),
    QosControls(egress_packet_rate=1),
    QosControls(ingress_max_connections=1, egress_packet_rate=1),
    QosControls(egress_max_connections=1),
)


def limited(value: Value, random: Random) -> Value:
    """Give a workload's endpoint, if it is one, limits."""
    if not isinstance(value, WorkloadEndpoint):
        return value
    spec = structs.replace(value.spec, qos_controls=random.choice(LIMITED))
    return structs.replace(value, spec=spec)


def limits(endpoint: LocalEndpoint | None, direction: Direction, packet: Packet) -> bool:
    """Tell whether an endpoint has a limit that such a packet can meet."""
    if endpoint is None:
        return False
    found = packet_limits(endpoint.spec.qos_controls, direction)
    return bool(found.rate or (found.connections and packet.protocol == 6))


@settings(max_examples=200, deadline=None, phases=PHASES)
@given(
    seeds,
    st.booleans(),
    st.booleans(),
    st.sampled_from([("tap",), ("tap0", "tap"), ("t",), ("vif", "tap")]),
    st.sampled_from([0xFFFF0000, 0x3]),
)
def test_limits_and_settings_on_every_way(
    seed: int, drop_invalid: bool, flow_offload: bool, prefixes: tuple[str, ...], mark_mask: int
) -> None:
    """Below the limits nothing changes; above them nothing passes that did not, either."""
    generator = ClusterGenerator(Random(seed))
    random = generator.random
    resources = generator.cluster()
    resources.update(generator.host_endpoint() for _ in range(random.randint(0, 3)))
    resources.update(generator.policy() for _ in range(4))
    interfaces = {n: some for n, some in generator.interfaces().items() if not n.startswith("tap")}
    calculation = HostCalculation(HOST)
    calculation.update_interfaces(interfaces)
    rendered = structs.replace(
        rendering(HostAction.ACCEPT),
        drop_invalid=drop_invalid,
        flow_offload=flow_offload,
        interface_prefixes=prefixes,
        mark_mask=mark_mask,
    )
    renderer = Renderer(rendered, calculation.state)
    for key, value in resources.items():
        calculation.update(key, limited(value, random))
    renderer.apply(calculation.flush())
    for table in renderer.desired.ruleset.values():
        check(table)
    rules = structs.replace(evaluation(HostAction.ACCEPT), workload_prefixes=prefixes)
    host = Cluster(resources).host(HOST, interfaces, rules)
    endpoints = {each.interface: each for each in calculation.state.endpoints.values()}
    names = ("", "eth0", "eth1", *(f"tap{number}" for number in range(6)))
    for _ in range(60):
        packet = generator.packet()
        incoming, outgoing = random.choice(names), random.choice(names)
        if incoming == outgoing == "":
            continue
        wanted = passage(host, packet, incoming, outgoing)
        passes, _ = through(renderer.desired, packet, incoming, outgoing)
        assert passes == wanted.allowed, (str(packet), incoming, outgoing, wanted)
        # What the host sends to workloads, and offers to all of them, has no limit.
        free = not incoming or any(step.place is Place.SERVICE for step in wanted.steps)
        meets = not free and (
            limits(endpoints.get(incoming), Direction.EGRESS, packet)
            or limits(endpoints.get(outgoing), Direction.INGRESS, packet)
        )
        above, _ = through(renderer.desired, packet, incoming, outgoing, above_limits=True)
        assert above == (wanted.allowed and not meets), (str(packet), incoming, outgoing)


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
