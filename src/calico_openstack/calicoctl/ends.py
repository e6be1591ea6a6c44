"""Whom an operator means by the ends of a flow, and which packet is asked about."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec import Struct

from calico_openstack.calicoctl.naming import (
    called,
    guest_name,
    names_in,
    port_name,
    port_title,
    project_title,
)
from calico_openstack.datamodel import ResourceKey, WorkloadEndpoint
from calico_openstack.datamodel.protocols import (
    ICMP,
    ICMPV6,
    PORT_PROTOCOLS,
    PROTOCOL_NAMES,
    protocol_number,
)
from calico_openstack.policy.addresses import pack_address, unpack_address
from calico_openstack.policy.packet import Packet

_EPHEMERAL_PORT = 49152  # the first of RFC 6335, section 6
_ECHO_REQUEST = {4: 8, 6: 128}
_SHORTEST_BEGINNING = 4
_MOST_CANDIDATES = 10

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class EndError(ValueError):
    """An end or a protocol that cannot be asked about; the text says why."""


class End(Struct, frozen=True):
    """One end of a flow: its address, and its endpoint unless it is outside.

    *floating* is the external address through which the endpoint is reached, if by one; *note* is
    what was assumed.
    """

    address: str
    endpoint: ResourceKey | None = None
    floating: str = ""
    note: str = ""

    @property
    def packed(self) -> bytes:
        """The address, packed."""
        return pack_address(self.address)

    @property
    def version(self) -> int:
        """Either 4 or 6."""
        return 6 if ":" in self.address else 4


def where_they_run(
    endpoints: Mapping[ResourceKey, WorkloadEndpoint], arriving: Collection[str]
) -> dict[ResourceKey, WorkloadEndpoint]:
    """Return *endpoints* without those that wait for an instance which still runs elsewhere.

    A port that migrates live has two; *arriving* are the names of the targets' endpoints.
    """
    staying = {e.spec.endpoint for key, e in endpoints.items() if key.name not in arriving}
    return {
        key: endpoint
        for key, endpoint in endpoints.items()
        if key.name not in arriving or endpoint.spec.endpoint not in staying
    }


def candidates(endpoints: Mapping[ResourceKey, WorkloadEndpoint], text: str) -> list[End]:
    """Return what *text* can stand for, one end for each address; raises `EndError`.

    It is an address or floating address, the id of a port or instance or its beginning, the name
    of an endpoint, interface, port or guest, or a network, of which the first address is taken.
    """
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return _of_endpoint(endpoints, text)
    first = _first(network)
    if network.num_addresses > 1:
        note = f"{first} stands for {network}"
        return [
            End(end.address, end.endpoint, end.floating, note)
            for end in _of_address(endpoints, first)
        ]
    return _of_address(endpoints, first)


def _first(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> str:
    return str(next(iter(network.hosts()), network.network_address))


class Trace(NamedTuple):
    """What stands in the stored form of every endpoint that a text can stand for.

    *beginning* is quick to find; only where it is found *whole* is worth a search.
    """

    beginning: bytes
    whole: re.Pattern[bytes]

    def is_in(self, stored: bytes) -> bool:
        """Tell whether the text may stand for the endpoint that is *stored*."""
        return self.beginning in stored and self.whole.search(stored) is not None


def trace_of(text: str) -> Trace | None:
    """Return what stands in the stored form of every endpoint that *text* can stand for.

    None if nothing can be relied on: JSON has several notations for other alphabets. IPv6 addresses
    are taken to be in the usual one (RFC 5952), in which Neutron keeps them.
    """
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        if not (text.isascii() and text.isprintable()) or set(text) & {'"', "\\", "/"}:
            return None
        quoted = re.escape(text.encode())
        # The whole of a text, the first label of a guest's name, or the beginning of an id.
        pattern = rb'"%b\.?"|"%b\.|"(?:endpoint|workload)"\s*:\s*"%b' % (quoted, quoted, quoted)
        return Trace(b'"' + text.encode(), re.compile(pattern))
    address = _first(network).encode()
    return Trace(b'"' + address, re.compile(rb'"%b["/]' % re.escape(address)))


def _of_address(endpoints: Mapping[ResourceKey, WorkloadEndpoint], address: str) -> list[End]:
    packed = pack_address(address)
    owners = []
    for key, endpoint in sorted(endpoints.items(), key=lambda item: item[0].path):
        spec = endpoint.spec
        if any(pack_address(each) == packed for each in spec.ip_networks):
            owners.append(End(address, key))
        for nat in spec.ip_nats:
            if pack_address(nat.external_ip) == packed:
                internal = str(ipaddress.ip_address(nat.internal_ip.partition("/")[0]))
                owners.append(End(internal, key, floating=address))
    if len(owners) > 1:
        note = f"{len(owners)} endpoints have {address}; this is the first of them"
        return [End(owners[0].address, owners[0].endpoint, owners[0].floating, note)]
    return owners or [End(address)]


def _of_endpoint(endpoints: Mapping[ResourceKey, WorkloadEndpoint], text: str) -> list[End]:
    # Ids are nobody's choice, so they come before names.
    exact = [key for key, value in endpoints.items() if text in _ids_of(key, value)] or [
        key for key, value in endpoints.items() if text in names_of(key, value)
    ]
    beginnings = [
        key
        for key, value in endpoints.items()
        if len(text) >= _SHORTEST_BEGINNING
        and any(name.startswith(text) for name in (value.spec.endpoint, value.spec.workload))
    ]
    found = exact or beginnings
    if len(found) > 1:
        raise EndError(ambiguous(text, [endpoints[key] for key in found]))
    if not found:
        raise EndError(
            f"'{text}' is neither an address nor the name or id of a port, instance or guest known "
            "to Calico: see 'calicoctl get workloadendpoints -A -o wide'"
        )
    spec = endpoints[found[0]].spec
    # The port's own addresses come before those of allowed address pairs.
    own = [each for each in spec.ip_networks if each not in spec.allowed_ips]
    addresses = (each.partition("/")[0] for each in own or spec.ip_networks)
    return [End(str(ipaddress.ip_address(each)), found[0]) for each in addresses]


def ambiguous(text: str, meant: Sequence[WorkloadEndpoint]) -> str:
    """Return what to say of a text that stands for several endpoints: which, with their ids."""
    lines = [f"'{text}' stands for {len(meant)} endpoints: name one by the id of its port"]
    for each in sorted(meant, key=lambda each: each.spec.endpoint)[:_MOST_CANDIDATES]:
        addresses = ", ".join(address.partition("/")[0] for address in each.spec.ip_networks)
        project = project_title(each.metadata.labels)
        told = f"{port_name(each.metadata.annotations)} {addresses} on {each.spec.node}".strip()
        lines.append(f"  {each.spec.endpoint}  {told}{f' of project {project}' if project else ''}")
    if len(meant) > _MOST_CANDIDATES:
        lines.append(f"  and {len(meant) - _MOST_CANDIDATES} more")
    return "\n".join(lines)


def names_of(key: ResourceKey, endpoint: WorkloadEndpoint) -> set[str]:
    """Return all that an operator may call an endpoint."""
    return _ids_of(key, endpoint) | names_in(endpoint.metadata.annotations)


def _ids_of(key: ResourceKey, endpoint: WorkloadEndpoint) -> set[str]:
    spec = endpoint.spec
    return {key.name, spec.endpoint, spec.workload, spec.interface_name} - {""}


def matched(sources: Iterable[End], destinations: Iterable[End]) -> tuple[End, End]:
    """Return the first source and destination of one family; raises `EndError`."""
    ends = list(destinations)
    for source in sources:
        for destination in ends:
            if source.version == destination.version:
                return source, destination
    raise EndError("the two ends have no addresses of the same family: see calicoctl get wep -A")


def described(end: End, endpoints: Mapping[ResourceKey, WorkloadEndpoint]) -> str:
    """Return an end in words."""
    if end.endpoint is None:
        return f"{end.address}, which is no endpoint of this cluster"
    endpoint = endpoints[end.endpoint]
    spec = endpoint.spec
    annotations = endpoint.metadata.annotations
    port = port_title(annotations, spec.endpoint)
    instance = called(guest_name(annotations), spec.workload)
    via = f" by floating IP {end.floating}" if end.floating else ""
    return f"{end.address}{via}: port {port} of instance {instance} on {spec.node}"


def titled(end: End, endpoints: Mapping[ResourceKey, WorkloadEndpoint]) -> str:
    """Return an end as briefly as it is known: what its port is called, and its address."""
    if end.endpoint is None:
        return end.address
    endpoint = endpoints[end.endpoint]
    title = port_title(endpoint.metadata.annotations, endpoint.spec.endpoint)
    by = f" by floating IP {end.floating}" if end.floating else ""
    return f"{title} {end.address}{by}"


def packet_words(packet: Packet) -> str:
    """Return a packet in words, without the source port that was made up."""
    protocol = PROTOCOL_NAMES.get(packet.protocol, f"protocol {packet.protocol}")
    target = f"{unpack_address(packet.destination)}"
    if packet.destination_port is not None:
        target += f" port {packet.destination_port}"
    if packet.icmp_type is not None:
        target += f" type {packet.icmp_type}"
    return f"{protocol} {unpack_address(packet.source)} -> {target}"


def packet_of(text: str, source: End, destination: End) -> Packet:
    """Return the first packet of a flow of PROTO[/PORT], to the destination's own address.

    ICMP is an echo request, or of the type in place of the port. Raises `EndError`.
    """
    name, _, number = text.partition("/")
    version = source.version
    protocol = protocol_number(name)
    if protocol is None:
        raise EndError(f"protocol '{name}' is neither a name such as tcp, udp, icmp nor a number")
    if protocol in (ICMP, ICMPV6):
        kind = _number(number, 255) if number else _ECHO_REQUEST[version]
        icmp = ICMP if version == 4 else ICMPV6
        return Packet(source.packed, destination.packed, icmp, icmp_type=kind, icmp_code=0)
    if protocol not in PORT_PROTOCOLS:
        if number:
            raise EndError(f"protocol '{name}' has no ports")
        return Packet(source.packed, destination.packed, protocol)
    if not number:
        raise EndError(f"name a port, for example {name}/80")
    port = _number(number, 65535)
    return Packet(source.packed, destination.packed, protocol, _EPHEMERAL_PORT, port)


def _number(text: str, highest: int) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= highest):
        raise EndError(f"'{text}' is not a number up to {highest}")
    return int(text)
