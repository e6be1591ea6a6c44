"""BFD, limits, draining, aggregates and blocks in the text of BIRD's configuration."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from calico_openstack.bgp.render import Rendered, render
from calico_openstack.bgp.settings import FAMILIES
from calico_openstack.bgp.stanza import HostOptions
from calico_openstack.bgp.state import BgpState, StateStore
from calico_openstack.datamodel.resource import Resource
from tests.unit.bgp.birdcheck import fault_of, needs_bird
from tests.unit.bgp.builders import annotated_node, configuration, nodes, peer, subnet
from tests.unit.bgp.test_bgp_render import stanza

EVERYTHING = {
    "bfd": "100ms/200ms/5",
    "receive-limit": "50000/restart",
    "export-limit": "2000/block",
    "hold-time": "9s",
    "direct": "true",
    "aggregates": "subnets, 203.0.113.0/24, 2001:db8::/48",
}
TOR = peer("tor", EVERYTHING, peer_ip="10.0.0.254", as_number=64513, ttl_security=1)
TOR6 = peer("tor6", EVERYTHING, peer_ip="fd00::fe", as_number=64513)
DRAINING = annotated_node("n2", {"drain": "true"}, ipv4="10.0.0.2/24", ipv6="fd00::2/64")


def state_of(*resources: Resource) -> BgpState:
    store = StateStore()
    for resource in resources:
        store.apply(resource.KIND, resource.metadata.name, resource)
    for number, cidr in enumerate(("10.65.0.0/24", "fd65::/64", "10.65.0.0/16")):
        store.apply_subnet(f"no-region/{number}", subnet(cidr))
    store.apply_affinity(ip_network("10.1.0.64/26"), "confirmed")
    store.apply_affinity(ip_network("10.1.1.64/26"), "pendingDeletion")
    store.apply_affinity(ip_network("fd01::40/122"), "")
    return store.state()


def rendered(
    *resources: Resource, isolated: tuple[int, ...] = (), services: str = "dummy1"
) -> Rendered:
    return render(
        state_of(*resources),
        "n2",
        {},
        HostOptions(service_interface=services),
        isolated=[family for family in FAMILIES if family in isolated],
    )


SCENARIOS: dict[str, Rendered] = {
    "routers": rendered(*nodes(2), TOR, TOR6),
    "isolated": rendered(*nodes(2), TOR, TOR6, isolated=(4,)),
    "mesh": rendered(*nodes(2), configuration(annotations=EVERYTHING)),
    "draining": rendered(DRAINING, *nodes(2)[1:], TOR, TOR6),
    "services": rendered(*nodes(1), services="services0"),
}


@needs_bird
@pytest.mark.parametrize("name", SCENARIOS)
def test_bird_accepts(name: str) -> None:
    assert fault_of(SCENARIOS[name].text) == ""


def test_a_router_of_the_rack() -> None:
    text = stanza(SCENARIOS["routers"].text, "Global_10_0_0_254")
    for line in (
        "ttl security on;",
        "direct;",
        "check link on;",
        "bfd { min tx interval 100 ms; min rx interval 200 ms; multiplier 5; };",
        "hold time 9;",
        "receive limit 50000 action restart;",
        "export limit 2000 action block;",
        "if source != RTS_BGP then bgp_med = krt_metric;",
        "calico_moving4();",
    ):
        assert line in text
    assert "multihop" not in text
    assert "protocol bfd calico_bfd" in SCENARIOS["routers"].text


def test_the_mesh() -> None:
    text = stanza(SCENARIOS["mesh"].text, "Mesh_10_0_0_3")
    assert "bfd { min tx interval 100 ms;" in text
    assert "receive limit 50000 action restart;" in text
    assert "multihop;" in text, "other hosts may be behind a router"
    assert "direct" not in text
    assert "bgp_med" not in text
    assert "calico_moving" not in text
    assert "calico_aggregates" not in text


def test_without_annotations() -> None:
    text = rendered(*nodes(2)).text
    assert "bfd" not in text
    assert "receive limit 200000 action warn;" in stanza(text, "Mesh_10_0_0_3")
    assert "export limit" not in text
    assert "bgp_community.add((65535, 0))" not in text
    assert "calico_aggregates" not in text


def test_aggregates_stand_for_what_is_in_them() -> None:
    text = SCENARIOS["routers"].text
    assert "route 10.65.0.0/16 blackhole;" in text
    assert "route 10.65.0.0/24 blackhole;" not in text
    tor = stanza(text, "Global_10_0_0_254")
    accept = (
        'if (proto = "calico_aggregates4" && net ~ [ 10.65.0.0/16, 203.0.113.0/24 ]) then accept;'
    )
    reject = "if (net ~ [ 10.65.0.0/16+, 203.0.113.0/24+ ] && bgp_local_pref <= "
    assert tor.index("calico_prepare4();") < tor.index(accept) < tor.index(reject)
    assert tor.index(reject) < tor.index("calico_originate4();")
    assert "[ 2001:db8::/48, fd65::/64 ]" in stanza(text, "Global_fd00__fe")
    assert "calico_aggregates" not in stanza(text, "Mesh_10_0_0_3")


def test_an_isolated_host_announces_its_own_workloads_only() -> None:
    text = SCENARIOS["isolated"].text
    assert "calico_aggregates4" not in text
    assert "route fd65::/64 blackhole;" in text


def test_blocks() -> None:
    text = SCENARIOS["routers"].text
    for block in ("10.1.0.64/26", "10.1.1.64/26", "fd01::40/122"):
        assert f"route {block} blackhole;" in text
    assert 'if (proto = "calico_blocks4" && net = 10.1.0.64/26) then accept;' in text
    assert 'if (proto = "calico_blocks6" && net = fd01::40/122) then accept;' in text
    assert "net = 10.1.1.64/26" not in text


def test_draining_changes_filters_only() -> None:
    drained, before = SCENARIOS["draining"], SCENARIOS["routers"]
    assert drained.draining
    assert not before.draining
    for session in drained.sessions:
        lines = stanza(drained.text, session.name).splitlines()
        marks = [line for line in lines if "bgp_community.add((65535, 0))" in line]
        assert len(marks) == 1
        lines.remove(marks[0])
        assert "\n".join(lines) == stanza(before.text, session.name)


def test_a_drain_that_is_neither_yes_nor_no_is_reported() -> None:
    result = rendered(annotated_node("n2", {"drain": "soon"}, ipv4="10.0.0.2/24"))
    assert not result.draining
    assert any("soon" in problem.reason for problem in result.problems)


def test_services() -> None:
    assert 'source = RTS_DEVICE && ifname = "services0"' in SCENARIOS["services"].text


@pytest.mark.parametrize(
    ("spec", "lost"),
    [
        ({"peer_ip": "10.0.0.9", "as_number": 1, "ttl_security": 3}, "direct"),
        ({"peer_ip": "10.9.0.9", "as_number": 1, "reachable_by": "10.0.0.1"}, "direct"),
        ({"peer_ip": "10.0.0.9", "as_number": 1, "source_address": "None"}, "bfd"),
        ({"peer_ip": "10.0.0.9"}, "aggregates"),
    ],
)
def test_contradictions_are_reported(spec: dict[str, object], lost: str) -> None:
    result = rendered(*nodes(1), peer("p", EVERYTHING, **spec))
    (session,) = result.sessions
    assert not getattr(session.extras, lost)
    assert [p.field for p in result.problems] == [f"annotation {lost}"]


def test_what_is_wrong_with_subnets_and_filters_of_others_changes_nothing() -> None:
    store = StateStore()
    store.apply_subnet("no-region/1", subnet("10.65.0.0/24"))
    store.apply_subnet("no-region/1", None)
    store.apply_affinity(ip_network("10.1.0.64/26"), "confirmed")
    store.apply_affinity(ip_network("10.1.0.64/26"), None)
    assert store.state() == BgpState()
