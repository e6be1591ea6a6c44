"""The layouts of BGP: what each host and the router make of them."""

from __future__ import annotations

import pytest

from calico_openstack.bgp.render import Rendered, render
from calico_openstack.bgp.stanza import HostOptions
from calico_openstack.bgp.state import StateStore
from calico_openstack.bgp.tor import render_tor
from calico_openstack.datamodel.nodes import Node, NodeBgpSpec, NodeSpec
from calico_openstack.datamodel.resource import Metadata
from calico_openstack.datamodel.validation import validate
from calico_openstack.lab.bgp_layout import BgpLayout, plan_bgp, resources
from calico_openstack.lab.topology import plan
from tests.unit.bgp.birdcheck import fault_of, needs_bird

TOPOLOGY = plan(4)


def rendered(layout: BgpLayout, host: str) -> Rendered:
    """Return what the agent of a host renders once all hosts have registered."""
    store = StateStore()
    found = resources(TOPOLOGY, layout)
    for resource in found:
        store.apply(resource.KIND, resource.metadata.name, resource)
    written = {r.metadata.name: r for r in found if isinstance(r, Node)}
    for compute in TOPOLOGY.compute:
        before = written.get(compute.name, Node(metadata=Metadata(name=compute.name)))
        cluster_id = before.spec.bgp.route_reflector_cluster_id if before.spec.bgp else ""
        bgp = NodeBgpSpec(
            ipv4_address=f"{compute.ipv4}/24",
            ipv6_address=f"{compute.ipv6}/64",
            route_reflector_cluster_id=cluster_id,
        )
        node = Node(metadata=before.metadata, spec=NodeSpec(bgp=bgp))
        store.apply(Node.KIND, compute.name, node)
    return render(store.state(), host, {}, HostOptions(log_file="/dev/null"))


@pytest.mark.parametrize("layout", BgpLayout)
def test_resources_are_valid(layout: BgpLayout) -> None:
    for resource in resources(TOPOLOGY, layout):
        assert validate(resource) == ()


@needs_bird
@pytest.mark.parametrize("layout", BgpLayout)
def test_bird_accepts_every_host_and_the_router(layout: BgpLayout) -> None:
    for host in TOPOLOGY.compute:
        result = rendered(layout, host.name)
        assert fault_of(result.text) == ""
        assert result.problems == ()
        assert not [s for s in result.sessions if s.disabled]
    assert fault_of(render_tor(plan_bgp(TOPOLOGY, layout, log_file="/dev/null").router)) == ""


@pytest.mark.parametrize(
    ("layout", "host", "internal"),
    [
        (BgpLayout.MESH, "compute-1", {"compute-2", "compute-3", "compute-4"}),
        (BgpLayout.REFLECTORS, "compute-1", {"compute-2", "compute-3", "compute-4"}),
        (BgpLayout.REFLECTORS, "compute-4", {"compute-1", "compute-2"}),
        (BgpLayout.TOR, "compute-1", set()),
    ],
)
def test_who_has_sessions_with_whom(layout: BgpLayout, host: str, internal: set[str]) -> None:
    sessions = rendered(layout, host).sessions
    assert {s.node for s in sessions if s.internal} == internal
    router = {str(s.neighbor) for s in sessions if not s.internal}
    assert router == {TOPOLOGY.tor.ipv4, TOPOLOGY.tor.ipv6}


def test_only_clients_are_reflected() -> None:
    sessions = rendered(BgpLayout.REFLECTORS, "compute-1").sessions
    assert {s.node for s in sessions if s.cluster_id} == {"compute-3", "compute-4"}
