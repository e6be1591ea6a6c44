"""Floating addresses and what leaves the cluster: what the rendered rules make of packets."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address, ip_network
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from calico_openstack.datamodel.endpoints import IpNat, WorkloadEndpoint
from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.nodes import Node, NodeAddress, NodeBgpSpec, NodeSpec
from calico_openstack.datamodel.pools import IPPool, IPPoolSpec
from calico_openstack.datamodel.resource import Metadata
from calico_openstack.felix.calc import HostCalculation
from calico_openstack.felix.render import Renderer
from calico_openstack.felix.render.dataplane import DesiredDataplane
from calico_openstack.felix.render.nft import Element, ElementValue, Family, Table
from calico_openstack.policy.addresses import pack_address
from calico_openstack.policy.cluster import Cluster
from calico_openstack.policy.packet import Direction
from tests.support.clusters import (
    ADDRESSES_4,
    ADDRESSES_6,
    FLOATING_4,
    FLOATING_6,
    HOST,
    ClusterGenerator,
    Value,
)
from tests.support.nft_model import MASQUERADED, Frame, Machine
from tests.unit.render.test_differential import PHASES, frame_of, programmed, seeds

NatPair = tuple[str, str]


def passed(desired: DesiredDataplane, hook: str, frame: Frame) -> Frame:
    """Return what a hook's chain, if it is there, makes of a packet."""
    family = Family.IP if len(frame.source) == 4 else Family.IP6
    table = desired.ruleset[Table(family, "calico")]
    return Machine(table, frame).run(hook).frame if hook in table.chains else frame


def leads_to(calculation: HostCalculation) -> dict[bytes, bytes]:
    """Return the internal address of each external one, by looking at all claims."""
    claims: dict[str, set[str]] = {}
    for endpoint in calculation.state.endpoints.values():
        for nat in endpoint.spec.ip_nats:
            claims.setdefault(nat.external_ip, set()).add(nat.internal_ip)
    return {pack_address(e): pack_address(min(internal)) for e, internal in claims.items()}


@settings(max_examples=200, deadline=None, phases=PHASES)
@given(seeds)
def test_policy_judges_what_a_floating_address_leads_to(seed: int) -> None:
    generator = ClusterGenerator(Random(seed))
    resources = generator.workloads()
    calculation, renderer = programmed(resources)
    cluster = Cluster(resources)
    wanted = leads_to(calculation)
    endpoints = calculation.state.endpoints.values()
    for _ in range(20):
        packet = generator.packet()
        pool = FLOATING_4 if packet.ip_version == 4 else FLOATING_6
        external = pack_address(generator.random.choice(pool))
        sent = frame_of(structs.replace(packet, destination=external), "eth0", "")
        for hook in ("nat-prerouting", "nat-output"):
            arrived = passed(renderer.desired, hook, sent)
            assert arrived.destination == wanted.get(external, external)
        internal = wanted.get(external)
        if internal is None:
            continue
        seen = structs.replace(packet, destination=internal)
        receivers = [each for each in endpoints if internal in each.addresses]
        for receiver in receivers:
            judgement = cluster.judge(
                seen,
                lambda k, d, r=receiver: (k, d) == (r.key, Direction.INGRESS),  # type: ignore[misc]
            )
            family = Family.IP if packet.ip_version == 4 else Family.IP6
            table = renderer.desired.ruleset[Table(family, "calico")]
            frame = replace(arrived, oifname=receiver.interface, iifname="eth0")
            assert Machine(table, frame).run("filter-forward").accepted == judgement.allowed
        # What the address leads to is where it is routed, so that it can be announced.
        route = renderer.desired.routes[ip_network(external)]
        assert route.interface in {each.interface for each in receivers}


@settings(max_examples=100, deadline=None, phases=PHASES)
@given(seeds)
def test_only_hairpins_show_a_floating_address(seed: int) -> None:
    generator = ClusterGenerator(Random(seed))
    # Pools have effects of their own.
    resources = {k: v for k, v in generator.workloads().items() if k.kind != "IPPool"}
    calculation, renderer = programmed(resources)
    wanted = leads_to(calculation)
    for text in (*ADDRESSES_4, *ADDRESSES_6):
        internal = pack_address(text)
        externals = [str(ip_address(e)) for e, i in wanted.items() if i == internal]
        frame = Frame("tap1", "tap1", internal, internal, 6, 1000, 80)
        shown = passed(renderer.desired, "nat-postrouting", frame).source
        assert shown == (pack_address(min(externals)) if externals else internal)
        other = replace(frame, destination=bytes(len(internal)))
        assert passed(renderer.desired, "nat-postrouting", other) == other


