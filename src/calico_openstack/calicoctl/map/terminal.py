"""The map as lines of text. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from calico_openstack.calicoctl.map.chart import Chart, Guest, Place
from calico_openstack.calicoctl.naming import called


def lines(chart: Chart, most: int) -> Iterator[str]:
    """Yield the lines of the map, with at most *most* workloads and networks of each host."""
    for peer, number in chart.outside:
        sessions = [
            (place.name, link)
            for place in chart.places
            for link in place.links
            if not link.is_host and link.peer == peer
        ]
        up = sum(link.works for _, link in sessions)
        yield f"( {peer} )  AS {number}, {up} of {len(sessions)} sessions established"
    for place in chart.places:
        yield ""
        yield from _place(place, chart, most)
    if not chart.places:
        yield "There are no hosts: see calicoctl doctor."


def title(place: Place) -> str:
    """Return a host's name and state in one line."""
    state = "" if place.alive else "no sign of life of Felix"
    return "  ".join(filter(None, (place.name, " ".join(place.addresses), state)))


def network_title(network: str, chart: Chart) -> str:
    """Return what a network is called, and its subnets."""
    subnets = " ".join(chart.networks.get(network, ()))
    title = called(chart.names.get(network, ""), network) or "unknown"
    return f"network {title}" + (f" {subnets}" if subnets else "")


def _place(place: Place, chart: Chart, most: int) -> Iterator[str]:
    yield f"[ {title(place)} ]"
    branches = [*_sessions(place), *_networks(place.guests, chart, most)]
    for number, (head, leaves) in enumerate(branches, 1):
        last = number == len(branches)
        yield f"  {'`' if last else '|'}-- {head}"
        for leaf in leaves:
            yield f"  {' ' if last else '|'}     {leaf}"


def _sessions(place: Place) -> Iterator[tuple[str, Sequence[str]]]:
    if place.fault:
        yield f"its BGP sessions are not known: {place.fault}", ()
    between = Counter(link.works for link in place.links if link.is_host)
    if between:
        yield (
            f"sessions with other hosts: {between[True]} of {between.total()} established",
            [
                f"!  {link.peer}: {link.state}"
                for link in place.links
                if link.is_host and not link.works
            ],
        )
    for link in place.links:
        if not link.is_host:
            mark = "---" if link.works else "-X-"
            yield f"BGP {mark} ( {link.peer} AS {link.number} ) {link.state}", ()


def _networks(
    guests: Sequence[Guest], chart: Chart, most: int
) -> Iterator[tuple[str, Sequence[str]]]:
    left = most
    groups = [(key, list(each)) for key, each in groupby(guests, key=lambda g: g.network)]
    for network, inside in groups[:most]:
        shown = [f"{each.name}  {' '.join(each.addresses)}" for each in inside[:left]]
        if len(inside) > left:
            shown.append(f"and {len(inside) - left} more (--limit)")
        left = max(0, left - len(inside))
        yield f"{network_title(network, chart)}: {len(inside)} port(s)", shown
    if rest := groups[most:]:
        ports = sum(len(inside) for _, inside in rest)
        yield f"and {len(rest)} more network(s) with {ports} port(s) (--limit)", ()
