"""Routes as ``show route`` lists them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from calico_openstack.bgp.detection import Family
from calico_openstack.bgp.replies import Line

_ROUTE: Final = 1007
_TABLES: Final[dict[str, Family]] = {"master4": 4, "master6": 6}
# "10.65.0.1/32  unicast [Mesh_10_0_0_3 12:00:00.000 from 10.0.0.9] * (100/?) [i]"; a further route
# to the same network has no network in front.
_HEAD: Final = re.compile(r"(\S*)\s+([a-z]+) \[(\S+) [^\]]*\](?: (\*))?")
_HOP: Final = re.compile(r"\s+(?:via (\S+) on|dev) (\S+)")


@dataclass(frozen=True, slots=True)
class NextHop:
    """Where a route leads to. ``gateway`` is empty on the link itself."""

    gateway: str
    interface: str


@dataclass(frozen=True, slots=True)
class Route:
    """A route in one of BIRD's tables.

    ``kind`` is ``unicast``, ``blackhole``, ``unreachable`` or ``prohibit``; ``best``: it is the
    one that BIRD uses.
    """

    family: Family
    network: str
    kind: str
    protocol: str
    best: bool
    hops: tuple[NextHop, ...] = ()


def parse_routes(lines: Iterable[Line]) -> Iterator[Route]:
    """Yield the routes in the main tables from the reply to ``show route``."""
    family: Family | None = None
    route: Route | None = None
    network = ""
    for line in lines:
        if line.code != _ROUTE:
            continue
        if line.text.startswith("Table "):
            family = _TABLES.get(line.text.removeprefix("Table ").rstrip(":"))
            continue
        if hop := _HOP.match(line.text):
            if route is not None:
                hops = (*route.hops, NextHop(hop[1] or "", hop[2]))
                route = replace(route, hops=hops)
            continue
        head = _HEAD.match(line.text)
        if head is None or family is None:
            continue
        if route is not None:
            yield route
        network = head[1] or network
        route = Route(family, network, head[2], head[3], best=head[4] is not None)
    if route is not None:
        yield route
