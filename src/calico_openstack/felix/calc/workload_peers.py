"""Which workloads of this host speak BGP with it (``localWorkloadSelector`` of BGPPeers).

The routes that they announce lie over their interfaces and are BIRD's to make and to remove.
"""

from __future__ import annotations

from collections.abc import Mapping

from calico_openstack.datamodel.bgp import BGPPeer, BGPPeerSpec
from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.nodes import Node
from calico_openstack.datamodel.selector import Selector, parse


class WorkloadPeers:
    """The BGPPeers that choose workloads of *hostname*.

    ``changed`` tells that what is chosen may be different; the owner clears it.
    """

    def __init__(self, hostname: str) -> None:
        self.changed = False
        self._hostname = hostname
        self._node_labels: Mapping[str, str] = {}
        self._peers: dict[str, BGPPeerSpec] = {}
        self._near: dict[str, Selector] | None = None

    def update_peer(self, key: ResourceKey, peer: BGPPeer | None) -> None:
        """Take up the present value of a BGPPeer; None: there is none that can be used."""
        spec = peer.spec if peer is not None and peer.spec.local_workload_selector else None
        if self._peers.pop(key.name, None) != spec:
            self._forget()
        if spec is not None:
            self._peers[key.name] = spec

    def update_node(self, key: ResourceKey, node: Node | None) -> None:
        """Take up the present value of a node."""
        labels = node.metadata.labels if node is not None else {}
        if key.name == self._hostname and labels != self._node_labels:
            self._node_labels = labels
            self._forget()

    def of(self, labels: Mapping[str, str]) -> str:
        """Return the first BGPPeer by name that chooses a workload with *labels*, "" for none."""
        if self._near is None:
            self._near = {
                name: parse(spec.local_workload_selector)
                for name, spec in sorted(self._peers.items())
                if self._is_near(spec)
            }
        return next((name for name, each in self._near.items() if each.matches(labels)), "")

    def __bool__(self) -> bool:
        return bool(self._peers)

    def _forget(self) -> None:
        self._near = None
        self.changed = True

    def _is_near(self, spec: BGPPeerSpec) -> bool:
        if spec.node:
            return spec.node == self._hostname
        return not spec.node_selector or parse(spec.node_selector).matches(self._node_labels)
