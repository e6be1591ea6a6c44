"""Sessions that follow from BGPPeers, Nodes and BGPConfiguration."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from calico_openstack.bgp.peering import close_untrusted, sessions_of
from calico_openstack.bgp.session import NextHop, Scope
from calico_openstack.bgp.settings import SecretRef, settings_of
from calico_openstack.bgp.state import RefusedError, StateStore
from calico_openstack.datamodel.codec import decode
from calico_openstack.datamodel.invalid import Invalid
from tests.unit.bgp.builders import (
    bgp_filter,
    configuration,
    node,
    nodes,
    password,
    peer,
    sessions,
    state_of,
)

NO_MESH = configuration(node_to_node_mesh_enabled=False)


class TestMesh:
    def test_every_other_node_of_each_family(self) -> None:
        assert list(sessions("n2", *nodes())) == [
            "Mesh_10_0_0_3",
            "Mesh_10_0_0_4",
            "Mesh_fd00__3",
            "Mesh_fd00__4",
        ]

    def test_a_session_of_the_mesh(self) -> None:
        session = sessions("n2", *nodes())["Mesh_10_0_0_3"]
        assert session.scope is Scope.MESH
        assert session.source == ip_address("10.0.0.2")
        assert (session.local_as, session.remote_as) == (64512, 64512)
        assert session.internal
        assert session.passive
        assert session.port is None

    def test_nodes_that_share_an_address_do_not_cost_its_session(self) -> None:
        state = state_of(*nodes(), node("stray", "10.0.0.3/24"))
        settings, _ = settings_of(state, "n2")
        found, problems = sessions_of(state, settings)
        assert [(s.name, s.node) for s in found if s.family == 4] == [
            ("Mesh_10_0_0_3", "n3"),
            ("Mesh_10_0_0_4", "n4"),
        ]
        (problem,) = problems
        assert "Node stray" in str(problem)
        assert "Node n3" in str(problem)

    def test_exactly_one_end_of_each_pair_is_passive(self) -> None:
        everybody = nodes(12)
        for one in everybody:
            for other in everybody:
                if one is not other:
                    ours = sessions(one.metadata.name, one, other)
                    theirs = sessions(other.metadata.name, one, other)
                    for mine, yours in zip(
                        sorted(ours.values(), key=lambda s: s.family),
                        sorted(theirs.values(), key=lambda s: s.family),
                        strict=True,
                    ):
                        assert mine.passive != yours.passive

    def test_passive_is_decided_by_text(self) -> None:
        found = sessions("a", node("a", "10.0.0.10/24"), node("b", "10.0.0.9/24"))
        assert found["Mesh_10_0_0_9"].passive

    def test_disabled(self) -> None:
        assert sessions("n2", *nodes(), NO_MESH) == {}

    def test_without_a_node_for_this_host(self) -> None:
        assert sessions("elsewhere", *nodes()) == {}

    def test_without_an_address_of_a_family_none_of_its_sessions(self) -> None:
        found = sessions("n9", node("n9", ipv6="fd00::9/64"), *nodes())
        assert {session.family for session in found.values()} == {6}

    def test_a_deleted_node_is_gone(self) -> None:
        assert set(sessions("n2", *nodes(2))) == {"Mesh_10_0_0_3", "Mesh_fd00__3"}

    def test_reflectors_take_no_part(self) -> None:
        reflector = node("rr", "10.0.0.9/24", route_reflector_cluster_id="10.0.0.1")
        assert "Mesh_10_0_0_9" not in sessions("n2", *nodes(), reflector)
        assert sessions("rr", *nodes(), reflector) == {}

    def test_ports_as_number_password_and_restart_time(self) -> None:
        found = sessions(
            "n2",
            *nodes(2),
            node("other", "10.0.0.7/24", as_number=65007),
            configuration(
                listen_port=177,
                as_number=65000,
                node_mesh_password=password("mesh"),
                node_mesh_max_restart_time="2m0.4s",
            ),
            configuration("node.n2", listen_port=180),
            configuration("node.other", listen_port=500),
        )
        assert found["Mesh_10_0_0_3"].port == 177
        assert found["Mesh_10_0_0_3"].local_as == 65000
        assert found["Mesh_10_0_0_3"].password == SecretRef("mesh", "password")
        assert found["Mesh_10_0_0_3"].restart_time == 120
        assert found["Mesh_10_0_0_7"].port == 500
        assert found["Mesh_10_0_0_7"].remote_as == 65007
        assert not found["Mesh_10_0_0_7"].internal

    def test_an_explicit_peer_wins_over_the_mesh(self) -> None:
        explicit = peer("explicit", node="n2", peer_ip="10.0.0.3", reverse_peering="Manual")
        found = sessions("n2", *nodes(2), explicit)
        assert set(found) == {"Node_10_0_0_3", "Mesh_fd00__3"}


class TestPeerIp:
    def test_global_peer_on_every_node(self) -> None:
        tor = peer("tor", peer_ip="10.0.0.254", as_number=64513)
        for host in ("n2", "n3"):
            session = sessions(host, *nodes(2), NO_MESH, tor)["Global_10_0_0_254"]
            assert session.remote_as == 64513
            assert not session.internal
            assert not session.passive
            assert session.source is not None
            assert session.resource == "BGPPeer tor"

    def test_ports_make_separate_sessions(self) -> None:
        found = sessions(
            "n2",
            *nodes(2),
            configuration(node_to_node_mesh_enabled=False, listen_port=150),
            peer("a", peer_ip="10.0.0.3:166"),
            peer("b", peer_ip="10.0.0.3"),
            peer("c", peer_ip="[fd00::3]:166"),
        )
        names = {"Global_10_0_0_3_port_166", "Global_10_0_0_3_port_150", "Global_fd00__3_port_166"}
        assert set(found) == names
        assert found["Global_10_0_0_3_port_150"].passive

    def test_a_port_is_taken_only_from_a_node_with_the_same_as(self) -> None:
        found = sessions(
            "n2",
            *nodes(2),
            configuration(node_to_node_mesh_enabled=False, listen_port=150),
            peer("b", peer_ip="10.0.0.3", as_number=65000),
        )
        assert set(found) == {"Global_10_0_0_3"}

    def test_no_session_with_oneself(self) -> None:
        assert sessions("n2", nodes(1)[0], NO_MESH, peer("me", peer_ip="10.0.0.2")) == {}

    def test_one_session_where_a_global_and_a_node_peer_meet(self) -> None:
        found = sessions(
            "n2",
            *nodes(1),
            NO_MESH,
            peer("z-global", peer_ip="10.0.0.99", as_number=65000),
            peer("a-node", node="n2", peer_ip="10.0.0.99", as_number=65001),
        )
        assert {name: s.remote_as for name, s in found.items()} == {"Global_10_0_0_99": 65000}

    def test_the_first_by_name_wins(self) -> None:
        found = sessions(
            "n2",
            *nodes(1),
            peer("b", peer_ip="10.0.0.99", as_number=65002),
            peer("a", peer_ip="10.0.0.99", as_number=65001),
        )
        assert found["Global_10_0_0_99"].resource == "BGPPeer a"

    def test_source_address_none(self) -> None:
        found = sessions(
            "n2", *nodes(1), peer("p", peer_ip="10.0.0.99", as_number=1, source_address="None")
        )
        assert found["Global_10_0_0_99"].source is None

    def test_all_its_options(self) -> None:
        found = sessions(
            "n2",
            *nodes(1),
            peer(
                "p",
                peer_ip="10.9.0.1",
                as_number="1.10",
                local_as_number=65010,
                password=password("s", "k"),
                max_restart_time="30s",
                keepalive_time="1m",
                num_allowed_local_as_numbers=2,
                ttl_security=3,
                reachable_by="10.0.0.1",
                filters=("f", "g"),
                keep_original_next_hop=True,
            ),
        )
        session = found["Global_10_9_0_1"]
        assert (session.remote_as, session.local_as) == (65546, 65010)
        assert session.password == SecretRef("s", "k")
        assert (session.restart_time, session.keepalive_time) == (30, 60)
        assert (session.allow_local_as, session.hops) == (2, 3)
        assert session.reachable_by == ip_address("10.0.0.1")
        assert session.filters == ("f", "g")
        assert session.next_hop is NextHop.KEEP

    @pytest.mark.parametrize("gateway", ["fd00::1", "nonsense"])
    def test_an_unusable_gateway_drops_the_peer(self, gateway: str) -> None:
        state = state_of(*nodes(1), peer("p", peer_ip="10.9.0.1", reachable_by=gateway))
        found, problems = sessions_of(state, settings_of(state, "n2")[0])
        assert found == ()
        assert [problem.field for problem in problems] == ["spec.reachableBy"]


class TestNextHop:
    def test_keep_original_acts_between_as_only(self) -> None:
        found = sessions(
            "n2",
            *nodes(1),
            peer("i", peer_ip="10.0.0.50", keep_original_next_hop=True),
            peer("e", peer_ip="10.0.0.51", as_number=65000, keep_original_next_hop=True),
        )
        assert found["Global_10_0_0_50"].next_hop is None
        assert found["Global_10_0_0_51"].next_hop is NextHop.KEEP

    @pytest.mark.parametrize(("mode", "wanted"), [("Self", NextHop.SELF), ("Keep", NextHop.KEEP)])
    def test_modes_act_inside_the_as_too(self, mode: str, wanted: NextHop) -> None:
        found = sessions("n2", *nodes(1), peer("i", peer_ip="10.0.0.50", next_hop_mode=mode))
        assert found["Global_10_0_0_50"].next_hop is wanted

    def test_a_local_as_decides_what_is_internal(self) -> None:
        found = sessions(
            "n2", *nodes(1), peer("p", peer_ip="10.0.0.50", as_number=65000, local_as_number=65000)
        )
        assert found["Global_10_0_0_50"].internal


class TestSelectors:
    RR = node(
        "rr", "10.0.0.9/24", "fd00::9/64", {"rr": "true"}, route_reflector_cluster_id="10.0.0.1"
    )
    CLIENTS = peer("clients", node_selector="!has(rr)", peer_selector="has(rr)")

    def test_clients_of_a_reflector(self) -> None:
        found = sessions("n2", *nodes(), self.RR, NO_MESH, self.CLIENTS)
        assert set(found) == {"Node_10_0_0_9", "Node_fd00__9"}
        assert found["Node_10_0_0_9"].cluster_id == ""
        assert not found["Node_10_0_0_9"].passive

    def test_the_reflector_gets_the_reverse_sessions(self) -> None:
        found = sessions("rr", *nodes(), self.RR, NO_MESH, self.CLIENTS)
        assert len(found) == 6
        assert {session.cluster_id for session in found.values()} == {"10.0.0.1"}

    def test_manual_reverse_peering(self) -> None:
        manual = peer(
            "clients",
            node_selector="!has(rr)",
            peer_selector="has(rr)",
            reverse_peering="Manual",
        )
        assert sessions("rr", *nodes(), self.RR, NO_MESH, manual) == {}

    def test_reflectors_of_one_cluster_are_no_clients_of_each_other(self) -> None:
        second = node(
            "rr2", "10.0.0.8/24", labels={"rr": "true"}, route_reflector_cluster_id="10.0.0.1"
        )
        third = node(
            "rr3", "10.0.0.7/24", labels={"rr": "true"}, route_reflector_cluster_id="10.0.0.2"
        )
        both = peer("rrs", node_selector="has(rr)", peer_selector="has(rr)")
        found = sessions("rr", self.RR, second, third, both)
        assert {name: s.cluster_id for name, s in found.items()} == {
            "Node_10_0_0_7": "10.0.0.1",
            "Node_10_0_0_8": "",
        }

    def test_an_external_peer_is_no_client(self) -> None:
        found = sessions("rr", self.RR, peer("tor", peer_ip="10.0.0.254", as_number=64533))
        assert found["Global_10_0_0_254"].cluster_id == ""
        assert not found["Global_10_0_0_254"].internal

    def test_a_node_with_the_mesh_and_a_reflector(self) -> None:
        to_reflector = peer("rr", node="rr", peer_selector="all()")
        found = sessions("n2", *nodes(), self.RR, to_reflector)
        assert {"Mesh_10_0_0_3", "Mesh_10_0_0_4", "Node_10_0_0_9"} <= set(found)
        assert "Mesh_10_0_0_9" not in found

    def test_ports_follow_the_selected_node(self) -> None:
        one, other = nodes(2)
        rule = peer("p", node="n2", peer_selector="all()")
        port = configuration("node.n3", listen_port=500)
        assert "Node_10_0_0_3_port_500" in sessions("n2", one, other, NO_MESH, rule, port)
        assert "Node_10_0_0_3" in sessions("n2", one, other, NO_MESH, rule)

    def test_local_as_and_allowed_as_are_not_carried(self) -> None:
        rule = peer(
            "p",
            node="n2",
            peer_selector="all()",
            local_as_number=65010,
            num_allowed_local_as_numbers=3,
        )
        session = sessions("n2", *nodes(2), NO_MESH, rule)["Node_10_0_0_3"]
        assert session.local_as == 64512
        assert session.allow_local_as is None


class TestReversePeeringByAddress:
    def test_the_addressed_node_peers_back_in_that_family(self) -> None:
        found = sessions("n3", *nodes(), NO_MESH, peer("p", peer_ip="10.0.0.3"))
        assert set(found) == {"Node_10_0_0_2", "Node_10_0_0_4"}

    def test_another_as_is_another_router(self) -> None:
        found = sessions("n3", *nodes(), NO_MESH, peer("p", peer_ip="10.0.0.3", as_number=65000))
        assert "Node_10_0_0_2" not in found

    @pytest.mark.parametrize(("port", "count"), [(500, 2), (501, 0)])
    def test_the_effective_listen_port_counts(self, port: int, count: int) -> None:
        found = sessions(
            "n3",
            *nodes(),
            configuration(node_to_node_mesh_enabled=False, listen_port=400),
            configuration("node.n3", listen_port=500),
            peer("p", peer_ip=f"10.0.0.3:{port}"),
        )
        assert len(found) == count


class TestClosed:
    def test_a_password_that_is_missing(self) -> None:
        state = state_of(*nodes(2), configuration(node_mesh_password=password("mesh")))
        found, _ = sessions_of(state, settings_of(state, "n2")[0])
        assert all(session.disabled for session in close_untrusted(found, state, {}))
        known = {SecretRef("mesh", "password"): "x"}
        assert not any(session.disabled for session in close_untrusted(found, state, known))

    def test_a_filter_that_is_missing_or_invalid(self) -> None:
        resources = [*nodes(1), peer("p", peer_ip="10.0.0.99", as_number=1, filters=("f",))]
        state = state_of(*resources)
        found, _ = sessions_of(state, settings_of(state, "n2")[0])
        assert "does not exist" in close_untrusted(found, state, {})[0].disabled
        path = "/calico/resources/v3/projectcalico.org/bgpfilters/f"
        invalid = decode(path, b"{nonsense")
        assert isinstance(invalid, Invalid)
        store = StateStore()
        for resource in resources:
            store.apply(resource.KIND, resource.metadata.name, resource)
        store.apply("BGPFilter", "f", invalid)
        assert "is invalid" in close_untrusted(found, store.state(), {})[0].disabled
        good = state_of(*resources, bgp_filter("f"))
        assert close_untrusted(found, good, {})[0].disabled == ""

    @pytest.mark.parametrize(
        ("kind", "name", "segment"),
        [
            ("BGPConfiguration", "default", "bgpconfigurations/default"),
            ("BGPConfiguration", "node.n2", "bgpconfigurations/node.n2"),
            ("Node", "n2", "nodes/n2"),
        ],
    )
    def test_what_everything_rests_on_is_refused(self, kind: str, name: str, segment: str) -> None:
        invalid = decode(f"/calico/resources/v3/projectcalico.org/{segment}", b'{"spec": 7}')
        assert isinstance(invalid, Invalid)
        store = StateStore()
        for resource in nodes():
            store.apply("Node", resource.metadata.name, resource)
        store.apply(kind, name, invalid)
        with pytest.raises(RefusedError):
            settings_of(store.state(), "n2")

    def test_other_invalid_objects_cost_only_themselves(self) -> None:
        store = StateStore()
        for resource in nodes():
            store.apply("Node", resource.metadata.name, resource)
        invalid = decode("/calico/resources/v3/projectcalico.org/nodes/n3", b"[]")
        assert isinstance(invalid, Invalid)
        store.apply("Node", "n3", invalid)
        state = store.state()
        found, _ = sessions_of(state, settings_of(state, "n2")[0])
        assert {session.node for session in found} == {"n4"}
        assert [problem.resource for problem in state.problems()] == ["Node n3"]
