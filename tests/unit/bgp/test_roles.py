"""Whole sessions in the roles that hosts have: mesh member, client, reflector, host of a rack.

The options are BIRD's (its user's guide, "BGP"); a session has these and no others.
"""

from __future__ import annotations

import re

import pytest

from calico_openstack.bgp.render import render
from calico_openstack.bgp.settings import SecretRef
from calico_openstack.bgp.stanza import HostOptions
from calico_openstack.datamodel.resource import Resource
from tests.unit.bgp.builders import configuration, node, password, peer, state_of
from tests.unit.bgp.test_bgp_render import stanza

HOST = node("n1", "172.18.0.11/24", "fd00:18::11/64")
OTHER = node("n2", "172.18.0.12/24", "fd00:18::12/64")
NO_MESH = configuration(node_to_node_mesh_enabled=False)
BFD = "bfd { min tx interval 300 ms; min rx interval 300 ms; multiplier 3; }"
COMMON = {"multihop", "gateway recursive", "receive limit 200000 action warn"}
INTERNAL = {*COMMON, "add paths on"}


def reflector(host: str, number: int, **bgp: str) -> Resource:
    labels = {"route-reflector": "true"}
    addresses = (f"172.18.0.{number}/24", f"fd00:18::{number}/64")
    return node(host, *addresses, labels=labels, route_reflector_cluster_id="10.0.0.1", **bgp)


CLIENTS = peer(
    "rr-clients",
    {"bfd": "300ms/300ms/3"},
    node_selector="!has(route-reflector)",
    peer_selector="has(route-reflector)",
)
RACK = peer(
    "tor-a",
    {
        "direct": "true",
        "bfd": "on",
        "hold-time": "9s",
        "receive-limit": "50000/restart",
        "export-limit": "2000/block",
    },
    node_selector="rack == 'r1'",
    peer_ip="172.18.0.15",
    as_number=65001,
    ttl_security=1,
    keepalive_time="3s",
    next_hop_mode="Self",
    password=password("tor", "bgp"),
)

ROLES: dict[str, tuple[list[Resource], str, set[str]]] = {
    "mesh, IPv4": (
        [HOST, OTHER],
        "Mesh_172_18_0_12",
        {*INTERNAL, "local 172.18.0.11 as 64512", "neighbor 172.18.0.12 as 64512", "passive on"},
    ),
    "mesh, IPv6": (
        [HOST, OTHER],
        "Mesh_fd00_18__12",
        {*INTERNAL, "local fd00:18::11 as 64512", "neighbor fd00:18::12 as 64512", "passive on"},
    ),
    "client of a reflector": (
        [HOST, reflector("rr", 14), NO_MESH, CLIENTS],
        "Node_172_18_0_14",
        {*INTERNAL, "local 172.18.0.11 as 64512", "neighbor 172.18.0.14 as 64512", BFD},
    ),
    "reflector, other port, bound, password": (
        [
            reflector("n1", 11),
            OTHER,
            configuration(node_to_node_mesh_enabled=False, listen_port=1179, bind_mode="NodeIP"),
            peer(
                "p",
                node_selector="!has(route-reflector)",
                peer_selector="has(route-reflector)",
                password=password("tor", "bgp"),
            ),
        ],
        "Node_172_18_0_12_port_1179",
        {
            *INTERNAL,
            "local 172.18.0.11 port 1179 as 64512",
            "neighbor 172.18.0.12 port 1179 as 64512",
            "strict bind on",
            'password "s3cret"',
            "rr client",
            "rr cluster id 10.0.0.1",
        },
    ),
    "reflectors of one cluster": (
        [
            reflector("n1", 11),
            reflector("n3", 16),
            NO_MESH,
            peer("p", node_selector="has(route-reflector)", peer_selector="has(route-reflector)"),
        ],
        "Node_172_18_0_16",
        {*INTERNAL, "local 172.18.0.11 as 64512", "neighbor 172.18.0.16 as 64512"},
    ),
    "host of a rack": (
        [
            node("n1", "172.18.0.11/24", "fd00:18::11/64", {"rack": "r1"}, as_number=65101),
            NO_MESH,
            RACK,
        ],
        "Node_172_18_0_15",
        {
            "local 172.18.0.11 as 65101",
            "neighbor 172.18.0.15 as 65001",
            "direct",
            "check link on",
            "ttl security on",
            BFD,
            "hold time 9",
            "keepalive time 3",
            'password "s3cret"',
            "gateway recursive",
            "next hop self",
            "receive limit 50000 action restart",
            "export limit 2000 action block",
        },
    ),
}


def options(text: str) -> set[str]:
    """Return a session's options, its channel's among them, without filters and description."""
    without_filters = re.sub(r" (import|export) filter \{.*?\n    \};", "", text, flags=re.DOTALL)
    lines = (line.strip() for line in without_filters.splitlines()[1:])
    return {
        line.removesuffix(";")
        for line in lines
        if line and not re.match(r"description|ipv[46] \{|\};?$", line)
    }


@pytest.mark.parametrize("role", ROLES)
def test_a_session_has_these_options_and_no_others(role: str) -> None:
    resources, name, expected = ROLES[role]
    passwords = {SecretRef("tor", "bgp"): "s3cret"}
    text = render(state_of(*resources), "n1", passwords, HostOptions()).text
    assert options(stanza(text, name)) == expected
    for shared in ("graceful restart on;", "connect delay time 2;", "error wait time 5, 30;"):
        assert shared in text
