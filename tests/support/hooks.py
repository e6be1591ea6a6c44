"""A packet through all hooks of the nftables model, in the kernel's order."""

from __future__ import annotations

from dataclasses import replace

from calico_openstack.felix.render.dataplane import DesiredDataplane
from calico_openstack.felix.render.nft import CtState, Family, Table
from calico_openstack.policy.packet import Packet
from tests.support.nft_model import Frame, Machine

# Translations are left out: what is asked is what policy does.
_ENTERING = ("raw-prerouting", "mangle-prerouting")
_FORWARDED, _RECEIVED = ("filter-forward",), ("filter-input",)
_SENT = ("raw-output", "filter-output")


def frame_of(packet: Packet, incoming: str, outgoing: str) -> Frame:
    """Return the frame of a packet; marks are dirty, as other software may leave them."""
    return Frame(
        incoming,
        outgoing,
        packet.source,
        packet.destination,
        packet.protocol,
        packet.source_port,
        packet.destination_port,
        packet.icmp_type,
        packet.icmp_code,
        mark=0xFFFFFFFF,
    )


def through(
    desired: DesiredDataplane,
    packet: Packet,
    incoming: str,
    outgoing: str,
    *,
    above_limits: bool = False,
) -> tuple[bool, bool]:
    """Return whether the first packet of a flow passes, and whether it is tracked.

    An empty interface stands for the host itself. *above_limits*: of packets and connections.
    """
    family = Family.IP if packet.ip_version == 4 else Family.IP6
    table = desired.ruleset[Table(family, "calico")]
    before_routing = _ENTERING if incoming else ()
    then = _SENT if not incoming else _FORWARDED if outgoing else _RECEIVED
    frame = frame_of(packet, incoming, outgoing)
    frame = replace(frame, above_rate=above_limits, above_number=above_limits)
    for hook in (*before_routing, *then):
        if hook not in table.chains:
            continue
        # Where a packet will leave is not known before routing, and nothing is where it enters.
        shown = replace(frame, oifname="") if hook in before_routing else frame
        outcome = Machine(table, shown).run(hook)
        frame = replace(outcome.frame, oifname=outgoing)
        if not outcome.accepted:
            return False, frame.state != CtState.UNTRACKED
    return True, frame.state != CtState.UNTRACKED
