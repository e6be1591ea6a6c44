"""BGP sessions with workloads, and what is taken from them."""

from __future__ import annotations

from typing import Any

import pytest

from calico_openstack.bgp.render import Rendered, render
from calico_openstack.bgp.stanza import HostOptions
from calico_openstack.bgp.state import BgpState, StateStore
from calico_openstack.datamodel.bgp import BGPFilterRule
from calico_openstack.datamodel.endpoints import WorkloadEndpoint, WorkloadEndpointSpec
from calico_openstack.datamodel.resource import Metadata, Resource
from tests.unit.bgp.birdcheck import fault_of, needs_bird
from tests.unit.bgp.builders import bgp_filter, nodes, peer
from tests.unit.bgp.test_bgp_render import stanza

ROUTER = "network == 'router'"
POD_NETWORKS = bgp_filter(
    "pods",
    import_v4=(BGPFilterRule(action="Accept", cidr="10.200.0.0/16", match_operator="In"),),
)


def workload(number: int, labels: dict[str, str]) -> WorkloadEndpoint:
    return WorkloadEndpoint(
        metadata=Metadata(name=f"w{number}", labels=labels),
        spec=WorkloadEndpointSpec(
            ip_networks=(f"10.65.0.{number}/32", f"fd65::{number}/128", "10.65.1.1/32")
        ),
    )


def state_of(*resources: Resource) -> BgpState:
    store = StateStore()
    for resource in resources:
        store.apply(resource.KIND, resource.metadata.name, resource)
    store.apply_workload("openstack/w5", workload(5, {"network": "router"}))
    store.apply_workload("openstack/w6", workload(6, {"network": "plain"}))
    return store.state()


def rendered(*resources: Resource, like_kubernetes: bool = False, **spec: Any) -> Rendered:
    spec = {"local_workload_selector": ROUTER, "as_number": 64999} | spec
    state = state_of(*nodes(2), POD_NETWORKS, peer("w", **spec), *resources)
    return render(state, "n2", {}, HostOptions(like_kubernetes=like_kubernetes))


def names(result: Rendered) -> list[str]:
    return [s.name for s in result.sessions if s.name.startswith("Local")]


def test_chosen_workloads_are_waited_for_at_their_first_addresses() -> None:
    result = rendered(local_as_number=64513)
    assert names(result) == ["Local_Workload_10_65_0_5", "Local_Workload_fd65__5"]
    text = stanza(result.text, "Local_Workload_10_65_0_5")
    assert "neighbor 10.65.0.5 as 64999;" in text
    assert "local as 64513;" in text
    assert "passive on;" in text


@pytest.mark.parametrize(
    ("spec", "there"),
    [
        ({"node": "n2"}, True),
        ({"node": "n3"}, False),
        ({"node_selector": "has(rack)"}, False),
        ({"local_workload_selector": "network == 'other'"}, False),
    ],
)
def test_hosts_and_workloads_are_chosen(spec: dict[str, str], there: bool) -> None:
    assert bool(names(rendered(**spec))) is there


def test_the_first_peer_by_name_gets_a_workload() -> None:
    other = peer("a", local_workload_selector="all()", as_number=65000)
    chosen = {s.name: s.remote_as for s in rendered(other).sessions if s.remote_as > 64512}
    assert chosen["Local_Workload_10_65_0_5"] == 65000
    assert len(chosen) == 4


def test_only_what_a_filter_accepts_is_taken() -> None:
    text = stanza(rendered(filters=("pods",)).text, "Local_Workload_10_65_0_5")
    wanted = text.partition("export filter")[0]
    call, reject = wanted.index("'bgp_pods_importFilterV4'(true);"), wanted.index("reject;")
    assert wanted.index("bgp_local_pref = CALICO_PRIORITY_BASE - CALICO_NORMAL4;") < call < reject
    alike = stanza(rendered(like_kubernetes=True).text, "Local_Workload_10_65_0_5")
    assert "reject" not in alike.partition("export filter")[0]


def test_other_hosts_hear_of_it_with_this_host_as_next_hop() -> None:
    with_workload = rendered().text
    assert 'source = RTS_BGP && proto ~ "Local_Workload_*"' in with_workload
    assert "bgp_next_hop = 10.0.0.2;" in with_workload
    assert "Local_Workload" not in rendered(node="n3").text


def test_a_selector_that_cannot_be_read_is_reported() -> None:
    result = rendered(local_workload_selector="has(", as_number=1)
    assert any(problem.resource == "BGPPeer w" for problem in result.problems)
    assert names(result) == []


def test_workloads_matter_only_if_a_peer_is_about_them() -> None:
    store = StateStore()
    assert not store.workloads_matter
    about = peer("w", local_workload_selector="all()", as_number=1)
    store.apply(about.KIND, "w", about)
    assert store.workloads_matter


@needs_bird
@pytest.mark.parametrize("like_kubernetes", [False, True])
def test_bird_accepts(like_kubernetes: bool) -> None:
    assert fault_of(rendered(filters=("pods",), like_kubernetes=like_kubernetes).text) == ""


def test_an_address_that_no_session_can_lead_to_is_passed_over() -> None:
    store = StateStore()
    for resource in (*nodes(2), peer("w", local_workload_selector="all()", as_number=64999)):
        store.apply(resource.KIND, resource.metadata.name, resource)
    networks = ("0.0.0.0/32", "10.65.0.7/32", "fe80::7/128")
    router = WorkloadEndpoint(
        metadata=Metadata(name="w7"), spec=WorkloadEndpointSpec(ip_networks=networks)
    )
    store.apply_workload("openstack/w7", router)
    assert names(render(store.state(), "n2", {}, HostOptions())) == ["Local_Workload_10_65_0_7"]
