"""Hosts for the benchmarks of packets: what Felix wants of the kernel, and the two ends of a flow.

The host has the endpoints and groups of a seeded cluster. Two more endpoints are plugged: a sender,
and a receiver whose group has the number of rules that is asked for. The last of them, and only
that one, admits the sender: the members of another group, from everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from benchmarks.clusters import EXTRA, NAMESPACE, Cluster
from benchmarks.packet_path import End, PacketHost
from calico_openstack.datamodel import ResourceKey
from calico_openstack.datamodel.remote import RemoteEndpoint
from calico_openstack.etcd import Update
from calico_openstack.felix.calc import HostCalculation
from calico_openstack.felix.inputs import Inputs
from calico_openstack.felix.render import Renderer, RenderSettings

_CLIENTS, _SERVERS = "sg.projectcalico.org/clients", "sg.projectcalico.org/servers"
_LOCAL_PER_GROUP = 4
_UPLINK = "eth9"


class Load(msgspec.Struct, frozen=True):
    """A host with *local* endpoints, and *rules* in the receiver's group.

    *uplink*: the sender is on another host, so that its packets come by an interface of the host.
    """

    local: int
    rules: int
    uplink: bool = False

    @property
    def name(self) -> str:
        """How it is called in the table."""
        sender = ", from another host" if self.uplink else ""
        return f"{self.local} endpoints, {self.rules} rules{sender}"


def render(load: Load, settings: RenderSettings | None = None) -> PacketHost:
    """Return what the real calculation and renderer make of a load."""
    cluster = Cluster(load.local, max(50, load.local // _LOCAL_PER_GROUP), load.local)
    ends: list[End] = []
    inputs = Inputs(cluster.host(0))
    calculation = HostCalculation(cluster.host(0))
    for key, value in _objects(cluster, load, ends):
        decoded = inputs.decode(Update(key, value, 1))
        if isinstance(decoded, RemoteEndpoint):
            calculation.update_remote(decoded)
        elif decoded is not None:
            calculation.update(*decoded)
    renderer = Renderer(settings or RenderSettings(), calculation.state)
    renderer.apply(calculation.flush())
    if calculation.state.problems or inputs.invalid:
        raise ValueError(f"unusable: {calculation.state.problems} {inputs.invalid}")
    return PacketHost(renderer.desired, *ends)


def _objects(cluster: Cluster, load: Load, ends: list[End]) -> Iterator[tuple[str, bytes]]:
    yield from cluster.objects()
    yield _policy(_CLIENTS, ingress=[])
    yield _policy(_SERVERS, ingress=[*_others(load.rules - 1), _admits_clients()])
    # In the middle of the cluster's addresses, whatever the order of anything is.
    for number, group, host in ((EXTRA, _CLIENTS, int(load.uplink)), (EXTRA + 1, _SERVERS, 0)):
        endpoint = cluster.endpoint(number, like=0, host=host)
        resource: dict[str, Any] = msgspec.json.decode(endpoint.value)
        labels = resource["metadata"]["labels"]
        for label in [name for name in labels if name.startswith("sg")]:
            del labels[label]
        labels[group] = "group"
        interface = endpoint.interface if host == 0 else _UPLINK
        ends.append(End(interface, endpoint.address, resource["spec"]["mac"]))
        yield endpoint.key, msgspec.json.encode(resource)


def _policy(label: str, ingress: list[dict[str, Any]]) -> tuple[str, bytes]:
    name = f"default.ossg.default.{label.rpartition('/')[2]}"
    resource = {
        "kind": "NetworkPolicy",
        "apiVersion": "projectcalico.org/v3",
        "metadata": {"name": name, "namespace": NAMESPACE, "uid": name},
        "spec": {
            "tier": "default",
            "order": 1000,
            "selector": f"has({label})",
            "types": ["Ingress", "Egress"],
            "ingress": ingress,
            "egress": [{"action": "Allow", "ipVersion": 4}, {"action": "Allow", "ipVersion": 6}],
        },
    }
    return ResourceKey("NetworkPolicy", name, NAMESPACE).path, msgspec.json.encode(resource)


def _others(count: int) -> Iterator[dict[str, Any]]:
    """Yield rules that do not admit the sender: of each kind that security groups have."""
    for number in range(count):
        port = 1000 + number
        net = f"172.{16 + (number >> 8)}.{number & 255}.0/24"
        yield {
            "action": "Allow",
            "ipVersion": 4,
            "protocol": "TCP" if number % 3 else "UDP",
            "destination": {"ports": [port]},
        } | ({} if number % 2 else {"source": {"nets": [net]}})


def _admits_clients() -> dict[str, Any]:
    return {"action": "Allow", "ipVersion": 4, "source": {"selector": f"has({_CLIENTS})"}}
