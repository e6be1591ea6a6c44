"""CalicoNodeStatus: a host's BGP in the datastore, to see all hosts from one place. Pure.

An operator makes an object with the name of a host, the classes of information and a period; the
host fills in its status. The shape is upstream's (reference of CalicoNodeStatus). One BIRD serves
both families here, so both of its daemons are the same one. Objects are handled as JSON, so that
members that are not known here stay as they are. What upstream has no member for, the reasons
why something is not as it should be, is an annotation.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from calico_openstack.bgp.birdroutes import Route
from calico_openstack.bgp.birdstatus import DaemonStatus, ProtocolStatus
from calico_openstack.bgp.detection import Family
from calico_openstack.bgp.extras import DOMAIN
from calico_openstack.bgp.session import Scope
from calico_openstack.bgp.settings import FAMILIES
from calico_openstack.datamodel.addresses import parse_address

KIND: Final = "CalicoNodeStatus"
AGENT, BGP, ROUTES = "Agent", "BGP", "Routes"
LONGEST_PERIOD: Final = 86400
REASONS_ANNOTATION: Final = DOMAIN + "reasons"
"""A JSON list of sentences."""

_MOST_REASONS: Final = 50

_PEER_TYPES: Final = {
    Scope.MESH.value: "NodeMesh",
    Scope.GLOBAL.value: "GlobalPeer",
    Scope.NODE.value: "NodePeer",
    # The kind has no word of its own for workloads.
    Scope.WORKLOAD.value.partition("_")[0]: "NodePeer",
}
_ROUTE_SOURCES: Final = {"calico_kernel": "Kernel", "calico_direct": "Direct"}


@dataclass(frozen=True, slots=True)
class Request:
    """What an object asks a host for. ``period`` is seconds, 0 for nothing."""

    node: str
    classes: frozenset[str]
    period: int


@dataclass(frozen=True, slots=True)
class Answers:
    """What BIRD said. ``daemon`` None: it does not answer; ``routes`` only if asked for.

    ``reasons`` are the agent's own words about what is not as it should be.
    """

    daemon: DaemonStatus | None
    protocols: tuple[ProtocolStatus, ...] = ()
    routes: tuple[Route, ...] = ()
    reasons: tuple[str, ...] = ()


def request_of(stored: object) -> Request | None:
    """Return what a stored object asks for, None if it cannot be understood."""
    spec = stored.get("spec") if isinstance(stored, dict) else None
    if not isinstance(spec, dict):
        return None
    node, classes, period = (spec.get(m) for m in ("node", "classes", "updatePeriodSeconds"))
    if not isinstance(node, str) or not isinstance(classes, list):
        return None
    if isinstance(period, bool) or not isinstance(period, int):
        return None
    known = frozenset(c for c in (AGENT, BGP, ROUTES) if c in classes)
    return Request(node, known, min(max(period, 0), LONGEST_PERIOD))


def new_object(host: str, period: int, uid: str, now: str) -> dict[str, Any]:
    """Return the object by which a host reports about itself unasked, under its own name.

    *now* is RFC 3339 text, here and below.
    """
    return {
        "kind": KIND,
        "apiVersion": "projectcalico.org/v3",
        "metadata": {"name": host, "uid": uid, "creationTimestamp": now},
        "spec": {"node": host, "classes": [AGENT, BGP], "updatePeriodSeconds": period},
    }


def with_status(
    stored: Mapping[str, Any], request: Request, answers: Answers, now: str
) -> dict[str, Any] | None:
    """Return the object with the status that it asks for.

    A BIRD that does not answer is all that can be told then; None if that was not asked for.
    """
    if answers.daemon is None and AGENT not in request.classes:
        return None
    status: dict[str, Any] = {"lastUpdated": now}
    if AGENT in request.classes:
        daemon = _daemon(answers.daemon)
        status["agent"] = {"birdV4": daemon, "birdV6": dict(daemon)}
    if BGP in request.classes and answers.daemon is not None:
        status["bgp"] = _sessions(answers.protocols)
    if ROUTES in request.classes and answers.daemon is not None:
        status["routes"] = _routes(answers)
    return {**stored, "metadata": _with_reasons(stored, answers.reasons), "status": status}


def reasons_of(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what is not as it should be, from the agent's status document."""
    reasons = [document["alarm"], *document["registrationFaults"]]
    for session in document["sessions"]:
        if session["disabled"]:
            reasons.append(f"{session['name']} is disabled: {session['disabled']}")
        elif session["state"] != "Established":
            error = session.get("lastError", "")
            reasons.append(
                f"{session['name']} is {session['state'] or 'not there'} {error}".strip()
            )
    problems = document["problems"]
    reasons += [f"{p['resource']} {p['field']}: {p['reason']}" for p in problems]
    return tuple(reason for reason in reasons if reason)[:_MOST_REASONS]


