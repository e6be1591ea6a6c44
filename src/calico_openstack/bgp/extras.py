"""What BGP can do and upstream's resources have no fields for: annotations of resources. Pure.

Unknown members of ``spec`` break upstream's strict readers, so the additions are annotations under
``bgp.calico-openstack.org/``. Those of a BGPPeer hold for its sessions, those of the
BGPConfiguration ``default`` for the sessions of the mesh:

``bfd``            ``on``, or intervals to send and receive at and a multiplier: ``300ms/300ms/3``;
                   ``/graceful`` behind it keeps routes for the neighbour's restart time
``receive-limit``  the most routes that a neighbour may send, and what happens beyond:
                   ``50000/restart``; also ``warn``, ``block`` and ``disable``
``export-limit``   the same for what is sent: ``2000/block``
``hold-time``      how long a silent neighbour is believed in: ``90s``
``direct``         ``true``: the neighbour is on the same link, as routers of the rack are
``interface``      where a neighbour with a link-local address is: ``eth0``
``aggregates``     networks to announce to neighbours in other ASs in place of the workloads in
                   them, and ``subnets`` for all of Neutron's: ``subnets, 203.0.113.0/24``

`kinds` has one more for BGPConfigurations, ``communities``. Two belong to the BGPConfiguration
``default`` alone, and each lifts a guard against mistakes:
``mesh-limit`` is the most hosts that a mesh may have, ``allow-no-sessions`` lets hosts give up all
their sessions at once.

An annotation that cannot be read counts as absent and is reported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

from calico_openstack.bgp.state import Problem
from calico_openstack.datamodel.addresses import Network, parse_network
from calico_openstack.datamodel.durations import parse_duration

DOMAIN: Final = "bgp.calico-openstack.org/"
DRAIN_ANNOTATION: Final = DOMAIN + "drain"
"""On a Node: ``true`` makes every route of the host the last choice of its neighbours."""

MESH_LIMIT_ANNOTATION: Final = DOMAIN + "mesh-limit"
NO_SESSIONS_ANNOTATION: Final = DOMAIN + "allow-no-sessions"

DEFAULT_INTERVAL: Final = 300
DEFAULT_MULTIPLIER: Final = 3
# 32 bits of microseconds (RFC 5880 section 4.1), and of no use beyond a minute.
_LONGEST_INTERVAL: Final = 60_000
_SHORTEST_INTERVAL: Final = 10
# A hold time of 0 turns keepalives off, 1 and 2 are forbidden (RFC 4271 section 4.2).
_SHORTEST_HOLD_TIME: Final = 3
_LONGEST_HOLD_TIME: Final = 65535
_LIMIT_ACTIONS: Final = ("warn", "block", "restart", "disable")
_LIMIT: Final = re.compile(r"([0-9]{1,9})(?:/([a-z]+))?")
_TRUE: Final = ("true", "yes", "on", "1")
_FALSE: Final = ("false", "no", "off", "0", "")
_INTERFACE: Final = re.compile(r"[a-zA-Z0-9_.-]{1,15}")
_COUNT: Final = re.compile(r"[0-9]{1,6}")
_GRACEFUL: Final = "graceful"
_SUBNETS: Final = "subnets"

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Bfd:
    """Bidirectional forwarding detection (RFC 5880). Intervals are milliseconds.

    With ``graceful`` its end begins a graceful restart: the neighbour's routes stay for its restart
    time (RFC 5882 section 4.3), since a killed BIRD looks like a lost host.
    """

    send: int = DEFAULT_INTERVAL
    receive: int = DEFAULT_INTERVAL
    multiplier: int = DEFAULT_MULTIPLIER
    graceful: bool = False

    def __str__(self) -> str:
        """Return the annotation that means it."""
        mode = f"/{_GRACEFUL}" if self.graceful else ""
        return f"{self.send}ms/{self.receive}ms/{self.multiplier}{mode}"


@dataclass(frozen=True, slots=True)
class Limit:
    """A number of routes, and what BIRD does about more: its own word for it."""

    routes: int
    action: str


DEFAULT_RECEIVE_LIMIT: Final = Limit(200_000, "warn")


@dataclass(frozen=True, slots=True)
class Aggregates:
    """Networks that stand for the workloads in them, Neutron's subnets among them or not."""

    networks: tuple[Network, ...] = ()
    subnets: bool = False


