"""Checks of the rules of policies and profiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from calico_openstack.datamodel.addresses import Network
from calico_openstack.datamodel.ports import PortRange, parse_port
from calico_openstack.datamodel.protocols import ICMP, ICMPV6, PORT_PROTOCOLS, protocol_number
from calico_openstack.datamodel.rules import ANY_ENTITY, EntityRule, IcmpMatch, Rule
from calico_openstack.datamodel.selector import NAMESPACE_PREFIX, SERVICE_ACCOUNT_PREFIX
from calico_openstack.datamodel.validation.findings import Findings
from calico_openstack.datamodel.validation.syntax import (
    check_annotations,
    check_name,
    check_network,
    check_selector,
    check_service_name,
)

ACTIONS: Final = frozenset({"Allow", "Deny", "Log", "Pass"})
MAX_RULES: Final = 1024
MAX_NETS: Final = 256
MAX_PORTS: Final = 50

_FAMILY_OF_ICMP: Final = {ICMP: 4, ICMPV6: 6}


def check_rules(findings: Findings, field: str, rules: Sequence[Rule]) -> None:
    """Check a list of rules."""
    findings.require_at_most(field, rules, MAX_RULES)
    for index, rule in enumerate(rules):
        if findings.full:
            return
        _check_rule(findings, f"{field}[{index}]", rule)


def _check_rule(findings: Findings, field: str, rule: Rule) -> None:
    findings.require_one_of(f"{field}.action", rule.action, ACTIONS)
    if rule.ip_version not in (None, 4, 6):
        findings.reject(f"{field}.ipVersion", rule.ip_version, "4 or 6")
    protocol = _check_protocol(findings, f"{field}.protocol", rule.protocol)
    not_protocol = _check_protocol(findings, f"{field}.notProtocol", rule.not_protocol)
    _check_icmp(findings, f"{field}.icmp", rule.icmp, protocol)
    _check_icmp(findings, f"{field}.notICMP", rule.not_icmp, protocol)
    for name, number in (("protocol", protocol), ("notProtocol", not_protocol)):
        family = _FAMILY_OF_ICMP.get(number or 0)
        if family is not None and rule.ip_version not in (None, family):
            findings.add(f"{field}.{name}", f"is a protocol of IPv{family}, but ipVersion is not")
    networks: list[Network] = []
    for side, entity in (("source", rule.source), ("destination", rule.destination)):
        if entity is not ANY_ENTITY:
            networks += _check_entity(findings, f"{field}.{side}", entity, rule, protocol)
    families: set[int] = {network.version for network in networks}
    if rule.ip_version is not None:
        families.add(rule.ip_version)
    if len(families) > 1:
        findings.add(field, "mixes IPv4 and IPv6")
    if rule.http is not None:
        findings.add(f"{field}.http", "is not supported")
    if rule.metadata is not None:
        annotations = rule.metadata.annotations
        check_annotations(findings, f"{field}.metadata.annotations", annotations)


def _check_protocol(findings: Findings, field: str, protocol: int | str | None) -> int | None:
    """Check a protocol and return its number."""
    if protocol is None:
        return None
    number = protocol_number(protocol)
    if not number:
        findings.reject(field, protocol, "a protocol: 1 to 255 or a known name")
    return number


def _check_icmp(
    findings: Findings, field: str, icmp: IcmpMatch | None, protocol: int | None
) -> None:
    if icmp is None:
        return
    findings.require_within(f"{field}.type", icmp.type, 0, 254)
    findings.require_within(f"{field}.code", icmp.code, 0, 255)
    if icmp.code is not None and icmp.type is None:
        findings.add(f"{field}.code", "needs a type")
    if protocol not in _FAMILY_OF_ICMP:
        findings.add(field, "needs protocol ICMP or ICMPv6")


def _check_entity(
    findings: Findings, field: str, entity: EntityRule, rule: Rule, protocol: int | None
) -> Iterator[Network]:
    """Check one side of a rule and yield its networks."""
    check_selector(findings, f"{field}.selector", entity.selector, globally=False)
    check_selector(findings, f"{field}.notSelector", entity.not_selector)
    _check_namespace_selector(findings, f"{field}.namespaceSelector", entity.namespace_selector)
    for name, ports in (("ports", entity.ports), ("notPorts", entity.not_ports)):
        _check_ports(findings, f"{field}.{name}", ports, rule, protocol)
    if entity.services is not None:
        findings.add(f"{field}.services", "is not supported: it needs Kubernetes")
    if entity.service_accounts is not None:
        for account in entity.service_accounts.names:
            check_name(findings, f"{field}.serviceAccounts.names", account)
        where, selector = f"{field}.serviceAccounts.selector", entity.service_accounts.selector
        check_selector(findings, where, selector, globally=False, prefix=SERVICE_ACCOUNT_PREFIX)
    for name, nets in (("nets", entity.nets), ("notNets", entity.not_nets)):
        findings.require_at_most(f"{field}.{name}", nets, MAX_NETS)
        for index, text in enumerate(nets[:MAX_NETS]):
            where = f"{field}.{name}[{index}]"
            network = check_network(findings, where, text, strict=True)
            if network is None:
                continue
            if "/" not in text:
                findings.reject(where, text, "a network with a prefix length")
            if name == "notNets" and network.prefixlen == 0:
                findings.add(where, "excludes every address")
            yield network


def _check_namespace_selector(findings: Findings, field: str, text: str) -> None:
    check_selector(findings, field, text, prefix=NAMESPACE_PREFIX)
    if "global(" in text and "".join(text.split()) != "global()":
        findings.add(field, "global() must stand alone")


def _check_ports(
    findings: Findings,
    field: str,
    ports: Sequence[int | str],
    rule: Rule,
    protocol: int | None,
) -> None:
    findings.require_at_most(field, ports, MAX_PORTS)
    numbered = False
    for index, entry in enumerate(ports[:MAX_PORTS]):
        port = parse_port(entry)
        if port is None or (isinstance(port, PortRange) and port.first == 0):
            findings.reject(f"{field}[{index}]", entry, "a port: 1 to 65535, 'low:high' or a name")
        elif isinstance(port, PortRange):
            numbered = True
        else:
            check_service_name(findings, f"{field}[{index}]", port)
    carried = protocol in PORT_PROTOCOLS
    if ports and not carried and (numbered or rule.protocol is not None):
        findings.add(field, "needs protocol TCP, UDP or SCTP")