def endpoint(number: int, *nats: NatPair, **changes: object) -> tuple[ResourceKey, Value]:
    key, value = ClusterGenerator(Random(0)).endpoint()
    assert isinstance(value, WorkloadEndpoint)
    pairs = tuple(IpNat(internal_ip=i, external_ip=e) for i, e in nats)
    spec = {
        **{name: getattr(value.spec, name) for name in value.spec.__struct_fields__},
        "node": HOST,
        "interface_name": f"tap{number}",
        "endpoint": f"port{number}",
        "ip_networks": tuple(dict.fromkeys(i for i, _ in nats)) or ("10.0.0.1",),
        "ip_nats": pairs,
        **changes,
    }
    name = f"{key.name}{number}"
    changed = WorkloadEndpoint(metadata=Metadata(name=name), spec=type(value.spec)(**spec))
    return ResourceKey("WorkloadEndpoint", name, key.namespace), changed


def floating(renderer: Renderer, family: Family = Family.IP) -> dict[Element, ElementValue]:
    return renderer.desired.ruleset[Table(family, "calico")].elements.get("floating", {})


def test_the_lowest_internal_address_wins_as_text() -> None:
    resources = dict(
        [
            endpoint(1, ("10.0.0.9", "198.51.100.1")),
            endpoint(2, ("10.0.0.10", "198.51.100.1")),
        ]
    )
    calculation, renderer = programmed(resources)
    external, first, second = map(pack_address, ("198.51.100.1", "10.0.0.10", "10.0.0.9"))
    assert floating(renderer) == {external: first}
    assert renderer.desired.routes[ip_network("198.51.100.1")].interface == "tap2"
    assert renderer.desired.translations == {IPv4Address(external): IPv4Address(first)}
    # When the winner goes the other one follows; when it goes too, nothing is left.
    keys = list(resources)
    calculation.update(keys[1], None)
    delta = renderer.apply(calculation.flush())
    assert floating(renderer) == {external: second}
    assert renderer.desired.routes[ip_network("198.51.100.1")].interface == "tap1"
    assert delta.translations == {IPv4Address(external)}
    calculation.update(keys[0], None)
    renderer.apply(calculation.flush())
    table = renderer.desired.ruleset[Table(Family.IP, "calico")]
    assert not {"floating", "floating-hairpin"} & table.sets.keys()
    assert not {"nat-prerouting", "nat-output", "nat-postrouting"} & table.chains.keys()
    assert renderer.desired.translations == {}
    assert renderer.desired.routes == {}


def test_a_new_interface_takes_the_routes_of_floating_addresses_with_it() -> None:
    key, value = endpoint(1, ("10.0.0.9", "198.51.100.1"))
    calculation, renderer = programmed({key: value})
    _, moved = endpoint(1, ("10.0.0.9", "198.51.100.1"), interface_name="tap9")
    calculation.update(key, moved)
    delta = renderer.apply(calculation.flush())
    assert ip_network("198.51.100.1") in delta.routes
    assert renderer.desired.routes[ip_network("198.51.100.1")].interface == "tap9"
    assert delta.translations == set()


@pytest.mark.parametrize("enabled", [False, True])
def test_other_orchestrators_need_permission(enabled: bool) -> None:
    key, value = endpoint(1, ("10.0.0.9", "198.51.100.1"), orchestrator="cni")
    _, renderer = programmed({key: value}, floating_ips=enabled)
    assert bool(floating(renderer)) == enabled


def test_without_ipv6_there_are_no_floating_addresses_of_it() -> None:
    key, value = endpoint(1, ("fd00::1", "2001:db8::1"), ("10.0.0.1", "198.51.100.1"))
    _, renderer = programmed({key: value}, ipv6=False)
    assert renderer.desired.translations.keys() == {IPv4Address("198.51.100.1")}
    _, renderer = programmed({key: value})
    assert renderer.desired.translations.keys() == {
        IPv4Address("198.51.100.1"),
        IPv6Address("2001:db8::1"),
    }
    assert floating(renderer, Family.IP6) == {pack_address("2001:db8::1"): pack_address("fd00::1")}


# --- outgoing -------------------------------------------------------------------------------------


def pool(name: str, cidr: str, *, hidden: bool) -> tuple[ResourceKey, Value]:
    spec = IPPoolSpec(cidr=cidr, nat_outgoing=hidden)
    return ResourceKey("IPPool", name), IPPool(metadata=Metadata(name=name), spec=spec)


