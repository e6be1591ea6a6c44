"""Which workload interfaces suffer from nftables objects that the kernel refused. Pure.

Only looked at when something was refused; the answer decides which endpoints are reported up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from calico_openstack.felix.kernel.nft_fields import INTERFACE_NAME_BYTES
from calico_openstack.felix.kernel.nft_transaction import ObjectKind, ObjectName
from calico_openstack.felix.render.nft import (
    Chain,
    Element,
    InSet,
    KeyType,
    NatMap,
    Ruleset,
    TableState,
    Verdict,
    VerdictMap,
)

_INTERFACES = (KeyType.IFNAME, KeyType.INTERFACE)


def interfaces_affected(ruleset: Ruleset, failures: Mapping[ObjectName, str]) -> dict[str, str]:
    """Return the reason by interface name, under "" one that concerns every interface.

    An interface is affected by an element that has its name, and by a chain that packets reach
    through a map element with its name. What a base chain leads to, or a table, concerns all.
    """
    affected: dict[str, str] = {}
    for failed, why in failures.items():
        reason = f"{failed}: {why}"
        state = ruleset.get(failed.table)
        if failed.kind is ObjectKind.TABLE or state is None:
            affected.setdefault("", reason)
        elif failed.element is not None:
            name = _interface_of(state, failed.name, failed.element)
            if name:
                affected.setdefault(name, reason)
        else:
            chains = {failed.name}
            if failed.kind is ObjectKind.SET:
                chains = {
                    name for name, chain in state.chains.items() if failed.name in _sets(chain)
                }
            for name in _interfaces_through(state, chains):
                affected.setdefault(name, reason)
    return affected


def _interfaces_through(state: TableState, failed: set[str]) -> set[str]:
    reached = set(failed)
    grown = True
    while grown:
        users = {name for name, chain in state.chains.items() if reached & _targets(chain)}
        grown = not users <= reached
        reached |= users
    if any(chain.hook for name, chain in state.chains.items() if name in reached):
        return {""}
    return {
        name
        for set_name, elements in state.elements.items()
        for element, value in elements.items()
        if isinstance(value, Verdict)
        and value.chain in reached
        and (name := _interface_of(state, set_name, element))
    }


def _targets(chain: Chain) -> set[str]:
    return {
        expression.chain
        for rule in chain.rules
        for expression in rule.expressions
        if isinstance(expression, Verdict) and expression.chain
    }


def _sets(chain: Chain) -> Iterable[str]:
    for rule in chain.rules:
        for expression in rule.expressions:
            if isinstance(expression, InSet):
                yield expression.set_name
            elif isinstance(expression, VerdictMap | NatMap):
                yield expression.map_name


def _interface_of(state: TableState, set_name: str, element: Element) -> str:
    """Return the interface name at the beginning of an element's key, "" when there is none."""
    set_ = state.sets.get(set_name)
    if set_ is None or set_.key[0] not in _INTERFACES or not isinstance(element, bytes):
        return ""
    return element[:INTERFACE_NAME_BYTES].rstrip(b"\0").decode(errors="replace")
