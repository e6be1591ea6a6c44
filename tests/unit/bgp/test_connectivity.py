"""When a host counts as isolated."""

from __future__ import annotations

from calico_openstack.bgp.connectivity import Connectivity
from tests.unit.bgp.builders import nodes, peer, sessions

SESSIONS = sessions("n2", *nodes(2), peer("tor", peer_ip="10.0.0.254", as_number=64513))
FOUR, SIX, TOR = "Mesh_10_0_0_3", "Mesh_fd00__3", "Global_10_0_0_254"


def test_only_after_a_while_and_by_family() -> None:
    connectivity = Connectivity(patience=10)

    def isolated(now: float, *established: str) -> list[int]:
        return sorted(connectivity.isolated(SESSIONS.values(), established, now))

    assert isolated(0) == []
    assert isolated(9, SIX, TOR) == []
    assert isolated(10, SIX, TOR) == [4]
    assert isolated(11, SIX, FOUR) == []
    assert isolated(20, SIX) == []
    assert isolated(29, SIX) == []
    assert isolated(30, SIX) == [4]


def test_a_host_without_others_is_not_isolated() -> None:
    connectivity = Connectivity(patience=0)
    assert connectivity.isolated([SESSIONS[TOR]], [], 1e9) == frozenset()


def test_a_session_that_vanishes_isolates_nobody() -> None:
    connectivity = Connectivity(patience=10)
    connectivity.isolated(SESSIONS.values(), [], 0)
    assert connectivity.isolated([SESSIONS[TOR]], [], 100) == frozenset()
