"""Sessions over link-local addresses, which carry routes of both families."""

from __future__ import annotations

from typing import Any

import pytest

from calico_openstack.bgp.render import Rendered, render
from calico_openstack.bgp.stanza import HostOptions
from calico_openstack.datamodel.resource import Resource
from tests.unit.bgp.birdcheck import fault_of, needs_bird
from tests.unit.bgp.builders import bgp_filter, configuration, node, peer, state_of
from tests.unit.bgp.test_bgp_render import stanza

NAME = "Global_fe80__1_eth0_100"
EVERYTHING = {"interface": "eth0.100", "bfd": "on", "hold-time": "9s"}


def rendered(
    *resources: Resource, annotations: dict[str, str] | None = None, **spec: Any
) -> Rendered:
    spec = {"peer_ip": "fe80::1", "as_number": 65001} | spec
    made = peer("up", annotations or EVERYTHING, **spec)
    own = node("n2", "10.0.0.2/24")
    return render(state_of(own, made, *resources), "n2", {}, HostOptions())


def test_both_families_pass_one_session() -> None:
    result = rendered(ttl_security=1)
    text = stanza(result.text, NAME)
    for line in (
        "local as 64512;",
        "neighbor fe80::1%'eth0.100' as 65001;",
        "ttl security on;\n  direct;",
        "ipv4 {",
        "ipv6 {",
        "extended next hop on;",
        "calico_originate4();",
        "calico_originate6();",
    ):
        assert line in text
    assert "gateway recursive" not in text
    assert result.problems == ()


def test_the_same_neighbour_on_two_interfaces_is_two_sessions() -> None:
    other = peer("up2", {"interface": "eth1"}, peer_ip="fe80::1", as_number=65001)
    names = [session.name for session in rendered(other).sessions]
    assert names == [NAME, "Global_fe80__1_eth1"]


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"annotations": {"bfd": "on"}}, "spec.peerIP"),
        ({"annotations": {"interface": "no interface"}}, "spec.peerIP"),
        ({"peer_ip": "fd00::9"}, "annotation interface"),
        ({"peer_ip": "10.0.0.9"}, "annotation interface"),
    ],
)
def test_contradictions_are_reported(spec: dict[str, Any], field: str) -> None:
    result = rendered(**spec)
    assert field in [problem.field for problem in result.problems]
    assert not any(session.interface for session in result.sessions)


def test_it_cannot_be_with_listening_on_the_nodes_address_only() -> None:
    result = rendered(configuration(bind_mode="NodeIP"))
    assert result.sessions == ()
    assert [problem.field for problem in result.problems] == ["annotation interface"]


@needs_bird
def test_bird_accepts() -> None:
    filters = bgp_filter("f")
    assert fault_of(rendered(filters, filters=("f",)).text) == ""