def node(name: str, spec: NodeSpec) -> tuple[ResourceKey, Value]:
    return ResourceKey("Node", name), Node(metadata=Metadata(name=name), spec=spec)


HIDDEN = dict(
    [
        pool("hidden", "10.0.0.0/16", hidden=True),
        pool("open", "10.1.0.0/16", hidden=False),
        pool("hidden6", "fd00::/64", hidden=True),
    ]
)


def shown(renderer: Renderer, source: str, destination: str, oifname: str = "eth0") -> str:
    """Return under which source a packet leaves; ``host`` for the host's own."""
    frame = Frame("tap1", oifname, pack_address(source), pack_address(destination), 6, 1, 2)
    result = passed(renderer.desired, "nat-postrouting", frame).source
    return "host" if result in MASQUERADED.values() else str(ip_address(result))


@pytest.mark.parametrize(
    ("source", "destination", "expected"),
    [
        ("10.0.0.1", "192.0.2.1", "host"),
        ("10.0.0.1", "10.0.0.2", "10.0.0.1"),
        ("10.0.0.1", "10.1.0.2", "10.0.0.1"),
        ("10.1.0.1", "192.0.2.1", "10.1.0.1"),
        ("10.2.0.1", "192.0.2.1", "10.2.0.1"),
        ("fd00::1", "2001:db8::1", "host"),
        ("fd00::1", "fd00::2", "fd00::1"),
    ],
)
def test_what_leaves_masqueraded_pools(source: str, destination: str, expected: str) -> None:
    _, renderer = programmed(HIDDEN)
    assert shown(renderer, source, destination) == expected


def test_outgoing_parameters() -> None:
    _, renderer = programmed(HIDDEN, nat_outgoing_address=IPv4Address("203.0.113.9"))
    assert shown(renderer, "10.0.0.1", "192.0.2.1") == "203.0.113.9"
    assert shown(renderer, "fd00::1", "2001:db8::1") == "host"
    _, renderer = programmed(HIDDEN, nat_outgoing_interface="eth+")
    assert shown(renderer, "10.0.0.1", "192.0.2.1", "eth7") == "host"
    assert shown(renderer, "10.0.0.1", "192.0.2.1", "bond0") == "10.0.0.1"
    _, renderer = programmed(HIDDEN, nat_outgoing_interface="eth0")
    assert shown(renderer, "10.0.0.1", "192.0.2.1", "eth7") == "10.0.0.1"
    _, renderer = programmed(HIDDEN, nat_ports=(1024, 2000))
    rules = renderer.desired.ruleset[Table(Family.IP, "calico")].chains["nat-postrouting"].rules
    assert [getattr(rule.expressions[-1], "ports", None) for rule in rules] == [
        (1024, 2000),
        (1024, 2000),
        None,
    ]


def test_hosts_can_be_excluded() -> None:
    nodes = dict(
        [
            node("a", NodeSpec(bgp=NodeBgpSpec(ipv4_address="192.0.2.1/24"))),
            node("b", NodeSpec(addresses=(NodeAddress(address="192.0.2.2", type="InternalIP"),))),
        ]
    )
    external = (IPv4Network("203.0.113.0/24"),)
    resources = {**HIDDEN, **nodes}
    _, renderer = programmed(resources, nat_excludes_hosts=True, external_nodes=external)
    for host in ("192.0.2.1", "192.0.2.2", "203.0.113.7"):
        assert shown(renderer, "10.0.0.1", host) == "10.0.0.1"
    assert shown(renderer, "10.0.0.1", "192.0.2.3") == "host"
    _, renderer = programmed(resources)
    assert shown(renderer, "10.0.0.1", "192.0.2.1") == "host"


@given(st.lists(st.sampled_from(sorted(HIDDEN, key=str)), max_size=6))
@settings(max_examples=20, deadline=None)
def test_chains_come_and_go_with_the_pools(order: list[ResourceKey]) -> None:
    calculation, renderer = programmed({})
    present: set[ResourceKey] = set()
    for key in order:
        present ^= {key}
        calculation.update(key, HIDDEN[key] if key in present else None)
        renderer.apply(calculation.flush())
        for family, name in ((Family.IP, "hidden"), (Family.IP6, "hidden6")):
            chains = renderer.desired.ruleset[Table(family, "calico")].chains
            assert ("nat-postrouting" in chains) == (ResourceKey("IPPool", name) in present)
