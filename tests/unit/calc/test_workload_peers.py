"""Which workloads of the host speak BGP with it."""

from __future__ import annotations

from msgspec.structs import replace

from calico_openstack.datamodel.bgp import BGPPeer, BGPPeerSpec
from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.nodes import Node
from calico_openstack.datamodel.policies import Profile, ProfileSpec
from calico_openstack.datamodel.resource import Metadata
from calico_openstack.felix.calc import HostCalculation
from calico_openstack.felix.render import Renderer, RenderSettings
from tests.support.resources import workload

HOST = "here"


class Site:
    """A calculation with two workloads, and the interfaces that are rendered as peers'."""

    def __init__(self) -> None:
        self.calculation = HostCalculation(HOST)
        self.renderer = Renderer(RenderSettings(), self.calculation.state)
        for number, labels in ((1, {"role": "router"}), (2, {})):
            key, endpoint = workload(number)
            spec = replace(endpoint.spec, profiles=("p",))
            metadata = replace(endpoint.metadata, labels={**endpoint.metadata.labels, **labels})
            self.calculation.update(key, replace(endpoint, spec=spec, metadata=metadata))

    def put_peer(self, name: str, selector: str, **spec: str) -> None:
        body = BGPPeerSpec(local_workload_selector=selector, as_number=64999, **spec)  # type: ignore[arg-type]
        peer = BGPPeer(metadata=Metadata(name=name), spec=body)
        self.calculation.update(ResourceKey("BGPPeer", name), peer)

    def peers(self) -> dict[str, str]:
        self.renderer.apply(self.calculation.flush())
        found = {e.interface: e.peer for e in self.calculation.state.endpoints.values() if e.peer}
        assert self.renderer.desired.peers == found.keys()
        return found


def test_the_first_peer_by_name_counts() -> None:
    site = Site()
    assert site.peers() == {}
    site.put_peer("b", "role == 'router'")
    assert site.peers() == {"tap1": "b"}
    site.put_peer("a", "all()")
    assert site.peers() == {"tap1": "a", "tap2": "a"}
    site.calculation.update(ResourceKey("BGPPeer", "a"), None)
    assert site.peers() == {"tap1": "b"}
    site.put_peer("b", "")
    assert site.peers() == {}


def test_peers_are_of_hosts() -> None:
    site = Site()
    site.put_peer("a", "all()", node="there")
    assert site.peers() == {}
    site.put_peer("a", "has(role)", node_selector="rack == '1'")
    assert site.peers() == {}
    node = Node(metadata=Metadata(name=HOST, labels={"rack": "1"}))
    site.calculation.update(ResourceKey("Node", HOST), node)
    assert site.peers() == {"tap1": "a"}
    site.calculation.update(ResourceKey("Node", HOST), None)
    assert site.peers() == {}


def test_labels_may_be_inherited() -> None:
    site = Site()
    site.put_peer("a", "speaks == 'bgp'")
    assert site.peers() == {}
    profile = Profile(spec=ProfileSpec(labels_to_apply={"speaks": "bgp"}))
    site.calculation.update(ResourceKey("Profile", "p"), profile)
    assert site.peers() == {"tap1": "a", "tap2": "a"}
