"""Rates as lines of text. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from calico_openstack.calicoctl import output
from calico_openstack.calicoctl.kinds import Column
from calico_openstack.calicoctl.showing import columns_of
from calico_openstack.calicoctl.top.samples import HostRates, PortRates

_UNITS: Final = ("", "k", "M", "G", "T")
_STEP: Final = 1000.0


def amount(value: float | None) -> str:
    """Return a number in about three digits with a decimal prefix; "-" for what is not known."""
    if value is None:
        return "-"
    for unit in _UNITS:
        if value < _STEP or unit == _UNITS[-1]:
            break
        value /= _STEP
    text = f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + unit


def host_lines(hosts: Sequence[HostRates]) -> Iterator[str]:
    """Yield the table of hosts, then those that do not answer."""
    rows = [
        {
            "host": each.host,
            "endpoints": str(each.endpoints),
            "down": str(each.down),
            "flows": str(each.flows),
            "sent bit/s": amount(each.sent),
            "received bit/s": amount(each.received),
            "updates/s": amount(each.updates),
            "lag ms": amount(None if each.lag is None else each.lag * 1000),
            "waiting": str(each.waiting),
        }
        for each in hosts
        if not each.error
    ]
    if rows:
        yield from _table(rows)
    for each in hosts:
        if each.error:
            yield f"{each.host}: {each.error}"


def port_lines(ports: Sequence[PortRates], names: Mapping[str, str]) -> Iterator[str]:
    """Yield the table of ports, in the order given; *names* are what they are called."""
    rows = [
        {
            "port": names.get(each.port, each.port),
            "host": each.host,
            "interface": each.interface,
            "sent bit/s": amount(each.sent),
            "received bit/s": amount(each.received),
            "sent packets/s": amount(each.sent_packets),
            "received packets/s": amount(each.received_packets),
            "dropped/s": amount(each.dropped),
        }
        for each in ports
    ]
    if rows:
        yield from _table(rows)


def arranged(
    hosts: Sequence[str], ports: Sequence[str], drops: Sequence[str], rows: int
) -> list[str]:
    """Return the lines of a screen of *rows*: what is too long is cut at its end, drops in front.

    Drops get a quarter, as they come last, hosts at most half of what is left.
    """
    last = drops[len(drops) - min(len(drops), max(1, rows // 4)) :] if rows > 0 else []
    left = rows - len(last)
    above = _first(hosts, max(left // 2, left - len(ports)), "hosts")
    below = _first(ports, left - len(above), "ports")
    return [*above, *below, *last][: max(0, rows)]


def _first(lines: Sequence[str], most: int, what: str) -> list[str]:
    if len(lines) <= most:
        return list(lines)
    kept = list(lines[: max(0, most - 1)])
    return [*kept, f"... and {len(lines) - len(kept)} more lines of {what}"]


def busiest(ports: Sequence[PortRates], by: str, most: int) -> list[PortRates]:
    """Return the first *most* ports by bandwidth, packets or drops."""
    keys = {
        "bandwidth": lambda each: each.sent + each.received,
        "packets": lambda each: each.sent_packets + each.received_packets,
        "drops": lambda each: each.dropped,
    }
    return sorted(ports, key=lambda each: (-keys[by](each), each.host, each.port))[:most]


def _table(rows: list[dict[str, str]]) -> Iterator[str]:
    columns: tuple[Column, ...] = columns_of(rows)
    yield from (line.rstrip() for line in output.table(rows, columns))
