"""The reachability matrix: what Neutron's rules want and what packets saw."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from calico_openstack.lab import machine
from calico_openstack.lab.cloud import api, topology_of
from calico_openstack.lab.commands import run
from calico_openstack.lab.namespaces import inside
from calico_openstack.lab.neutron_api import NeutronApi
from calico_openstack.lab.probing import Attempt, Outcome
from calico_openstack.lab.rest import Resource
from calico_openstack.lab.security_groups import (
    ICMP,
    TCP,
    Groups,
    Party,
    Probe,
    is_wanted,
    parse_rule,
    probes,
)
from calico_openstack.lab.settings import Lab
from calico_openstack.lab.workload import Workload, WorkloadStore

# Seconds to wait for an answer: long where one is wanted, so that a loaded machine is not
# mistaken for a closed door; where none is wanted, longer than TCP takes to send again.
PATIENCE_WANTED = 5.0
PATIENCE_UNWANTED = 1.5
_UNTRIED = "untried"


@dataclass(frozen=True)
class Entry:
    """One kind of packet between two parties. `seen` is None when it could not be tried."""

    source: str
    target: str
    family: int
    probe: Probe
    wanted: bool
    seen: Outcome | None = None

    @property
    def agrees(self) -> bool:
        """Whether packets saw what the rules want, or could not be sent."""
        return self.seen is None or self.seen.reached == self.wanted


@dataclass(frozen=True)
class Matrix:
    """All entries between some parties, and their names in the order to show."""

    names: tuple[str, ...]
    entries: tuple[Entry, ...]

    def between(self, source: str, target: str) -> tuple[Entry, ...]:
        """The entries from one party to another."""
        return tuple(e for e in self.entries if (e.source, e.target) == (source, target))

    @property
    def differences(self) -> tuple[Entry, ...]:
        """The entries where packets saw something else than the rules want."""
        return tuple(entry for entry in self.entries if not entry.agrees)


def wanted(parties: Sequence[Party], kinds: Sequence[Probe], groups: Groups) -> Matrix:
    """What the rules want between all parties that have a common family. Pure."""
    entries = [
        Entry(source.name, target.name, family, probe, wish)
        for source in parties
        for target in parties
        if source.name != target.name
        for probe in kinds
        for family in (4, 6)
        if source.address(family) and target.address(family)
        for wish in [is_wanted(probe, family, source, target, groups)]
    ]
    return Matrix(tuple(party.name for party in parties), tuple(entries))


def build(lab: Lab) -> Matrix:
    """Ask Neutron what its rules want, send the packets, and put both side by side."""
    neutron = api(lab)
    workloads = WorkloadStore(lab).all()
    ports = {port["id"]: port for port in neutron.find_all("ports")}
    client = topology_of(lab).client
    parties = [Party("client", (client.ipv4, client.ipv6))]
    for workload in workloads:
        port = ports.get(workload.port_id)
        if port is not None:
            filtered = port.get("port_security_enabled", True)
            members = frozenset(port["security_groups"]) if filtered else None
            parties.append(Party(workload.name, workload.addresses, members))
    groups = _groups(neutron, list(ports.values()))
    used = sorted({group for party in parties for group in party.groups or ()})
    matrix = wanted(parties, probes(groups, used), groups)
    return observe(lab, matrix, parties, {w.name: w for w in workloads})


def observe(
    lab: Lab, matrix: Matrix, parties: Sequence[Party], workloads: Mapping[str, Workload]
) -> Matrix:
    """Send the packets of a matrix, all senders at once, and return it with what was seen."""
    by_name = {party.name: party for party in parties}

    def from_one(source: str) -> list[Entry]:
        entries = [entry for entry in matrix.entries if entry.source == source]
        attempts = [
            Attempt(
                by_name[entry.target].address(entry.family) or "",
                entry.probe.protocol,
                entry.probe.port,
                PATIENCE_WANTED if entry.wanted else PATIENCE_UNWANTED,
            )
            for entry in entries
        ]
        outcomes = attempt(lab, source, workloads.get(source), attempts)
        return [
            replace(entry, seen=outcome) for entry, outcome in zip(entries, outcomes, strict=True)
        ]

    with ThreadPoolExecutor(max_workers=16) as pool:
        seen = [entry for part in pool.map(from_one, matrix.names) for entry in part]
    return Matrix(matrix.names, tuple(seen))


def _groups(neutron: NeutronApi, ports: Sequence[Resource]) -> Groups:
    address_groups = {
        group["id"]: tuple(group["addresses"])
        for group in neutron.find_all_if_known("address-groups")
    }
    rules = {
        group["id"]: tuple(parse_rule(r, address_groups) for r in group["security_group_rules"])
        for group in neutron.find_all("security-groups")
    }
    return Groups(rules, members(ports))


def members(ports: Sequence[Resource]) -> dict[str, frozenset[str]]:
    """The addresses of the ports in each security group, their allowed pairs included. Pure."""
    found: dict[str, set[str]] = {}
    for port in ports:
        addresses = {fixed["ip_address"] for fixed in port["fixed_ips"]}
        addresses |= {pair["ip_address"] for pair in port.get("allowed_address_pairs", ())}
        for group in port["security_groups"]:
            found.setdefault(group, set()).update(addresses)
    return {group: frozenset(addresses) for group, addresses in found.items()}


def attempt(
    lab: Lab, source: str, workload: Workload | None, attempts: Sequence[Attempt]
) -> list[Outcome | None]:
    """Make attempts from a workload, or from a host of the lab (`workload` is None)."""
    if not attempts:
        return []
    if workload is not None and workload.machine is not None:
        return _attempt_in_machine(WorkloadStore(lab).folder(source), attempts)
    namespace = lab.namespace(source) if workload is None else lab.workload_namespace(source)
    command = [sys.executable, "-m", "calico_openstack.lab.probing"]
    text = run(inside(namespace, command), stdin=msgspec.json.encode(attempts).decode())
    return list(msgspec.json.decode(text, type=list[Outcome]))


def _attempt_in_machine(folder: Path, attempts: Sequence[Attempt]) -> list[Outcome | None]:
    _, output = machine.execute(folder, ["sh", "-c", shell_attempts(attempts)])
    return [None if word == _UNTRIED else Outcome(word) for word in output.split()]


def shell_attempts(attempts: Sequence[Attempt]) -> str:
    """A shell script that makes attempts with what busybox has and writes one word for each.

    It has nothing for UDP. Pure.
    """
    tries = [f"({_shell_attempt(a, i)}) > /tmp/outcome.{i} &" for i, a in enumerate(attempts)]
    words = [f"cat /tmp/outcome.{i}" for i in range(len(attempts))]
    return "\n".join([*tries, "wait", *words])


def _shell_attempt(attempt: Attempt, number: int) -> str:
    address, patience = shlex.quote(attempt.address), max(1, round(attempt.patience))
    said = f"/tmp/said.{number}"
    if attempt.protocol == ICMP:
        command = f"ping -c 1 -W {patience} {address}"
    elif attempt.protocol == TCP:
        command = f"nc -w {patience} {address} {attempt.port} -e true"
    else:
        return f"echo {_UNTRIED}"
    return (
        f"if {command} > {said} 2>&1; then echo {Outcome.ANSWERED}; "
        f"elif grep -q refused {said}; then echo {Outcome.REFUSED}; "
        f"elif grep -q unreachable {said}; then echo {Outcome.UNREACHABLE}; "
        f"else echo {Outcome.SILENT}; fi"
    )
