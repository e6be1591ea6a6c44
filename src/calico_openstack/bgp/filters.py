"""BGPFilters as functions in BIRD's filter language. Pure.

A function ends the filter that calls it with ``accept`` or ``reject`` in the first rule that
matches, and returns if none does.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Final

from calico_openstack.bgp.communities import community_literal, community_value
from calico_openstack.bgp.detection import Family
from calico_openstack.datamodel.addresses import parse_network
from calico_openstack.datamodel.bgp import BGPFilter, BGPFilterOperation, BGPFilterRule

PRIORITY_BASE: Final = 2**31 - 1
"""LOCAL_PREF of a route is this minus its priority (its kernel metric)."""

# BIRD's symbols have at most 64 characters, of which the decoration takes 19.
_LONGEST_NAME: Final = 45
_INTERFACE_PATTERN = re.compile(r"[a-zA-Z0-9_.*-]{1,15}")
_SYMBOL = re.compile(r"[a-zA-Z0-9_.:-]+")


class Direction(Enum):
    """Which way routes pass a filter; the value is the word in function names."""

    IMPORT = "import"
    EXPORT = "export"


class FilterError(Exception):
    """A filter cannot be expressed; the message says which rule and why."""


def rules_of(
    bgp_filter: BGPFilter, direction: Direction, family: Family
) -> tuple[BGPFilterRule, ...]:
    """Return the rules of a filter for one direction and family."""
    spec = bgp_filter.spec
    if family == 4:
        return spec.import_v4 if direction is Direction.IMPORT else spec.export_v4
    return spec.import_v6 if direction is Direction.IMPORT else spec.export_v6


def function_name(name: str, direction: Direction, family: Family) -> str:
    """Return the function's symbol, quoted; long names are cut and end in a hash."""
    if not _SYMBOL.fullmatch(name):
        raise FilterError(f"{name!r} cannot be part of a symbol")
    if len(name) > _LONGEST_NAME:
        digest = hashlib.sha256(name.encode()).hexdigest()[:16].upper()
        name = f"{name[:28]}_{digest}"
    return f"'bgp_{name}_{direction.value}FilterV{family}'"


def function_lines(
    name: str, rules: Sequence[BGPFilterRule], direction: Direction, family: Family
) -> tuple[str, ...]:
    """Return the function's definition. Its argument says whether the session leads to
    another AS.

    Raises FilterError for a rule that cannot be expressed.
    """
    lines = [f"function {function_name(name, direction, family)}(bool other_as)", "{"]
    for number, rule in enumerate(rules):
        try:
            lines += _rule_lines(rule, direction, family)
        except (ValueError, KeyError) as error:
            where = f"spec.{direction.value}V{family}[{number}]"
            raise FilterError(f"{where}: {error}") from error
    return (*lines, "}")


def is_unconditional(rule: BGPFilterRule) -> bool:
    """Whether a rule applies to every route."""
    plain = BGPFilterRule(action=rule.action, operations=rule.operations)
    return rule == plain


def _rule_lines(rule: BGPFilterRule, direction: Direction, family: Family) -> list[str]:
    conditions = list(_conditions(rule, family))
    actions = _actions(rule, direction, family)
    if not conditions:
        return [f"  {action}" for action in actions]
    head = f"  if ({' && '.join(conditions)}) then {{"
    return [head, *(f"    {action}" for action in actions), "  }"]


def _conditions(rule: BGPFilterRule, family: Family) -> Iterator[str]:
    if rule.cidr:
        yield from _prefix_conditions(rule, family)
    if rule.source == "RemotePeers":
        yield "source = RTS_BGP"
    elif rule.source:
        raise ValueError(f"unknown source {rule.source!r}")
    if rule.interface:
        if not _INTERFACE_PATTERN.fullmatch(rule.interface):
            raise ValueError(f"{rule.interface!r} is no interface pattern")
        yield f'ifname ~ "{rule.interface}"'
    if rule.peer_type:
        yield {"eBGP": "other_as", "iBGP": "!other_as"}[rule.peer_type]
    for value in rule.communities.values if rule.communities else ():
        literal, attribute = _community(value)
        yield f"{literal} ~ {attribute}"
    if rule.as_path_prefix:
        yield f"bgp_path ~ [= {' '.join(map(str, rule.as_path_prefix))} * =]"
    if rule.priority is not None:
        preference = PRIORITY_BASE - rule.priority
        yield f"defined(bgp_local_pref) && bgp_local_pref = {preference}"


def _prefix_conditions(rule: BGPFilterRule, family: Family) -> Iterator[str]:
    network = parse_network(rule.cidr)
    if network is None or network.version != family:
        raise ValueError(f"{rule.cidr} is not IPv{family}")
    operator = {"Equal": "=", "NotEqual": "!=", "In": "~", "NotIn": "!~"}[rule.match_operator]
    if rule.prefix_length is None:
        yield f"net {operator} {network}"
        return
    lowest = max(rule.prefix_length.min or 0, network.prefixlen)
    longest = network.max_prefixlen
    highest = longest if rule.prefix_length.max is None else min(rule.prefix_length.max, longest)
    if lowest > highest:
        # A pattern that no route can match, or that every route fails to match.
        yield "true" if operator.startswith("!") else "false"
    elif "~" in operator:
        yield f"net {operator} [ {network}{{{lowest},{highest}}} ]"
    else:
        yield f"net {operator} {network}"
        yield f"net.len >= {lowest} && net.len <= {highest}"


def _actions(rule: BGPFilterRule, direction: Direction, family: Family) -> list[str]:
    if rule.action == "Reject":
        return ["reject;"]
    if rule.action != "Accept":
        raise ValueError(f"unknown action {rule.action!r}")
    actions = [text for operation in rule.operations for text in _operation(operation)]
    if direction is Direction.IMPORT:
        # Accepting here ends the filter, so the preference is settled before.
        actions.append(f"calico_prefer{family}();")
    return [*actions, "accept;"]


def _operation(operation: BGPFilterOperation) -> Iterator[str]:
    if operation.add_community is not None:
        literal, attribute = _community(operation.add_community.value)
        yield f"{attribute}.add({literal});"
    if operation.prepend_as_path is not None:
        # Each one goes in front of those before it.
        for number in reversed(operation.prepend_as_path.prefix):
            yield f"bgp_path.prepend({number});"
    if operation.set_priority is not None and operation.set_priority.value is not None:
        yield f"bgp_local_pref = {PRIORITY_BASE - operation.set_priority.value};"


def _community(text: str) -> tuple[str, str]:
    value = community_value(text)
    if value is None:
        raise ValueError(f"{text!r} is no community")
    return community_literal(value)
