"""Neutron's network logs become Log rules. Pure.

What a security group accepts is logged by a rule beside each of its rules, in its own policy. What
groups drop is logged by a policy for each log, which comes after those of all groups: a packet that
gets there would be accepted by none. Both use nothing but Calico's own Log action.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from calico_openstack.datamodel.policies import NetworkPolicy, NetworkPolicySpec
from calico_openstack.datamodel.resource import Metadata
from calico_openstack.datamodel.rules import EntityRule, Rule, RuleMetadata
from calico_openstack.neutron.translate.facts import LogFacts
from calico_openstack.neutron.translate.labels import LOG_LABEL, group_selector

ACCEPT, DROP, ALL = "ACCEPT", "DROP", "ALL"

LOG_POLICY = "log-"
"""Stands before a log's id where policies of groups have a group's id. Policies without an order
come in that of their names, and "l" comes after the digits of every group's id."""


def has_label(log: LogFacts, port_id: str, project_id: str | None) -> bool:
    """Tell whether a port has a label because of a log that is not for a group as a whole."""
    if log.port_id is not None:
        return log.port_id == port_id
    return log.group_id is None and log.project_id == project_id


def drop_policy(log: LogFacts, name: str, namespace: str) -> NetworkPolicy | None:
    """Return the policy that logs what groups drop, None where a log does not ask for that."""
    if log.event not in (DROP, ALL):
        return None
    rule = Rule(action="Log", metadata=RuleMetadata(annotations={"log": "drop"}))
    group = () if log.group_id is None else (group_selector(log.group_id),)
    return NetworkPolicy(
        metadata=Metadata(name=name, namespace=namespace),
        spec=NetworkPolicySpec(
            ingress=(rule,),
            egress=(rule,),
            selector=" && ".join((*group, *_labelled(log))),
        ),
    )


def accept_rules(rule: Rule, rule_id: str, direction: str, logs: Iterable[LogFacts]) -> list[Rule]:
    """Return the rules that log what a rule of a group accepts, to stand before it."""
    narrowed = {" && ".join(_labelled(log)) for log in logs if log.event in (ACCEPT, ALL)}
    if "" in narrowed:
        narrowed = {""}
    metadata = RuleMetadata(annotations={"log": "accept", "rule": rule_id})
    own = "destination" if direction == "ingress" else "source"
    result = []
    for selector in sorted(narrowed):
        before: EntityRule = getattr(rule, own)
        entity = msgspec.structs.replace(before, selector=selector) if selector else before
        result.append(
            msgspec.structs.replace(rule, action="Log", metadata=metadata, **{own: entity})
        )
    return result


def _labelled(log: LogFacts) -> tuple[str, ...]:
    """Return what narrows a log to some ports, nothing where it is for a group as a whole."""
    if log.port_id is None and log.group_id is not None:
        return ()
    return (f"has({LOG_LABEL}{log.id})",)
