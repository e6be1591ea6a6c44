"""What agents report, and what Neutron must say because of it. Pure.

`ReportBook` is the state of the status keys in etcd; `port_status` compares it with a port.
Neither remembers what was done before: the same reports against the same database always give
the same answer, which any number of servers may carry out.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from calico_openstack.datamodel.codec import decode, decode_at
from calico_openstack.datamodel.keys import (
    DhcpStatusKey,
    EndpointStatusKey,
    FelixStatusKey,
    parse_key,
)
from calico_openstack.datamodel.status import AgentStatus, EndpointStatus
from calico_openstack.etcd import Update
from calico_openstack.neutron.binding import AGENT_BINARY, AGENT_TYPE, VIF_TYPE
from calico_openstack.neutron.translate.labels import ORCHESTRATOR

ACTIVE = "ACTIVE"
DOWN = "DOWN"
ERROR = "ERROR"

_STATUSES = {"up": ACTIVE, "down": DOWN, "error": ERROR}


class AgentKind(enum.Enum):
    """An agent of a host, by what Neutron calls its type and its program.

    The type of the DHCP agents is not the one of Neutron's own, which its scheduler would give
    networks to.
    """

    FELIX = (AGENT_TYPE, AGENT_BINARY)
    DHCP = ("Calico DHCP agent", "calico-dhcp-agent")


class Agent(NamedTuple):
    """An agent in Neutron's eyes."""

    kind: AgentKind
    host: str

    def __str__(self) -> str:
        return f"{self.kind.value[1]} on {self.host}"


@dataclass(frozen=True, slots=True)
class PortState:
    """A port's status in Neutron, where it is bound, and the hosts that it may migrate to."""

    id: str
    status: str
    admin_state_up: bool
    device_id: str
    host: str
    vif_type: str
    targets: tuple[str, ...] = ()


@dataclass(slots=True)
class Changes:
    """What a batch of updates was about.

    ``ports`` are ids; ``started`` are agents that are there for the first time or anew, ``gone``
    those whose sign of life expired; ``refused`` are keys with values that are none.
    """

    ports: set[str] = field(default_factory=set)
    started: set[Agent] = field(default_factory=set)
    gone: set[Agent] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)


class ReportBook:
    """The reports in etcd, as they are now."""

    def __init__(self, namespace: str) -> None:
        self._workload_prefix = f"{namespace}/"
        self._reports: dict[str, dict[tuple[str, str], EndpointStatus]] = {}
        self._agents: dict[Agent, AgentStatus] = {}

    @property
    def agents(self) -> frozenset[Agent]:
        """The agents that are alive."""
        return frozenset(self._agents)

    def is_alive(self, host: str) -> bool:
        """Tell whether Felix on a host is alive."""
        return Agent(AgentKind.FELIX, host) in self._agents

    def report(self, port_id: str, host: str, device_id: str) -> EndpointStatus | None:
        """Return what a host says about a port of a device, None for nothing."""
        return self._reports.get(port_id, {}).get((host, device_id))

    def apply(self, updates: Iterable[Update]) -> Changes:
        """Take in changed keys, and return what they were about; other keys are ignored."""
        changes = Changes()
        for update in updates:
            key = parse_key(update.key)
            if isinstance(key, FelixStatusKey):
                self._apply_agent(Agent(AgentKind.FELIX, key.host), update, changes)
            elif isinstance(key, DhcpStatusKey):
                self._apply_agent(Agent(AgentKind.DHCP, key.host), update, changes)
            elif isinstance(key, EndpointStatusKey):
                self._apply_endpoint(key, update, changes)
        return changes

    def _apply_agent(self, agent: Agent, update: Update, changes: Changes) -> None:
        if update.value is None:
            if self._agents.pop(agent, None) is not None:
                changes.gone.add(agent)
                changes.started.discard(agent)
            return
        status = decode(update.key, update.value)
        if not isinstance(status, AgentStatus):
            changes.refused.append(str(status))
            return
        before = self._agents.get(agent)
        self._agents[agent] = status
        if before is None or status.uptime < before.uptime:
            changes.started.add(agent)
            changes.gone.discard(agent)

    def _apply_endpoint(self, key: EndpointStatusKey, update: Update, changes: Changes) -> None:
        if key.orchestrator != ORCHESTRATOR or not key.workload.startswith(self._workload_prefix):
            return
        place = (key.host, key.workload.removeprefix(self._workload_prefix))
        status = None
        if update.value is not None:
            decoded = decode_at(update.key, key, update.value)
            if isinstance(decoded, EndpointStatus) and decoded.status in _STATUSES:
                status = decoded
            else:
                changes.refused.append(f"{update.key}: {decoded}")
        reports = self._reports.setdefault(key.endpoint, {})
        if status is None:
            reports.pop(place, None)
        else:
            reports[place] = status
        if not reports:
            del self._reports[key.endpoint]
        changes.ports.add(key.endpoint)


def port_status(port: PortState, book: ReportBook) -> str | None:
    """Return the status that a port must be given, None where it has the right one.

    Only the host to which the port is bound has a say: the host that it left reports its end.
    A living Felix that says nothing about the port has not programmed it; a dead one says
    nothing new, and its host goes on forwarding as before.
    """
    if not port.host or port.vif_type != VIF_TYPE:
        return None
    reported = book.report(port.id, port.host, port.device_id)
    if reported is None:
        if not book.is_alive(port.host) or port.status not in (ACTIVE, ERROR):
            return None
        return DOWN
    wanted = _STATUSES[reported.status]
    if wanted == ACTIVE and not port.admin_state_up:
        return None
    return None if wanted == port.status else wanted


def is_target_up(port: PortState, book: ReportBook) -> bool:
    """Tell whether a host that a port may migrate to says that it is ready for it."""
    reports = (book.report(port.id, target, port.device_id) for target in port.targets)
    return any(report is not None and report.status == "up" for report in reports)


def leads_to(address: str, report: EndpointStatus) -> bool:
    """Tell whether a floating IP leads to an endpoint in the kernel, as its host reports.

    A Felix that does not say so (upstream's) programs it with the endpoint, a moment later if that
    was up before.
    """
    listed = report.floating_ips is None or address in report.floating_ips
    return report.status == "up" and listed


def floating_ip_status(
    status: str, address: str, port: PortState | None, book: ReportBook
) -> str | None:
    """Return the status that a floating IP of a port must be given, None where it has the right
    one.

    ``port`` is None where the port is bound to no host. What a dead Felix has programmed stays in
    force.
    """
    wanted = DOWN
    if port is not None and port.host:
        reported = book.report(port.id, port.host, port.device_id)
        if reported is None and not book.is_alive(port.host):
            return None
        wanted = ACTIVE if reported is not None and leads_to(address, reported) else DOWN
    return None if wanted == status else wanted
