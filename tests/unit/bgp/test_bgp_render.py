"""The text of BIRD's configuration."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calico_openstack.bgp.render import (
    Rendered,
    password_fault,
    render,
    render_without_sessions,
)
from calico_openstack.bgp.settings import SecretRef
from calico_openstack.bgp.stanza import HostOptions
from calico_openstack.bgp.state import RefusedError
from calico_openstack.bgp.version import BirdVersion
from calico_openstack.datamodel.bgp import Community, PrefixAdvertisement
from calico_openstack.datamodel.configuration import ClusterInformation, ClusterInformationSpec
from calico_openstack.datamodel.resource import Metadata, Resource
from tests.unit.bgp.birdcheck import fault_of, needs_bird
from tests.unit.bgp.builders import (
    bgp_filter,
    configuration,
    felix,
    node,
    nodes,
    password,
    peer,
    pool,
    state_of,
)
from tests.unit.bgp.test_filters import EVERYTHING

TOR = peer("tor", peer_ip="10.0.0.254", as_number=64513)
PASSWORDS = {SecretRef("mesh", "password"): "p w#1'x"}

SCENARIOS: dict[str, list[Resource]] = {
    "nothing": [],
    "mesh": [*nodes()],
    "ipv4 only": [node("n2", "10.0.0.2/24"), node("n3", "10.0.0.3/24")],
    "ipv6 only": [node("n2", "", "fd00::2/64"), node("n3", "", "fd00::3/64")],
    "tor": [*nodes(), TOR, peer("tor6", peer_ip="fd00::fe", as_number=64513)],
    "bound to the node's address": [
        *nodes(),
        TOR,
        configuration(bind_mode="NodeIP", listen_port=1179),
    ],
    "another port": [*nodes(), configuration(listen_port=1179)],
    "source left to the kernel": [
        *nodes(1),
        configuration(listen_port=1179),
        peer("p", peer_ip="10.0.0.9", as_number=1, source_address="None"),
    ],
    "password": [*nodes(), configuration(node_mesh_password=password("mesh"))],
    "missing password": [*nodes(), configuration(node_mesh_password=password("other"))],
    "reflector": [
        node("n2", "10.0.0.2/24", "fd00::2/64", {"rr": ""}, route_reflector_cluster_id="1.2.3.4"),
        *nodes()[1:],
        peer("clients", node_selector="!has(rr)", peer_selector="has(rr)"),
        TOR,
    ],
    "all options": [
        *nodes(1),
        peer(
            "p",
            peer_ip="10.9.0.1:1790",
            as_number="1.10",
            local_as_number=65010,
            max_restart_time="30s",
            keepalive_time="20s",
            num_allowed_local_as_numbers=2,
            ttl_security=3,
            reachable_by="10.0.0.1",
            next_hop_mode="Keep",
        ),
        peer("q", peer_ip="fd09::1", as_number=7, reachable_by="fd00::1", next_hop_mode="Self"),
    ],
    "communities": [
        *nodes(2),
        configuration(
            communities=(Community(name="large", value="100:555:107"),),
            prefix_advertisements=(
                PrefixAdvertisement(cidr="10.65.0.0/16", communities=("large", "5663:12")),
                PrefixAdvertisement(cidr="fd65::/48", communities=("100:6532",)),
            ),
        ),
    ],
    "pools": [
        *nodes(2),
        pool("a", "192.168.2.0/24", disable_bgp_export=True),
        pool("b", "192.168.4.0/24", vxlan_mode="Always"),
        pool("c", "192.168.6.0/24", ipip_mode="CrossSubnet"),
        pool("d", "fd02::/64", disable_bgp_export=True),
    ],
    "filters": [
        *nodes(1),
        EVERYTHING,
        bgp_filter("f" * 46),
        peer("p", peer_ip="10.0.0.9", as_number=1, filters=("every.thing", "f" * 46)),
        peer("p6", peer_ip="fd00::9", filters=("every.thing",)),
        peer("q", peer_ip="10.0.0.10", as_number=1, filters=("missing",)),
    ],
    "priorities": [
        *nodes(2),
        felix(
            ipv4NormalRoutePriority=5000, ipv6NormalRoutePriority=80, ipv6ElevatedRoutePriority=60
        ),
    ],
    "interfaces and debugging": [
        *nodes(2),
        felix(interfacePrefix="tap,port", deviceRouteProtocol=99),
        configuration(ignored_interfaces=("eth9", "bond*"), log_severity_screen="Debug"),
    ],
    "quiet": [*nodes(2), configuration(log_severity_screen="Fatal")],
}


def rendered(resources: Sequence[Resource], **options: object) -> Rendered:
    return render(state_of(*resources), "n2", PASSWORDS, HostOptions(**options))  # type: ignore[arg-type]


def stanza(text: str, name: str) -> str:
    match = re.search(rf"^protocol bgp {name} .*?^}}", text, re.MULTILINE | re.DOTALL)
    assert match, f"no session {name}"
    return match[0]


@needs_bird
@pytest.mark.parametrize("name", SCENARIOS)
def test_bird_accepts(name: str) -> None:
    assert fault_of(rendered(SCENARIOS[name]).text) == ""


@pytest.mark.parametrize("name", SCENARIOS)
def test_order_of_arrival_does_not_show(name: str) -> None:
    resources = SCENARIOS[name]
    expected = rendered(resources).text
    for seed in range(5):
        shuffled = random.Random(seed).sample(resources, len(resources))
        assert rendered(shuffled).text == expected


@settings(max_examples=25, deadline=None)
@given(st.permutations([r for s in ("reflector", "filters", "communities") for r in SCENARIOS[s]]))
def test_order_of_arrival_does_not_show_in_a_mixture(resources: list[Resource]) -> None:
    # Of resources with one name the last counts, so each name may come once only.
    once = {(r.KIND, r.metadata.name): r for r in sorted(resources, key=repr)}
    ordered = [once[r.KIND, r.metadata.name] for r in resources]
    assert rendered(ordered).text == rendered(list(once.values())).text


def test_no_sessions_without_a_node() -> None:
    result = rendered([node("n3", "10.0.0.3/24"), TOR])
    assert "protocol bgp" not in result.text
    assert any("no Node" in str(problem) for problem in result.problems)
    assert "protocol bgp" not in render_without_sessions("n2", HostOptions()).text


def test_a_locked_datastore_is_refused() -> None:
    cluster = ClusterInformation(
        metadata=Metadata(name="default"), spec=ClusterInformationSpec(datastore_ready=False)
    )
    with pytest.raises(RefusedError, match="locked"):
        rendered([*nodes(), cluster])


def test_another_session_leaves_the_others_as_they_are() -> None:
    before = rendered(nodes(2)).text
    after = rendered([*nodes(2), TOR]).text
    assert stanza(before, "Mesh_10_0_0_3") == stanza(after, "Mesh_10_0_0_3")


def test_a_session_in_full() -> None:
    text = stanza(rendered(nodes(2)).text, "Mesh_10_0_0_3")
    for line in (
        'description "node-to-node mesh: n3";',
        "local 10.0.0.2 as 64512;",
        "neighbor 10.0.0.3 as 64512;",
        "multihop;",
        "passive on;",
        "gateway recursive;",
        "add paths on;",
    ):
        assert line in text
    assert " port " not in text
    assert "rr client" not in text


def test_add_paths_stays_inside_the_as() -> None:
    assert "add paths" not in stanza(rendered([*nodes(1), TOR]).text, "Global_10_0_0_254")


def test_ports_and_binding() -> None:
    text = stanza(rendered(SCENARIOS["bound to the node's address"]).text, "Mesh_10_0_0_3")
    assert "local 10.0.0.2 port 1179 as 64512;" in text
    assert "neighbor 10.0.0.3 port 1179 as 64512;" in text
    assert "strict bind on;" in text
    text = stanza(rendered(SCENARIOS["source left to the kernel"]).text, "Global_10_0_0_9")
    assert "local port 1179 as 64512;" in text


def test_bird_3_merges_no_paths_and_says_so() -> None:
    older, newer = (rendered(nodes(2), version=BirdVersion(*v)) for v in ((2, 20, 0), (3, 4, 0)))
    assert "merge paths on;" in older.text
    assert older.problems == ()
    assert "merge paths" not in newer.text
    assert [problem.resource for problem in newer.problems] == ["BIRD 3.4.0"]


def test_ttl_security() -> None:
    text = stanza(rendered(SCENARIOS["all options"]).text, "Global_10_9_0_1_port_1790")
    assert "ttl security on;\n  multihop 3;" in text
    assert "allow local as 2;" in text
    assert "graceful restart time 30;" in text
    assert "keepalive time 20;" in text
    assert "local 10.0.0.2 as 65010;" in text


@needs_bird
@pytest.mark.parametrize(
    ("wanted", "annotations", "given"),
    [
        ("4m", {}, "240"),
        ("4m1s", {}, "80"),
        ("200h", {}, "80"),
        ("30s", {"hold-time": "9s"}, "3"),
        ("0s", {}, "1"),
    ],
)
def test_a_keepalive_time_fits_the_hold_time(
    wanted: str, annotations: dict[str, str], given: str
) -> None:
    text = rendered(
        [*nodes(30), peer("p", annotations, peer_selector="all()", keepalive_time=wanted)]
    ).text
    assert text.count(f"keepalive time {given};") == 58
    assert fault_of(text) == ""


def test_reachable_by() -> None:
    text = rendered(SCENARIOS["all options"]).text
    assert "route 10.9.0.1/32 via 10.0.0.1;" in text
    assert "route fd09::1/128 via fd00::1;" in text


def test_reflection() -> None:
    text = rendered(SCENARIOS["reflector"]).text
    client = stanza(text, "Node_10_0_0_3")
    assert "rr client;\n  rr cluster id 1.2.3.4;" in client
    assert "if source = RTS_BGP then accept;" in client
    assert "rr client" not in stanza(text, "Global_10_0_0_254")


def test_nobody_else_passes_routes_on() -> None:
    assert "if source = RTS_BGP then accept" not in rendered(SCENARIOS["tor"]).text


def test_passwords() -> None:
    text = stanza(rendered(SCENARIOS["password"]).text, "Mesh_10_0_0_3")
    assert 'password "p w#1\'x";' in text
    assert "disabled" not in text
    assert "authentication" not in text
    newer = rendered(SCENARIOS["password"], version=BirdVersion(2, 17, 1)).text
    assert "authentication md5;" in newer


@pytest.mark.parametrize("unusable", ["", 'a"b', "a\nb", "x" * 81, "a\x00"])
def test_without_its_password_a_session_is_disabled(unusable: str) -> None:
    assert password_fault(unusable)
    state = state_of(*SCENARIOS["password"])
    for passwords in ({}, {SecretRef("mesh", "password"): unusable}):
        result = render(state, "n2", passwords, HostOptions())
        text = stanza(result.text, "Mesh_10_0_0_3")
        assert "disabled yes;" in text
        assert "password" not in text.replace("# password mesh/password is not available", "")
        assert result.secrets == {SecretRef("mesh", "password")}


def test_filters_are_called_with_what_the_session_is() -> None:
    text = rendered(SCENARIOS["filters"]).text
    assert "'bgp_every.thing_importFilterV4'(true);" in stanza(text, "Global_10_0_0_9")
    assert "'bgp_every.thing_exportFilterV6'(false);" in stanza(text, "Global_fd00__9")
    assert "disabled yes;" in stanza(text, "Global_10_0_0_10")
    assert "bgp_ffff" not in text, "a filter without rules makes no function"


def test_priorities_of_each_family() -> None:
    text = rendered(SCENARIOS["priorities"]).text
    assert "define CALICO_NORMAL4 = 5000;" in text
    assert "define CALICO_NORMAL6 = 80;" in text
    assert "metric 600;" in text
    assert "metric 70;" in text


def test_priorities_without_room_are_refused() -> None:
    with pytest.raises(RefusedError, match="metric"):
        rendered([*nodes(1), felix(ipv4NormalRoutePriority=513)])


def test_direct_exclusions_begin_with_the_configured_ones() -> None:
    text = rendered(SCENARIOS["interfaces and debugging"]).text
    assert 'interface -"eth9", -"bond*", -"port*", -"tap*", -"cali*"' in text
    assert "debug protocols all;" in text
    assert "krt_source ~ [ 3, 80, 99 ]" in text


def test_pools() -> None:
    text = rendered(SCENARIOS["pools"]).text
    assert "if (net ~ 192.168.2.0/24) then reject;" in text
    assert "if (net ~ fd02::/64) then reject;" in text
    for cidr in ("192.168.4.0/24", "192.168.6.0/24"):
        assert f"if (source = RTS_BGP && net ~ {cidr}) then reject;" in text


def test_communities_are_sorted_as_text() -> None:
    text = rendered(SCENARIOS["communities"]).text
    assert text.index("add((100, 555, 107))") < text.index("add((5663, 12))")
    assert text.count("add((100, 6532))") == 1


def test_router_id() -> None:
    assert rendered(nodes(1)).router_id == "10.0.0.2"
    assert rendered(nodes(1), router_id="9.9.9.9").router_id == "9.9.9.9"
    hashed = rendered(nodes(1), router_id="hash").router_id
    assert rendered(SCENARIOS["ipv6 only"]).router_id == hashed
    master = render(state_of(), "kube-master", {}, HostOptions(router_id="hash"))
    assert master.router_id == "25.79.212.8"
