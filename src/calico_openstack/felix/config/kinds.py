"""The kinds of value that Felix's parameters take, and how their text is read.

Text comes from the configuration file, the environment and, converted, from the datastore. A
parser takes text that is neither empty nor ``none`` and raises ValueError for what it cannot take.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Final, Generic, NamedTuple, TypeVar

from msgspec import Struct

from calico_openstack.datamodel.addresses import Network, parse_address, parse_network
from calico_openstack.datamodel.durations import parse_duration
from calico_openstack.datamodel.keys import MAX_REGION_LENGTH, is_region
from calico_openstack.datamodel.ports import MAX_PORT, PortRange, parse_port
from calico_openstack.datamodel.protocols import PORT_PROTOCOLS, protocol_number

T = TypeVar("T")

_MAX_NUMBER_LENGTH: Final = 20
_MAX_PATTERN_LENGTH: Final = 1000
_NEEDED_MARK_BITS: Final = 2
_INTEGER: Final = re.compile(r"[+-]?(?:[0-9]+|0x[0-9a-f]+)", re.ASCII)
_HOST: Final = re.compile(r"[a-zA-Z0-9_.:-]{1,253}")
_INTERFACE_PREFIX: Final = re.compile(r"[a-zA-Z0-9_-]{1,15}")
_FAILSAFE: Final = re.compile(
    r"(?:(?P<protocol>[a-zA-Z]+):(?:(?P<net>\[[^\]]+\]|[^:\[\]]+):)?)?(?P<port>[0-9]{1,5})",
    re.ASCII,
)
_RATE: Final = re.compile(r"([0-9]{1,4})/(second|minute|hour|day)", re.ASCII)
_TRUE: Final = frozenset({"true", "1", "yes", "y", "t"})
_FALSE: Final = frozenset({"false", "0", "no", "n", "f"})


class Kind(Struct, Generic[T], frozen=True):
    """A kind of value: what it is in words, its parser, and what ``none`` stands for."""

    description: str
    parse: Callable[[str], T]
    zero: T


class FailsafePort(NamedTuple):
    """A port that policy of host endpoints never closes.

    ``protocol`` is a number; ``network`` None is every address.
    """

    protocol: int
    network: Network | None
    port: int


class Rate(Struct, frozen=True):
    """``count`` events in each ``unit``: second, minute, hour or day."""

    count: int
    unit: str


def integer(low: int = -(2**31), high: int = 2**31 - 1) -> Kind[int]:
    """Return the kind of whole numbers from ``low`` to ``high``, decimal or ``0x``."""

    def parse(text: str) -> int:
        return _bounded(text, low, high)

    return Kind(f"a whole number from {low} to {high}", parse, 0)


def one_of(*values: str) -> Kind[str]:
    """Return the kind of a choice, which is read without regard to case."""
    spelling = {value.lower(): value for value in values}

    def parse(text: str) -> str:
        try:
            return spelling[text.lower()]
        except KeyError:
            raise ValueError from None

    return Kind(f"one of {', '.join(values)}", parse, "")


def _bounded(text: str, low: int, high: int) -> int:
    lowered = text.lower()
    if len(text) > _MAX_NUMBER_LENGTH or not _INTEGER.fullmatch(lowered):
        raise ValueError
    number = int(lowered, 16) if "x" in lowered else int(lowered)
    if not low <= number <= high:
        raise ValueError
    return number


def _boolean(text: str) -> bool:
    lowered = text.lower()
    if lowered in _TRUE:
        return True
    if lowered in _FALSE:
        return False
    raise ValueError


def _seconds(text: str) -> float:
    if len(text) > _MAX_NUMBER_LENGTH:
        raise ValueError
    seconds = float(text)
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError
    return seconds


def _host(text: str) -> str:
    if not _HOST.fullmatch(text) or (":" in text and parse_address(text) is None):
        raise ValueError
    return text


def _region(text: str) -> str:
    if not is_region(text):
        raise ValueError
    return text


def _ipv4(text: str) -> IPv4Address:
    address = parse_address(text)
    if not isinstance(address, IPv4Address):
        raise ValueError
    return address


def _ipv6(text: str) -> IPv6Address:
    address = parse_address(text)
    if not isinstance(address, IPv6Address):
        raise ValueError
    return address


def _elements(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(_network(part) for part in _elements(text))


def _network(text: str) -> Network:
    network = parse_network(text)
    if network is None:
        raise ValueError
    return network


def _interface_prefixes(text: str) -> tuple[str, ...]:
    prefixes = tuple(_elements(text))
    if not prefixes or not all(map(_INTERFACE_PREFIX.fullmatch, prefixes)):
        raise ValueError
    return prefixes


def _pattern(text: str) -> str:
    if len(text) > _MAX_PATTERN_LENGTH:
        raise ValueError
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError):
        raise ValueError from None
    return text


def _interface_patterns(text: str) -> tuple[str, ...]:
    patterns = tuple(_elements(text))
    for pattern in patterns:
        if len(pattern) > 1 and pattern[0] == pattern[-1] == "/":
            _pattern(pattern[1:-1])
    return patterns


def _failsafe_ports(text: str) -> tuple[FailsafePort, ...]:
    return tuple(map(_failsafe_port, _elements(text)))


def _failsafe_port(text: str) -> FailsafePort:
    match = _FAILSAFE.fullmatch(text)
    if match is None:
        raise ValueError
    protocol = protocol_number(match["protocol"] or "tcp")
    port = int(match["port"])
    if protocol not in PORT_PROTOCOLS or not 0 < port <= MAX_PORT:
        raise ValueError
    net = match["net"]
    return FailsafePort(protocol, _network(net.strip("[]")) if net else None, port)


def _mark_mask(text: str) -> int:
    mask = _bounded(text, 1, 2**32 - 1)
    if mask.bit_count() < _NEEDED_MARK_BITS:
        raise ValueError
    return mask


def _port_range(text: str) -> PortRange:
    port = parse_port(text)
    if not isinstance(port, PortRange) or port.first == 0:
        raise ValueError
    return port


def _route_table_ranges(text: str) -> tuple[tuple[int, int], ...]:
    ranges = []
    for part in _elements(text):
        low, dash, high = part.partition("-")
        first = _bounded(low, 1, 2**32 - 1)
        last = _bounded(high, 1, 2**32 - 1)
        if not dash or first > last:
            raise ValueError
        ranges.append((first, last))
    return tuple(ranges)


def _timeouts(text: str) -> tuple[tuple[str, float], ...]:
    timeouts = []
    for part in _elements(text):
        name, equals, duration = part.partition("=")
        seconds = parse_duration(duration)
        if not name or not equals or seconds is None or seconds < 0:
            raise ValueError
        timeouts.append((name, seconds))
    return tuple(timeouts)


def _rate(text: str) -> Rate:
    match = _RATE.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise ValueError
    return Rate(int(match[1]), match[2])


BOOLEAN: Final = Kind("true or false", _boolean, False)
UNSET_OR_BOOLEAN: Final[Kind[bool | None]] = Kind("true or false", _boolean, None)
SECONDS: Final = Kind("a number of seconds", _seconds, 0.0)
TEXT: Final = Kind("text", str, "")
HOST: Final = Kind("a host name or an address", _host, "")
REGION: Final = Kind(f"a DNS label of at most {MAX_REGION_LENGTH} characters", _region, "")
IPV4: Final[Kind[IPv4Address | None]] = Kind("an IPv4 address", _ipv4, None)
IPV6: Final[Kind[IPv6Address | None]] = Kind("an IPv6 address", _ipv6, None)
NETWORKS: Final[Kind[tuple[Network, ...]]] = Kind("a list of networks", _networks, ())
INTERFACE_PREFIXES: Final[Kind[tuple[str, ...]]] = Kind(
    "a list of beginnings of interface names", _interface_prefixes, ()
)
INTERFACE_PATTERNS: Final[Kind[tuple[str, ...]]] = Kind(
    "a list of names or /patterns/", _interface_patterns, ()
)
PATTERN: Final = Kind("a regular expression", _pattern, "")
FAILSAFE_PORTS: Final[Kind[tuple[FailsafePort, ...]]] = Kind(
    "a list of [protocol:[network:]]port", _failsafe_ports, ()
)
MARK_MASK: Final = Kind("a mask of 32 bits, two or more of them set", _mark_mask, 0)
PORT_RANGE: Final[Kind[PortRange | None]] = Kind("a range of ports low:high", _port_range, None)
ROUTE_TABLE_RANGES: Final[Kind[tuple[tuple[int, int], ...]]] = Kind(
    "a list of ranges low-high", _route_table_ranges, ()
)
TIMEOUTS: Final[Kind[tuple[tuple[str, float], ...]]] = Kind(
    "a list of Name=duration", _timeouts, ()
)
RATE: Final[Kind[Rate | None]] = Kind("a rate such as 10/second", _rate, None)
LOG_SEVERITY: Final = one_of("DEBUG", "ERROR", "FATAL", "INFO", "TRACE", "WARNING")
SWITCH: Final = one_of("Disabled", "Enabled")
PORT: Final = integer(0, MAX_PORT)
METRIC: Final = integer(1, 2147483646)
