"""Guards against mistakes: large meshes, the loss of all sessions, filters that leak."""

from __future__ import annotations

import pytest

from calico_openstack.bgp.render import Rendered, render
from calico_openstack.bgp.safeguard import reason_to_wait
from calico_openstack.bgp.settings import REGION_LABEL
from calico_openstack.bgp.stanza import HostOptions
from calico_openstack.bgp.state import RefusedError
from calico_openstack.datamodel.bgp import BGPFilterRule
from calico_openstack.datamodel.resource import Resource
from tests.unit.bgp.builders import bgp_filter, configuration, node, nodes, peer, state_of


def rendered(*resources: Resource) -> Rendered:
    return render(state_of(*resources), "n2", {}, HostOptions())


def mesh(count: int) -> list[Resource]:
    return [node(f"n{i}", f"10.0.{i // 200}.{i % 200 + 1}/16") for i in range(2, count + 2)]


def test_a_large_mesh_is_reported() -> None:
    assert rendered(*mesh(100)).problems == ()
    (problem,) = rendered(*mesh(101)).problems
    assert problem.field == "spec.nodeToNodeMeshEnabled"
    assert "101 hosts" in problem.reason


def test_a_mesh_that_is_too_large_is_refused_unless_allowed() -> None:
    assert len(rendered(*mesh(250)).sessions) == 249
    with pytest.raises(RefusedError, match="251 hosts"):
        rendered(*mesh(251))
    allowed = rendered(*mesh(251), configuration(annotations={"mesh-limit": "400"}))
    assert len(allowed.sessions) == 250
    assert allowed.problems == ()
    with pytest.raises(RefusedError):
        rendered(*mesh(3), configuration(annotations={"mesh-limit": "2"}))


def test_a_limit_that_is_none_is_reported() -> None:
    result = rendered(*mesh(3), configuration(annotations={"mesh-limit": "many"}))
    assert any("many" in problem.reason for problem in result.problems)
    assert len(result.sessions) == 2


@pytest.mark.parametrize("left", [[], [nodes(1)[0]], [*nodes(3), "no mesh"]])
def test_all_sessions_are_not_given_up_at_once(left: list[Resource | str]) -> None:
    off = configuration(node_to_node_mesh_enabled=False)
    after = rendered(*(off if item == "no mesh" else item for item in left))  # type: ignore[arg-type]
    assert after.sessions == ()
    assert "4 neighbours" in reason_to_wait(rendered(*nodes(3)).text, after)


def test_the_last_neighbour_may_go() -> None:
    after = rendered(*nodes(1))
    assert reason_to_wait(rendered(*nodes(2)).text, after) == ""
    assert reason_to_wait("", after) == ""
    assert reason_to_wait(after.text, after) == ""


def test_some_sessions_are_enough() -> None:
    assert reason_to_wait(rendered(*nodes(9)).text, rendered(*nodes(2))) == ""


def test_a_host_without_address_gives_its_sessions_up() -> None:
    assert reason_to_wait(rendered(*nodes(3)).text, rendered(node("n2"), *nodes(3)[1:])) == ""


def test_it_may_be_allowed() -> None:
    off = configuration(annotations={"allow-no-sessions": "true"}, node_to_node_mesh_enabled=False)
    assert reason_to_wait(rendered(*nodes(3)).text, rendered(*nodes(3), off)) == ""


def test_a_filter_that_announces_everything_is_reported() -> None:
    leak = bgp_filter(
        "leak",
        export_v4=(
            BGPFilterRule(action="Accept", interface="tap*"),
            BGPFilterRule(action="Accept"),
        ),
        export_v6=(BGPFilterRule(action="Reject"),),
    )
    unused = rendered(*nodes(1), leak)
    assert unused.problems == ()
    result = rendered(*nodes(1), leak, peer("p", peer_ip="10.0.0.9", filters=("leak",)))
    assert [problem.field for problem in result.problems] == ["spec.exportV4[1]"]


def test_the_mesh_stays_inside_a_region() -> None:
    def of_region(number: int, region: str) -> Resource:
        labels = {REGION_LABEL: region} if region else {}
        return node(f"n{number}", f"10.0.0.{number}/24", labels=labels)

    here = [of_region(2, "one"), of_region(3, "one"), of_region(4, "two"), of_region(5, "")]
    assert [s.node for s in rendered(*here).sessions] == ["n3"]
    assert [s.node for s in rendered(of_region(2, ""), *here[1:]).sessions] == ["n5"]
