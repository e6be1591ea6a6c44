"""What can be looked at inside of a running BGP agent: its last report, as tables. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from calico_openstack.agent.introspection.protocol import Row, Table, Tables

PROGRAM: Final = "calico-bgp-agent"
Document = Mapping[str, Any]


def tables_of(report: Callable[[], Document]) -> Tables:
    """Return the tables of an agent whose last *report* (see `bgp.status`) is asked for."""
    return {
        "peers": Table("BGP sessions, and from which resource", _rows(report, _peers)),
        "problems": Table("what could not be used", _rows(report, _problems)),
        "bird": Table("BIRD itself, and what it was last told", _rows(report, _bird)),
    }


def _rows(
    report: Callable[[], Document], rows: Callable[[Document], Iterable[Row]]
) -> Callable[[str], Iterable[Row]]:
    return lambda _match: rows(report())


def _peers(document: Document) -> Iterator[Row]:
    for session in document.get("sessions", ()):
        yield {
            "peer": str(session["peer"]),
            "as": str(session["peerAs"]),
            "state": "disabled" if session["disabled"] else session["state"] or "not started",
            "since": str(session.get("since", "")),
            "imported": str(session.get("imported", "")),
            "exported": str(session.get("exported", "")),
            "last error": str(session.get("lastError", "")),
            "because of": session["resource"] or session["scope"],
        }


def _problems(document: Document) -> Iterator[Row]:
    for text in (document.get("alarm"), *document.get("registrationFaults", ())):
        if text:
            yield {"what": "this host", "why": str(text)}
    for family in document.get("isolated", ()):
        yield {"what": f"IPv{family}", "why": "no session in the own AS is established"}
    for problem in document.get("problems", ()):
        field = f" {problem['field']}" if problem["field"] else ""
        yield {"what": f"{problem['resource']}{field}", "why": problem["reason"]}


def _bird(document: Document) -> Iterator[Row]:
    bird = document.get("bird")
    if not bird:
        yield {"what": "BIRD", "value": "does not answer"}
    else:
        for name in ("version", "routerId", "lastReboot", "lastReconfiguration", "recovering"):
            yield {"what": name, "value": str(bird[name])}
        for table, count in bird["routes"].items():
            yield {"what": f"routes in {table}", "value": str(count)}
    for name in ("inSync", "etcdConnected", "reloads", "birdStarts", "draining"):
        if name in document:
            yield {"what": name, "value": str(document[name])}
