"""Rules, security groups and remedies in the words of those who write them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from calico_openstack.calicoctl.naming import called
from calico_openstack.datamodel import EntityRule, Rule
from calico_openstack.datamodel.openstack import GROUP_LABEL, GROUP_POLICY
from calico_openstack.datamodel.protocols import PROTOCOL_NAMES
from calico_openstack.policy.addresses import unpack_address
from calico_openstack.policy.evaluation import Reason
from calico_openstack.policy.packet import Direction, Packet
from calico_openstack.policy.passage import Place, Step

_MEMBERS: Final = re.compile(rf"has\({re.escape(GROUP_LABEL)}([^()]+)\)")


class SecurityGroup(Struct, frozen=True):
    """A security group of Neutron."""

    id: str
    name: str

    @property
    def title(self) -> str:
        """The group as people call it."""
        return f"security group {called(self.name, self.id)}"


def groups_of(labels: Mapping[str, str]) -> dict[str, SecurityGroup]:
    """Return the groups of a port by the names of their policies."""
    return {
        GROUP_POLICY + label.removeprefix(GROUP_LABEL): SecurityGroup(
            label.removeprefix(GROUP_LABEL), name
        )
        for label, name in sorted(labels.items())
        if label.startswith(GROUP_LABEL)
    }


def rule_words(rule: Rule, names: Mapping[str, str] | None = None) -> str:
    """Return a rule in one line; *names* are those of security groups, by their ids."""
    words = [rule.action]
    if rule.ip_version is not None:
        words.append(f"IPv{rule.ip_version}")
    if rule.protocol is not None:
        name = PROTOCOL_NAMES.get(rule.protocol) if isinstance(rule.protocol, int) else None
        words.append(name or f"{rule.protocol}")
    if rule.not_protocol is not None:
        words.append(f"not {rule.not_protocol}")
    if rule.icmp is not None:
        words.append(f"type {rule.icmp.type}")
    for preposition, entity in (("from", rule.source), ("to", rule.destination)):
        if what := _entity_words(entity, names or {}):
            words.append(f"{preposition} {what}")
    return " ".join(words) if len(words) > 1 else f"{rule.action} everything"


def _entity_words(entity: EntityRule, names: Mapping[str, str]) -> str:
    parts = [
        ("", ",".join(entity.nets)),
        ("not ", ",".join(entity.not_nets)),
        ("", _selector_words(entity.selector, names)),
        ("not ", _selector_words(entity.not_selector, names)),
        ("namespaces ", entity.namespace_selector),
        ("port ", ",".join(map(str, entity.ports))),
        ("not port ", ",".join(map(str, entity.not_ports))),
    ]
    return " ".join(prefix + value for prefix, value in parts if value)


def _selector_words(selector: str, names: Mapping[str, str]) -> str:
    """Return a selector, or the security group whose members it selects."""
    found = _MEMBERS.fullmatch(selector)
    return f"security group {called(names.get(found[1], ''), found[1])}" if found else selector


def remedy(
    step: Step, reason: Reason | None, groups: Sequence[SecurityGroup], packet: Packet
) -> str:
    """Return the change that lets *packet* pass where *step* refused it."""
    match step.place:
        case Place.SPOOFING:
            address = unpack_address(packet.source)
            return f"openstack port set --allowed-address ip-address={address} PORT"
        case Place.FIXED:
            return "this cannot be allowed"
        case _:
            pass
    if reason is not None and reason.block is not None and reason.rule is not None:
        return (
            f"change rule {reason.rule} of {reason.block.kind} {reason.block.name}, or put a rule "
            "or policy of a lower order before it that allows this"
        )
    if groups:
        return _group_rule(step.direction, groups[0], packet)
    if reason is not None and not reason.tier:
        return "give the port a security group that allows this"
    return f"allow this in a policy that selects {step.endpoint.name if step.endpoint else 'it'}"


def _group_rule(direction: Direction, group: SecurityGroup, packet: Packet) -> str:
    """Return the command that adds the missing rule to a group."""
    far = packet.source if direction is Direction.INGRESS else packet.destination
    remote = f"{unpack_address(far)}/{len(far) * 8}"
    name = PROTOCOL_NAMES.get(packet.protocol, str(packet.protocol)).lower()
    words = [
        *("openstack", "security", "group", "rule", "create", f"--{direction.value}"),
        *("--ethertype", f"IPv{packet.ip_version}"),
        *("--protocol", "ipv6-icmp" if name == "icmpv6" else name),
        *("--remote-ip", remote),
    ]
    if packet.destination_port is not None:
        words += ["--dst-port", str(packet.destination_port)]
    if packet.icmp_type is not None:
        words += ["--icmp-type", str(packet.icmp_type)]
    return shlex.join([*words, group.id])
