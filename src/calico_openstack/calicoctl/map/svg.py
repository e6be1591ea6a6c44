"""The map as a drawing: SVG 1.1, and a page of HTML that holds it and needs nothing else. Pure."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from typing import Final

from calico_openstack.calicoctl.map.chart import Chart, Link, Place
from calico_openstack.calicoctl.map.terminal import network_title, title

# Lengths in user units, which are pixels at the scale 1.
_COLUMNS: Final = 4
_WIDTH, _GAP, _MARGIN = 280, 60, 30
_LINE: Final = 18
_HEAD: Final = 46
_PEER_HEIGHT: Final = 44
_LETTERS: Final = 36
_MOST_NETWORKS: Final = 200
# A curve goes half as deep as its middle point, which must stay above what follows.
_DEEPEST: Final = 2 * _GAP - 20
_FLATNESS: Final = 20
_NETWORK_COLOURS: Final = (
    "#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bb5500", "#777777",
)  # fmt: skip
_GOOD, _BAD, _UNKNOWN = "#2a8f3c", "#c62828", "#8a6d00"

Point = tuple[float, float]


def drawing(chart: Chart, most: int) -> str:
    """Return the map as SVG, with at most *most* workloads of each host."""
    return "\n".join(_drawing(chart, most))


def page(chart: Chart, most: int, moment: str) -> str:
    """Return the map as a page of HTML; *moment* says when it was made."""
    ports = sum(len(place.guests) for place in chart.places)
    summary = f"{len(chart.places)} hosts, {ports} ports, {len(chart.networks)} networks"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        "<title>Calico: map of the cloud</title>"
        "<style>body{font-family:sans-serif;margin:1.5em;color:#222;background:#fff}"
        "svg{max-width:100%;height:auto}</style></head>\n"
        f"<body><h1>Map of the cloud</h1><p>{_escaped(summary)}; {_escaped(moment)}. "
        "A green line is an established BGP session, a red one is none. Point at a line, host "
        f"or workload to see its details.</p>\n{drawing(chart, most)}\n</body></html>\n"
    )


def _drawing(chart: Chart, most: int) -> Iterator[str]:
    colours = {
        network: _NETWORK_COLOURS[number % len(_NETWORK_COLOURS)]
        for number, network in enumerate(chart.networks)
    }
    height = _HEAD + _LINE * (max((_rows(p, most) for p in chart.places), default=0) + 1)
    columns = min(_COLUMNS, max(1, len(chart.places), len(chart.outside)))
    corners = _grid([place.name for place in chart.places], columns, height, _first_row(chart))
    peers = _grid([peer for peer, _ in chart.outside], columns, _PEER_HEIGHT, _MARGIN)
    bottom = max((y for _, y in corners.values()), default=_MARGIN) + height + _GAP + _LINE
    legend = list(chart.networks)[:_MOST_NETWORKS]
    total = bottom + _LINE * (len(legend) + 2)
    width = 2 * _MARGIN + columns * _WIDTH + (columns - 1) * _GAP
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {total}" width="{width}" '
        f'height="{total}" font-family="sans-serif" font-size="12" role="img">'
    )
    yield "<title>Map of the cloud</title>"
    yield f'<rect width="{width}" height="{total}" fill="#ffffff"/>'
    yield from _sessions(chart, corners, peers, height)
    for peer, number in chart.outside:
        x, y = peers[peer]
        yield (
            f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_PEER_HEIGHT}" rx="22" '
            'fill="#eef3f8" stroke="#667788"/>'
        )
        yield _text(x + _WIDTH / 2, y + 18, peer, 'text-anchor="middle" font-weight="bold"')
        yield _text(x + _WIDTH / 2, y + 34, f"AS {number}", 'text-anchor="middle"')
    for place in chart.places:
        yield from _host(place, corners[place.name], height, most, colours)
    for row, network in enumerate(legend):
        y = bottom + _LINE * row
        yield f'<circle cx="{_MARGIN + 6}" cy="{y - 4}" r="5" fill="{colours[network]}"/>'
        yield _text(_MARGIN + 18, y, network_title(network, chart), letters=3 * _LETTERS)
    if rest := len(chart.networks) - len(legend):
        y = bottom + _LINE * len(legend)
        yield _text(_MARGIN + 18, y, f"and {rest} more networks", 'fill="#555555"')
    yield "</svg>"


def _rows(place: Place, most: int) -> int:
    return min(len(place.guests), most) + (len(place.guests) > most)


def _first_row(chart: Chart) -> int:
    rows = -(-len(chart.outside) // _COLUMNS)
    return _MARGIN + rows * (_PEER_HEIGHT + _GAP)


def _grid(names: list[str], columns: int, height: int, top: int) -> Mapping[str, Point]:
    """Return the upper left corners of boxes."""
    return {
        name: (
            _MARGIN + number % columns * (_WIDTH + _GAP),
            top + number // columns * (height + _GAP),
        )
        for number, name in enumerate(names)
    }


def _sessions(
    chart: Chart, corners: Mapping[str, Point], peers: Mapping[str, Point], height: int
) -> Iterator[str]:
    """Yield a line for each two ends of sessions, red if one of these is not established."""
    between: dict[tuple[str, str], list[Link]] = {}
    for place in chart.places:
        for link in place.links:
            first, second = place.name, link.peer
            if link.is_host and second < first:
                first, second = second, first
            between.setdefault((first, second), []).append(link)
    for (first, second), links in between.items():
        x, y = corners[first]
        works = all(link.works for link in links)
        states = ", ".join(sorted({link.state or "unknown" for link in links}))
        what = f"{first} - {second}: {states}"
        if not links[0].is_host:
            to_x, to_y = peers[second]
            end = (to_x + _WIDTH / 2, to_y + _PEER_HEIGHT)
            yield _line((x + _WIDTH / 2, y), end, works, what)
        elif second in corners:
            to_x, to_y = corners[second]
            end = (to_x + _WIDTH / 2, to_y + (height if to_y == y else 0))
            yield _line((x + _WIDTH / 2, y + height), end, works, what)


def _line(start: Point, end: Point, works: bool, what: str) -> str:
    """Return a line with a note; between two places at one height it hangs below what is there."""
    style = f'stroke="{_GOOD}"' if works else f'stroke="{_BAD}" stroke-dasharray="6 4"'
    middle = (start[0] + end[0]) / 2
    sag = (start[1] + end[1]) / 2
    if start[1] == end[1]:
        sag += min(_DEEPEST, _GAP / 2 + abs(start[0] - end[0]) / _FLATNESS)
    return (
        f'<path d="M {start[0]} {start[1]} Q {middle} {sag} {end[0]} {end[1]}" fill="none" '
        f'{style} stroke-width="2"><title>{_escaped(what)}</title></path>'
    )


def _host(
    place: Place, corner: Point, height: int, most: int, colours: Mapping[str, str]
) -> Iterator[str]:
    x, y = corner
    stroke = _GOOD if place.alive else _BAD
    if place.alive and place.fault:
        stroke = _UNKNOWN
    yield (
        f"<g><title>{_escaped('; '.join(filter(None, (title(place), place.fault))))}</title>"
        f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{height}" rx="6" fill="#ffffff" '
        f'stroke="{stroke}" stroke-width="2"/>'
    )
    yield _text(x + 12, y + 20, place.name, 'font-weight="bold" font-size="14"')
    yield _text(x + 12, y + 37, " ".join(place.addresses), 'fill="#555555"') + "</g>"
    for number, guest in enumerate(place.guests[:most]):
        line = y + _HEAD + _LINE * (number + 1) - 4
        words = f"{guest.name}  {' '.join(guest.addresses)}"
        yield (
            f"<g><title>{_escaped(f'port {guest.port}: {words}')}</title>"
            f'<circle cx="{x + 17}" cy="{line - 4}" r="5" fill="{colours[guest.network]}"/>'
            f"{_text(x + 28, line, words)}</g>"
        )
    if len(place.guests) > most:
        line = y + _HEAD + _LINE * (most + 1) - 4
        yield _text(x + 28, line, f"and {len(place.guests) - most} more", 'fill="#555555"')


def _text(x: float, y: float, text: str, style: str = "", letters: int = _LETTERS) -> str:
    shown = text if len(text) <= letters else text[: letters - 1] + "…"
    return f'<text x="{x}" y="{y}" {style}>{_escaped(shown)}</text>'


def _escaped(text: str) -> str:
    """Return *text* for XML, which has no way to write most control characters."""
    return html.escape("".join(letter if letter.isprintable() else "?" for letter in text))
