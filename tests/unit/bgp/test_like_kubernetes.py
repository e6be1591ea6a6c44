"""What hosts of Kubernetes do otherwise, and what they share with those of OpenStack."""

from __future__ import annotations

import pytest

from calico_openstack.bgp.render import Rendered, render
from calico_openstack.bgp.stanza import HostOptions
from calico_openstack.bgp.version import BirdVersion
from calico_openstack.datamodel.bgp import ServiceCidr
from calico_openstack.datamodel.nodes import Node, NodeBgpSpec, NodeSpec, NodeWireguardSpec
from calico_openstack.datamodel.resource import Metadata, Resource
from tests.unit.bgp.birdcheck import fault_of, needs_bird
from tests.unit.bgp.builders import (
    configuration,
    felix,
    node,
    nodes,
    password,
    peer,
    pool,
    state_of,
)
from tests.unit.bgp.test_bgp_render import stanza

SERVICES = configuration(
    service_cluster_ips=(ServiceCidr(cidr="10.96.0.0/12"), ServiceCidr(cidr="fd96::/108")),
    service_external_ips=(ServiceCidr(cidr="203.0.113.0/24"),),
    node_mesh_password=password("mesh"),
)
POOL = pool("pods", "192.168.0.0/16")
REFLECTOR = node("n2", "10.0.0.2/24", "fd00::2/64", route_reflector_cluster_id="1.2.3.4")
CLOSED = peer("closed", peer_ip="10.0.0.9", as_number=1, filters=("missing",))


def rendered(*resources: Resource, **options: object) -> Rendered:
    settings = {"like_kubernetes": True} | options
    return render(state_of(*resources), "n2", {}, HostOptions(**settings))  # type: ignore[arg-type]


def test_what_is_missing_closes_no_session() -> None:
    result = rendered(*nodes(2), SERVICES, CLOSED)
    assert not any(session.disabled for session in result.sessions)
    assert "password" not in result.text
    strict = rendered(*nodes(2), SERVICES, CLOSED, like_kubernetes=False)
    assert all(session.disabled for session in strict.sessions)


def test_everything_in_pools_and_static_routes_are_announced() -> None:
    text = rendered(*nodes(2), SERVICES, POOL).text
    function = text[text.index("function calico_like_kubernetes4") :].partition("\n}")[0]
    assert "if (source = RTS_STATIC) then accept;" in function
    assert "if (net ~ 192.168.0.0/16) then accept;" in function
    assert "10.96.0.0" not in function
    session = stanza(text, "Mesh_10_0_0_3")
    assert session.index("calico_originate4();") < session.index("calico_like_kubernetes4();")


def test_reflectors_pass_on_services() -> None:
    text = rendered(REFLECTOR, *nodes(2)[1:], SERVICES, peer("p", peer_selector="all()")).text
    function = text[text.index("function calico_like_kubernetes4") :].partition("\n}")[0]
    assert "if (net ~ 203.0.113.0/24) then accept;" in function
    assert "if source = RTS_BGP then accept;" not in stanza(text, "Global_10_0_0_3")


def test_services_are_left_to_the_host() -> None:
    text = rendered(*nodes(2), SERVICES).text
    kernel = text[text.index("filter calico_kernel_export4") :].partition("\n}")[0]
    assert "if (net ~ 10.96.0.0/12) then reject;" in kernel
    assert "10.96.0.0" not in rendered(*nodes(2), SERVICES, like_kubernetes=False).text


def test_all_paths_pass_to_other_as_too() -> None:
    tor = peer("tor", peer_ip="10.0.0.254", as_number=64513)
    assert "add paths on;" in stanza(rendered(*nodes(1), tor).text, "Global_10_0_0_254")


def wireguard(name: str, number: int, address: str) -> Node:
    return Node(
        metadata=Metadata(name=name),
        spec=NodeSpec(
            bgp=NodeBgpSpec(ipv4_address=f"10.0.0.{number}/24"),
            wireguard=NodeWireguardSpec(interface_ipv4_address=address),
        ),
    )


def test_wireguard_peers_are_not_routed_to() -> None:
    others = (wireguard("n3", 3, "10.1.1.3"), wireguard("n4", 4, ""))
    text = rendered(wireguard("n2", 2, "10.1.1.2"), *others, like_kubernetes=False).text
    assert "bgp_next_hop = 10.0.0.3) then reject;" in text
    assert "bgp_next_hop = 10.0.0.4)" not in text
    without = rendered(wireguard("n2", 2, ""), *others, like_kubernetes=False).text
    assert "bgp_next_hop = 10.0.0.3)" not in without


def test_a_metric_for_each_route_where_there_is_no_room_for_one() -> None:
    narrow = felix(ipv4NormalRoutePriority=513)
    text = rendered(*nodes(2), narrow, version=BirdVersion(2, 16)).text
    assert "metric 0;" in text
    assert "metric 600;" in text, "the other family has room"
    assert "krt_metric = CALICO_PRIORITY_BASE - bgp_local_pref;" in text
    assert fault_of(text) == ""


def test_configurations_of_felix_for_some_hosts_count() -> None:
    labelled = node("n2", "10.0.0.2/24", labels={"rack": "a"})
    chosen = felix("racks", nodeSelector="rack == 'a'", interfacePrefix="vm")
    assert 'ifname ~ "vm*"' in rendered(labelled, chosen).text
    assert 'ifname ~ "vm*"' not in rendered(*nodes(1), chosen).text
    own = felix("node.n2", interfacePrefix="own")
    text = rendered(labelled, chosen, own).text
    assert 'ifname ~ "own*"' in text
    assert 'ifname ~ "vm*"' not in text


@needs_bird
@pytest.mark.parametrize("version", [BirdVersion(2, 0, 12)])
def test_bird_accepts(version: BirdVersion) -> None:
    resources = (REFLECTOR, *nodes(2)[1:], SERVICES, POOL, peer("p", peer_selector="all()"), CLOSED)
    assert fault_of(rendered(*resources, version=version).text) == ""
    secured = rendered(wireguard("n2", 2, "10.1.1.2"), wireguard("n3", 3, "10.1.1.3")).text
    assert fault_of(secured) == ""