@dataclass(frozen=True, slots=True)
class Extras:
    """The additions of one session. ``hold_time`` is seconds, None for BIRD's own; ``interface``
    is empty but for a neighbour with a link-local address."""

    bfd: Bfd | None = None
    receive_limit: Limit = DEFAULT_RECEIVE_LIMIT
    export_limit: Limit | None = None
    hold_time: int | None = None
    direct: bool = False
    interface: str = ""
    aggregates: Aggregates | None = None


NO_EXTRAS: Final = Extras()


def extras_of(resource: str, annotations: Mapping[str, str]) -> tuple[Extras, tuple[Problem, ...]]:
    """Return what the annotations of *resource* (its kind and name) ask for."""
    problems: list[Problem] = []

    def read(name: str, parse: Callable[[str], _T], default: _T) -> _T:
        text = annotations.get(DOMAIN + name)
        if text is None:
            return default
        try:
            return parse(text.strip())
        except ValueError as error:
            where = f"metadata.annotations[{DOMAIN}{name}]"
            problems.append(Problem(resource, where, str(error)))
            return default

    extras = Extras(
        bfd=read("bfd", _bfd, None),
        receive_limit=read("receive-limit", _limit, DEFAULT_RECEIVE_LIMIT),
        export_limit=read("export-limit", _limit, None),
        hold_time=read("hold-time", _hold_time, None),
        direct=read("direct", boolean, False),
        interface=read("interface", _interface, ""),
        aggregates=read("aggregates", _aggregates, None),
    )
    return extras, tuple(problems)


def boolean(text: str) -> bool:
    """Read a yes or no; raises ValueError for anything else."""
    word = text.strip().lower()
    if word not in (*_TRUE, *_FALSE):
        raise ValueError(f"{text!r} is neither true nor false")
    return word in _TRUE


def count(text: str) -> int:
    """Read a number of hosts; raises ValueError for anything else."""
    if not _COUNT.fullmatch(text.strip()):
        raise ValueError(f"{text!r} is no number of hosts")
    return int(text)


def _interface(text: str) -> str:
    if not _INTERFACE.fullmatch(text):
        raise ValueError(f"{text!r} is no interface")
    return text


def _bfd(text: str) -> Bfd | None:
    if text.lower() in (*_TRUE, *_FALSE):
        return Bfd() if boolean(text) else None
    parts = [part.strip() for part in text.split("/")]
    graceful = parts[3:] == [_GRACEFUL]
    if len(parts) != 3 + graceful:
        raise ValueError(f"{text!r} is not of the form 300ms/300ms/3 or 300ms/300ms/3/graceful")
    send, receive = (_interval(part) for part in parts[:2])
    multiplier = parts[2]
    if not re.fullmatch(r"[0-9]{1,3}", multiplier) or not 1 <= int(multiplier) <= 255:
        raise ValueError(f"{multiplier!r} is no multiplier from 1 to 255")
    return Bfd(send, receive, int(multiplier), graceful)


def _interval(text: str) -> int:
    seconds = parse_duration(text)
    milliseconds = -1 if seconds is None else round(seconds * 1000)
    if not _SHORTEST_INTERVAL <= milliseconds <= _LONGEST_INTERVAL:
        raise ValueError(f"{text!r} is no interval from {_SHORTEST_INTERVAL} ms to one minute")
    return milliseconds


def _limit(text: str) -> Limit:
    match = _LIMIT.fullmatch(text)
    if match is None or int(match[1]) == 0:
        raise ValueError(f"{text!r} is not of the form 50000/restart")
    action = match[2] or "warn"
    if action not in _LIMIT_ACTIONS:
        raise ValueError(f"{action!r} is none of {', '.join(_LIMIT_ACTIONS)}")
    return Limit(int(match[1]), action)


def _hold_time(text: str) -> int:
    seconds = parse_duration(text)
    if seconds is None or not _SHORTEST_HOLD_TIME <= round(seconds) <= _LONGEST_HOLD_TIME:
        raise ValueError(f"{text!r} is no duration from {_SHORTEST_HOLD_TIME} s to 65535 s")
    return round(seconds)


def _aggregates(text: str) -> Aggregates | None:
    networks: set[Network] = set()
    subnets = False
    for part in filter(None, (part.strip() for part in text.split(","))):
        if part == _SUBNETS:
            subnets = True
            continue
        network = parse_network(part)
        if network is None or network.prefixlen == 0:
            raise ValueError(f"{part!r} is no network that can be announced")
        networks.add(network)
    ordered = sorted(networks, key=lambda n: (n.version, n))
    return Aggregates(tuple(ordered), subnets) if networks or subnets else None
