"""What the agent says about BGP on its host: a file for people and tools, and log lines."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from calico_openstack.agent.log import fields
from calico_openstack.bgp.birdstatus import DaemonStatus, ProtocolStatus
from calico_openstack.bgp.detection import Family
from calico_openstack.bgp.render import Rendered
from calico_openstack.bgp.session import Session

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BirdReport:
    """What BIRD answered. ``routes`` counts by table; ``protocols`` by name; ``bfd`` has the
    states of its sessions by the neighbours' addresses."""

    daemon: DaemonStatus = field(default_factory=DaemonStatus)
    protocols: Mapping[str, ProtocolStatus] = field(default_factory=dict)
    routes: Mapping[str, int] = field(default_factory=dict)
    bfd: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reloads:
    """Configurations that BIRD took over from this agent: how many, and when the last one, in
    seconds since 1970. ``starts`` counts BIRD's starts."""

    count: int = 0
    last: float = 0.0
    starts: int = 0


NO_RELOADS: Final = Reloads()


@dataclass(frozen=True, slots=True)
class AgentReport:
    """What the agent knows beside BIRD: the newest rendering and what went wrong with it.

    ``alarm`` is why the newest state is not what runs, empty if it is; ``faults`` are those of the
    registration. ``isolated`` names the families without any session within the AS.
    """

    host: str
    rendered: Rendered | None = None
    in_sync: bool = False
    connected: bool = False
    alarm: str = ""
    faults: tuple[str, ...] = ()
    isolated: frozenset[Family] = frozenset()
    reloads: Reloads = NO_RELOADS


def as_document(agent: AgentReport, bird: BirdReport | None, now: datetime) -> dict[str, Any]:
    """Return the status as JSON object. *bird* None: BIRD does not answer."""
    rendered = agent.rendered
    document: dict[str, Any] = {
        "host": agent.host,
        "time": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "inSync": agent.in_sync,
        "etcdConnected": agent.connected,
        "alarm": agent.alarm,
        "registrationFaults": list(agent.faults),
        "draining": rendered is not None and rendered.draining,
        "isolated": sorted(agent.isolated),
        "reloads": agent.reloads.count,
        "lastReload": agent.reloads.last,
        "birdStarts": agent.reloads.starts,
        "problems": [
            {"resource": p.resource, "field": p.field, "reason": p.reason}
            for p in (rendered.problems if rendered else ())
        ],
        "sessions": [
            _session(session, bird) for session in (rendered.sessions if rendered else ())
        ],
        "bird": None,
    }
    if bird is not None:
        document["bird"] = {
            "version": str(bird.daemon.version or ""),
            "routerId": bird.daemon.router_id,
            "lastReboot": bird.daemon.last_reboot,
            "lastReconfiguration": bird.daemon.last_reconfiguration,
            "recovering": bird.daemon.recovering,
            "routes": dict(sorted(bird.routes.items())),
        }
    return document


def _session(session: Session, bird: BirdReport | None) -> dict[str, Any]:
    protocol = bird.protocols.get(session.name) if bird else None
    document: dict[str, Any] = {
        "name": session.name,
        "scope": session.scope.name.lower(),
        "resource": session.resource,
        "node": session.node,
        "family": session.family,
        "peer": str(session.neighbor),
        "port": session.port,
        "peerAs": session.remote_as,
        "localAs": session.local_as,
        "disabled": session.disabled,
        "state": "",
    }
    if protocol is not None:
        channel = protocol.channels[0] if protocol.channels else None
        document |= {
            "state": protocol.bgp_state or protocol.info or protocol.state,
            "since": protocol.since,
            "lastError": protocol.last_error,
            "imported": channel.imported if channel else 0,
            "filtered": channel.filtered if channel else 0,
            "exported": channel.exported if channel else 0,
            "preferred": channel.preferred if channel else 0,
        }
    if session.extras.bfd is not None and bird is not None:
        document["bfd"] = bird.bfd.get(str(session.neighbor), "")
    return document


def write_document(path: Path, document: Mapping[str, Any]) -> None:
    """Write the status file; readers see the old one or the new one. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(path.name + ".new")
    staged.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    staged.replace(path)


class SessionLog:
    """Logs each session once when it comes up, goes down, or vanishes.

    *went_down* is called with the name of each session that went down.
    """

    def __init__(self, went_down: Callable[[str], None]) -> None:
        self._went_down = went_down
        self._established: dict[str, bool] = {}

    def take(self, protocols: Mapping[str, ProtocolStatus]) -> None:
        """Compare with what was seen before and log the difference."""
        seen = {p.name: p for p in protocols.values() if p.type == "BGP"}
        for name, protocol in sorted(seen.items()):
            before = self._established.get(name)
            if protocol.established and not before:
                _log.info("BGP session is up", extra=_fields(protocol))
            elif before and not protocol.established:
                _log.warning("BGP session is down", extra=_fields(protocol))
                self._went_down(name)
            elif before is None:
                _log.info("BGP session is new", extra=_fields(protocol))
        for name in sorted(set(self._established) - set(seen)):
            _log.info("BGP session is gone", extra=fields(session=name))
        self._established = {name: protocol.established for name, protocol in seen.items()}


def _fields(protocol: ProtocolStatus) -> dict[str, object]:
    more = {"error": protocol.last_error} if protocol.last_error else {}
    state = protocol.bgp_state or protocol.state
    return dict(fields(session=protocol.name, peer=protocol.neighbor, state=state, **more))
