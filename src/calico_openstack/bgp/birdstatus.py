"""What BIRD says about itself, read from the replies of its control socket. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from calico_openstack.bgp.replies import Line
from calico_openstack.bgp.version import BirdVersion, parse_version

# Codes of the replies to the commands below.
_VERSION, _STATUS, _PROTOCOL, _DETAIL, _COUNT, _BFD = 1000, 1011, 1002, 1006, 1007, 1020
_RECOVERY = 24

_ROUTES = re.compile(r"(\d+) (imported|filtered|exported|preferred)")
_COUNT_LINE = re.compile(r"\d+ of (\d+) routes for (\d+) networks in table (\S+)")
_ESTABLISHED = "Established"
_HEX_DIGITS = frozenset("0123456789abcdefABCDEF:")

# Labels of a BGP protocol's details that are kept as they are. A link-local neighbour's address is
# followed by its interface: fe80::1%eth0.
_TEXTS = {
    "BGP state": "bgp_state",
    "Neighbor address": "neighbor",
    "Last error": "last_error",
}


@dataclass(frozen=True, slots=True)
class DaemonStatus:
    """The answer to ``show status``. Times are BIRD's text in local time."""

    version: BirdVersion | None = None
    router_id: str = ""
    last_reboot: str = ""
    last_reconfiguration: str = ""
    recovering: bool = False


@dataclass(frozen=True, slots=True)
class ChannelStatus:
    """Counters of one channel (one address family) of a protocol."""

    name: str
    state: str = ""
    imported: int = 0
    filtered: int = 0
    exported: int = 0
    preferred: int = 0


@dataclass(frozen=True, slots=True)
class ProtocolStatus:
    """One protocol in ``show protocols all``. ``since`` is BIRD's text in local time."""

    name: str
    type: str
    state: str
    since: str
    info: str = ""
    bgp_state: str = ""
    neighbor: str = ""
    neighbor_as: int | None = None
    last_error: str = ""
    channels: tuple[ChannelStatus, ...] = field(default=())

    @property
    def established(self) -> bool:
        """Whether this is a BGP session that exchanges routes."""
        return self.bgp_state == _ESTABLISHED


def parse_status(lines: Iterable[Line]) -> DaemonStatus:
    """Read the reply to ``show status``."""
    status = DaemonStatus()
    for line in lines:
        text = line.text.strip()
        if line.code == _VERSION:
            status = replace(status, version=parse_version(text))
        elif line.code == _RECOVERY:
            status = replace(status, recovering=True)
        elif line.code == _STATUS and text.startswith("Router ID is "):
            status = replace(status, router_id=text.removeprefix("Router ID is "))
        elif line.code == _STATUS and text.startswith("Last reboot on "):
            status = replace(status, last_reboot=text.removeprefix("Last reboot on "))
        elif line.code == _STATUS and text.startswith("Last reconfiguration on "):
            when = text.removeprefix("Last reconfiguration on ")
            status = replace(status, last_reconfiguration=when)
    return status


def parse_protocols(lines: Iterable[Line]) -> tuple[ProtocolStatus, ...]:
    """Read the reply to ``show protocols all``, sorted by name."""
    protocols: list[ProtocolStatus] = []
    for line in lines:
        if line.code == _PROTOCOL:
            protocols.append(_parse_row(line.text))
        elif line.code == _DETAIL and protocols:
            protocols[-1] = _with_detail(protocols[-1], line.text.strip())
    return tuple(sorted(protocols, key=lambda protocol: protocol.name))


def parse_route_counts(lines: Iterable[Line]) -> dict[str, int]:
    """Read the reply to ``show route count``: routes by table."""
    counts: dict[str, int] = {}
    for line in lines:
        match = _COUNT_LINE.search(line.text) if line.code == _COUNT else None
        if match:
            counts[match[3]] = int(match[1])
    return counts


def parse_bfd_sessions(lines: Iterable[Line]) -> dict[str, str]:
    """Read the reply to ``show bfd sessions``: states (``Up``, ``Down``, ...) by address."""
    states = {}
    for line in lines:
        words = line.text.split()
        # "Address Interface State Since Interval Timeout", below a head and the protocol's name.
        if line.code == _BFD and len(words) >= 5 and words[0][0] in _HEX_DIGITS:
            states[words[0]] = words[2]
    return states


def _parse_row(text: str) -> ProtocolStatus:
    # "Name Proto Table State Since Info"; Since is one word because the rendered configuration
    # sets its format, Info is free text and may be missing.
    words = text.split(None, 5)
    words += [""] * (6 - len(words))
    return ProtocolStatus(
        name=words[0], type=words[1], state=words[3], since=words[4], info=words[5].strip()
    )


def _with_detail(protocol: ProtocolStatus, text: str) -> ProtocolStatus:
    if text.startswith("Channel "):
        channel = ChannelStatus(name=text.removeprefix("Channel ").strip())
        return replace(protocol, channels=(*protocol.channels, channel))
    label, separator, value = text.partition(":")
    if not separator:
        return protocol
    value = value.strip()
    if protocol.channels:
        changed = _with_channel_detail(protocol.channels[-1], label, value)
        return replace(protocol, channels=(*protocol.channels[:-1], changed))
    if label == "Neighbor AS":
        return replace(protocol, neighbor_as=int(value) if value.isdigit() else None)
    member = _TEXTS.get(label)
    return replace(protocol, **{member: value}) if member else protocol  # type: ignore[arg-type]


def _with_channel_detail(channel: ChannelStatus, label: str, value: str) -> ChannelStatus:
    if label == "State":
        return replace(channel, state=value)
    if label == "Routes":
        counters = {name: int(number) for number, name in _ROUTES.findall(value)}
        return replace(channel, **counters)  # type: ignore[arg-type]
    return channel
