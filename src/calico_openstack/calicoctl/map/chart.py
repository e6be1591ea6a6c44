"""What is on the map. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from msgspec import Struct

from calico_openstack.agent.introspection.protocol import Answer
from calico_openstack.calicoctl.naming import port_title
from calico_openstack.datamodel import DhcpSubnet, Node, WorkloadEndpoint
from calico_openstack.datamodel.openstack import NETWORK_ANNOTATION, NETWORK_NAME_LABEL

ESTABLISHED: Final = "Established"


class Guest(Struct, frozen=True):
    """A port of an instance: what it is called, its id, addresses and network's id."""

    name: str
    port: str
    addresses: tuple[str, ...]
    network: str


class Link(Struct, frozen=True):
    """A BGP session of a host: *peer* is a host's name, or the address of what is none."""

    peer: str
    is_host: bool
    number: str
    state: str

    @property
    def works(self) -> bool:
        """Whether the session is established."""
        return self.state == ESTABLISHED


class Place(Struct, frozen=True):
    """A host; *fault* is why its sessions are not known."""

    name: str
    addresses: tuple[str, ...]
    alive: bool
    links: tuple[Link, ...]
    guests: tuple[Guest, ...]
    fault: str = ""


class Chart(Struct, frozen=True):
    """The hosts in the order of their names, and the subnets of each network by its id.

    *names* are those of networks, by their ids.
    """

    places: tuple[Place, ...]
    networks: Mapping[str, tuple[str, ...]]
    names: Mapping[str, str] = {}

    @property
    def outside(self) -> tuple[tuple[str, str], ...]:
        """The peers that are no hosts, with their AS numbers."""
        found = {
            (link.peer, link.number)
            for place in self.places
            for link in place.links
            if not link.is_host
        }
        return tuple(sorted(found))


def chart_of(
    nodes: Iterable[Node],
    endpoints: Iterable[WorkloadEndpoint],
    subnets: Iterable[DhcpSubnet],
    alive: Collection[str],
    sessions: Mapping[str, Answer],
) -> Chart:
    """Return the map; *sessions* are the answers of hosts about their BGP sessions."""
    addresses = {node.metadata.name: _addresses(node) for node in nodes}
    hosts = {each: name for name, all_of in addresses.items() for each in all_of}
    guests: dict[str, list[Guest]] = {}
    names: dict[str, str] = {}
    for endpoint in endpoints:
        if name := endpoint.metadata.labels.get(NETWORK_NAME_LABEL):
            names[endpoint.metadata.annotations.get(NETWORK_ANNOTATION, "")] = name
        guests.setdefault(endpoint.spec.node, []).append(_guest(endpoint))
    networks: dict[str, list[str]] = {}
    for subnet in subnets:
        networks.setdefault(subnet.network_id, []).append(subnet.cidr)
    for guest in (each for some in guests.values() for each in some):
        networks.setdefault(guest.network, [])
    places = []
    for name in sorted({*addresses, *guests, *alive}):
        answer = sessions.get(name, Answer(error="was not asked"))
        links = (_link(row, hosts) for row in answer.rows)
        inside = sorted(guests.get(name, ()), key=lambda each: (each.network, each.name))
        places.append(
            Place(
                name,
                addresses.get(name, ()),
                name in alive,
                tuple(sorted(links, key=lambda link: (link.is_host, link.peer))),
                tuple(inside),
                answer.error,
            )
        )
    subnets_of = {key: tuple(sorted(networks[key])) for key in sorted(networks)}
    return Chart(tuple(places), subnets_of, names)


def _addresses(node: Node) -> tuple[str, ...]:
    bgp = node.spec.bgp
    texts = (bgp.ipv4_address, bgp.ipv6_address) if bgp else ()
    return tuple(text.partition("/")[0] for text in texts if text)


def _guest(endpoint: WorkloadEndpoint) -> Guest:
    annotations = endpoint.metadata.annotations
    addresses = tuple(text.partition("/")[0] for text in endpoint.spec.ip_networks)
    port = endpoint.spec.endpoint
    return Guest(
        port_title(annotations, port), port, addresses, annotations.get(NETWORK_ANNOTATION, "")
    )


def _link(row: Mapping[str, str], hosts: Mapping[str, str]) -> Link:
    peer = row.get("peer", "")
    host = hosts.get(peer)
    return Link(host or peer, host is not None, row.get("as", ""), row.get("state", ""))
