"""The map of the cloud."""

from __future__ import annotations

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.agent.introspection.protocol import Answer
from calico_openstack.calicoctl.map.chart import Chart, Guest, Link, Place, chart_of
from calico_openstack.calicoctl.map.svg import drawing, page
from calico_openstack.calicoctl.map.terminal import lines
from calico_openstack.datamodel import (
    DhcpSubnet,
    Metadata,
    Node,
    WorkloadEndpoint,
    WorkloadEndpointSpec,
)
from calico_openstack.datamodel.nodes import NodeBgpSpec, NodeSpec

NETWORK = "0a1b2c3d-0000"


def _node(name: str, address: str) -> Node:
    bgp = NodeBgpSpec(ipv4_address=f"{address}/24")
    return Node(metadata=Metadata(name=name), spec=NodeSpec(bgp=bgp))


def _endpoint(number: int, node: str) -> WorkloadEndpoint:
    annotations = {
        "openstack.projectcalico.org/fqdn": f"web-{number}.example.org.",
        "openstack.projectcalico.org/network-id": NETWORK,
    }
    spec = WorkloadEndpointSpec(
        node=node, endpoint=f"port-{number}", ip_networks=(f"10.0.0.{number}/32",)
    )
    return WorkloadEndpoint(metadata=Metadata(name="n", annotations=annotations), spec=spec)


def _peer(address: str, state: str = "Established") -> dict[str, str]:
    return {"peer": address, "as": "64512", "state": state}


def _cloud() -> Chart:
    sessions = {
        "compute-1": Answer(rows=(_peer("192.0.2.2"), _peer("192.0.2.254"))),
        "compute-2": Answer(rows=(_peer("192.0.2.1", "Active"), _peer("192.0.2.254", "Idle"))),
    }
    return chart_of(
        [_node("compute-2", "192.0.2.2"), _node("compute-1", "192.0.2.1")],
        [_endpoint(1, "compute-1"), _endpoint(2, "compute-1"), _endpoint(3, "gone")],
        [DhcpSubnet(network_id=NETWORK, cidr="10.0.0.0/24", gateway_ip=None)],
        {"compute-1", "compute-2"},
        sessions,
    )


def test_peers_that_are_hosts_are_told_by_name() -> None:
    chart = _cloud()
    assert [place.name for place in chart.places] == ["compute-1", "compute-2", "gone"]
    assert chart.outside == (("192.0.2.254", "64512"),)
    assert {link.peer for link in chart.places[1].links} == {"compute-1", "192.0.2.254"}


def test_the_terminal_shows_all_of_it() -> None:
    assert list(lines(_cloud(), 1)) == [
        "( 192.0.2.254 )  AS 64512, 1 of 2 sessions established",
        "",
        "[ compute-1  192.0.2.1 ]",
        "  |-- sessions with other hosts: 1 of 1 established",
        "  |-- BGP --- ( 192.0.2.254 AS 64512 ) Established",
        "  `-- network 0a1b2c3d-0000 10.0.0.0/24: 2 port(s)",
        "        web-1  10.0.0.1",
        "        and 1 more (--limit)",
        "",
        "[ compute-2  192.0.2.2 ]",
        "  |-- sessions with other hosts: 0 of 1 established",
        "  |     !  compute-1: Active",
        "  `-- BGP -X- ( 192.0.2.254 AS 64512 ) Idle",
        "",
        "[ gone  no sign of life of Felix ]",
        "  |-- its BGP sessions are not known: was not asked",
        "  `-- network 0a1b2c3d-0000 10.0.0.0/24: 1 port(s)",
        "        web-3  10.0.0.3",
    ]


def test_an_empty_cloud_says_what_to_do() -> None:
    chart = Chart((), {})
    assert "doctor" in "".join(lines(chart, 5))
    ElementTree.fromstring(drawing(chart, 5))


def test_the_drawing_has_a_line_for_each_two_ends() -> None:
    root = ElementTree.fromstring(drawing(_cloud(), 1))
    told = [line[0].text for line in root.iter("{http://www.w3.org/2000/svg}path")]
    assert sorted(map(str, told)) == [
        "compute-1 - 192.0.2.254: Established",
        "compute-1 - compute-2: Active, Established",
        "compute-2 - 192.0.2.254: Idle",
    ]


def test_a_page_needs_nothing_else() -> None:
    text = page(_cloud(), 5, "now")
    assert "3 hosts, 3 ports, 1 networks" in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


@given(st.text(), st.text(), st.text())
def test_no_name_breaks_a_drawing(host: str, name: str, peer: str) -> None:
    guest = Guest(name, name, (name,), name)
    place = Place(host, (name,), True, (Link(peer, False, name, name),), (guest,), name)
    text = drawing(Chart((place,), {name: (name,)}), 5)
    ElementTree.fromstring(text.encode("utf-8", "replace"))