def _with_reasons(stored: Mapping[str, Any], reasons: tuple[str, ...]) -> dict[str, Any]:
    kept = stored.get("metadata")
    metadata = dict(kept) if isinstance(kept, dict) else {}
    kept = metadata.get("annotations")
    annotations = dict(kept) if isinstance(kept, dict) else {}
    annotations.pop(REASONS_ANNOTATION, None)
    if reasons:
        annotations[REASONS_ANNOTATION] = json.dumps(reasons, ensure_ascii=False)
    metadata["annotations"] = annotations
    if not annotations:
        del metadata["annotations"]
    return metadata


def _daemon(daemon: DaemonStatus | None) -> dict[str, str]:
    if daemon is None:
        return {"state": "NotReady"}
    return {
        "state": "NotReady" if daemon.recovering else "Ready",
        "version": str(daemon.version or ""),
        "routerID": daemon.router_id,
        "lastBootTime": daemon.last_reboot,
        "lastReconfigurationTime": daemon.last_reconfiguration,
    }


def _sessions(protocols: Iterable[ProtocolStatus]) -> dict[str, Any]:
    peers: dict[Family, list[dict[str, str]]] = {4: [], 6: []}
    established: dict[Family, int] = {4: 0, 6: 0}
    for protocol in protocols:
        address = parse_address(protocol.neighbor.partition("%")[0])
        kind = _PEER_TYPES.get(protocol.name.partition("_")[0])
        if protocol.type != "BGP" or address is None or kind is None:
            continue
        established[address.version] += protocol.established
        peers[address.version].append(
            {
                "peerIP": protocol.neighbor,
                "type": kind,
                "state": protocol.bgp_state,
                "since": protocol.since,
            }
        )
    status: dict[str, Any] = {}
    for family in FAMILIES:
        status[f"numberEstablishedV{family}"] = established[family]
        status[f"numberNotEstablishedV{family}"] = len(peers[family]) - established[family]
        status[f"peersV{family}"] = peers[family]
    return status


def _routes(answers: Answers) -> dict[str, Any]:
    neighbors = {p.name: p.neighbor for p in answers.protocols}
    routes: dict[str, list[dict[str, Any]]] = {f"routesV{family}": [] for family in FAMILIES}
    for route in answers.routes:
        source: dict[str, str] = {"sourceType": _source_type(route.protocol)}
        if neighbor := neighbors.get(route.protocol):
            source["peerIP"] = neighbor
        gateway, interface = "N/A", route.kind
        if route.hops:
            gateway, interface = route.hops[0].gateway or "N/A", route.hops[0].interface
        routes[f"routesV{route.family}"].append(
            {
                "type": "FIB" if route.best else "RIB",
                "destination": route.network,
                "gateway": gateway,
                "interface": interface,
                "learnedFrom": source,
            }
        )
    return routes


def _source_type(protocol: str) -> str:
    scope = protocol.partition("_")[0]
    if scope in _PEER_TYPES:
        return "NodeMesh" if scope == Scope.MESH.value else "BGPPeer"
    return _ROUTE_SOURCES.get(protocol.rstrip("46"), "Static")
