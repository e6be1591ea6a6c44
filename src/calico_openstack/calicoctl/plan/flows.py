"""Which flows that are established now a change would cut. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from msgspec import Struct

from calico_openstack.agent.introspection.protocol import Row
from calico_openstack.calicoctl.naming import port_title, project_title
from calico_openstack.calicoctl.plan.comparison import is_changed
from calico_openstack.calicoctl.plan.world import World
from calico_openstack.datamodel import ResourceKey, WorkloadEndpoint
from calico_openstack.datamodel.protocols import PROTOCOL_NAMES
from calico_openstack.policy.addresses import pack_address, unpack_address
from calico_openstack.policy.packet import Direction, Packet

# So many addresses fit into one question.
_AT_ONCE: Final = 60


class CutFlow(Struct, frozen=True):
    """A flow that would end, by its first packet, and the ends that it belongs to."""

    packet: Packet
    source: str
    destination: str

    def __str__(self) -> str:
        packet = self.packet
        name = PROTOCOL_NAMES.get(packet.protocol, f"protocol {packet.protocol}")
        source = _place(self.source, packet.source, packet.source_port)
        destination = _place(self.destination, packet.destination, packet.destination_port)
        return f"{name} {source} -> {destination}"


def _place(title: str, address: bytes, port: int | None) -> str:
    number = "" if port is None else f" port {port}"
    return f"{title} ({unpack_address(address)}{number})"


def questions(old: World, new: World) -> Iterator[tuple[str, str]]:
    """Yield hosts, and addresses on them whose flows may be cut, with commas between them.

    These are of the endpoints for which something changes: the rest have no say in it.
    """
    by_host: dict[str, list[str]] = {}
    for key, endpoint in old.cluster.endpoints.items():
        if is_changed(old, new, key):
            addresses = (each.partition("/")[0] for each in endpoint.spec.ip_networks)
            by_host.setdefault(endpoint.spec.node, []).extend(addresses)
    for host, of_host in sorted(by_host.items()):
        for start in range(0, len(of_host), _AT_ONCE):
            yield host, ",".join(of_host[start : start + _AT_ONCE])


class FlowJudge:
    """Judges flows by the policy before and after; each is told once, whoever has it."""

    def __init__(self, old: World, new: World) -> None:
        self._old, self._new = old, new
        self._seen: set[Packet] = set()
        self._owners: Mapping[bytes, ResourceKey] = {
            pack_address(network): key
            for key, endpoint in old.cluster.endpoints.items()
            for network in endpoint.spec.ip_networks
        }

    def cut(self, rows: Iterable[Row]) -> Iterator[CutFlow]:
        """Yield the flows of a host that were allowed, and would be no more."""
        for row in rows:
            packet = packet_of(row)
            if packet in self._seen:
                continue
            self._seen.add(packet)
            source = self._owners.get(packet.source)
            destination = self._owners.get(packet.destination)
            if self._allows(self._old, packet, source, destination) and not self._allows(
                self._new, packet, source, destination
            ):
                yield CutFlow(packet, self._title(source), self._title(destination))

    @staticmethod
    def _allows(
        world: World, packet: Packet, source: ResourceKey | None, destination: ResourceKey | None
    ) -> bool:
        return world.allows(source, Direction.EGRESS, packet) and world.allows(
            destination, Direction.INGRESS, packet
        )

    def _title(self, key: ResourceKey | None) -> str:
        if key is None:
            return "outside"
        endpoint: WorkloadEndpoint = self._old.cluster.endpoints[key]
        metadata = endpoint.metadata
        project = project_title(metadata.labels)
        of = f" of project {project}" if project else ""
        return f"port {port_title(metadata.annotations, endpoint.spec.endpoint)}{of}"


def packet_of(row: Row) -> Packet:
    """Return the first packet of a flow that a host has told of."""

    def number(name: str) -> int | None:
        return int(row[name]) if row[name] else None

    return Packet(
        pack_address(row["source"]),
        pack_address(row["destination"]),
        int(row["protocol"]),
        number("source port"),
        number("destination port"),
        icmp_type=number("icmp type"),
        icmp_code=number("icmp code"),
    )
