"""Established flows, as a table. It is made from the kernel alone."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from itertools import islice
from typing import Final

from calico_openstack.agent.introspection.protocol import Row
from calico_openstack.felix.flows import packet_of
from calico_openstack.felix.kernel.conntrack import ConntrackTable, Flow

MOST_FLOWS: Final = 3000
"""So many are told at most: a busy host has millions."""


def established_flows(match: str) -> Iterator[Row]:
    """Yield the established flows that one of the addresses began or answered.

    *match* are addresses with commas between them; raises ValueError, OSError.
    """
    addresses = {ip_address(each) for each in match.split(",")}
    table = ConntrackTable()
    try:
        found = (flow for flow in table.flows(addresses) if flow.is_established)
        yield from map(_row, islice(found, MOST_FLOWS))
    finally:
        table.close()


def _row(flow: Flow) -> Row:
    """Return a flow by its first packet as policy saw it, and where that was sent to."""
    packet = packet_of(flow)
    numbers = {
        "source port": packet.source_port,
        "destination port": packet.destination_port,
        "icmp type": packet.icmp_type,
        "icmp code": packet.icmp_code,
    }
    return {
        "protocol": str(packet.protocol),
        "source": str(flow.original.source),
        "destination": str(flow.reply.source),
        **{name: "" if number is None else str(number) for name, number in numbers.items()},
        "sent to": str(flow.original.destination),
    }
