"""The functions of those BGPFilters that a host's sessions use. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from calico_openstack.bgp.detection import Family
from calico_openstack.bgp.filters import (
    Direction,
    FilterError,
    function_lines,
    function_name,
    is_unconditional,
    rules_of,
)
from calico_openstack.bgp.session import Session
from calico_openstack.bgp.state import BgpState, Problem
from calico_openstack.datamodel.bgp import BGPFilter


def functions_in_use(
    sessions: tuple[Session, ...], state: BgpState, excluded: Mapping[str, str]
) -> tuple[list[tuple[str, ...]], tuple[Session, ...], list[Problem]]:
    """Return the functions of the filters in use, the sessions, and what is wrong.

    Sessions are disabled for filters that cannot be expressed; *excluded* names functions that
    BIRD does not accept, with the reasons.
    """
    functions: list[tuple[str, ...]] = []
    problems: list[Problem] = []
    failed: dict[str, str] = {}
    used = sorted({n for s in sessions if not s.disabled for n in s.filters})
    families = sorted({family for s in sessions for family in s.families})
    for name in used:
        try:
            functions += _functions_of(name, state.filters[name], families, excluded)
        except FilterError as error:
            failed[name] = str(error)
            problems.append(Problem(f"BGPFilter {name}", "", str(error)))
        problems += _leaks(name, state.filters[name], families)
    closed = tuple(
        replace(s, disabled=f"BGPFilter {bad[0]} cannot be used: {failed[bad[0]]}")
        if not s.disabled and (bad := [name for name in s.filters if name in failed])
        else s
        for s in sessions
    )
    return functions, closed, problems


def _functions_of(
    name: str, bgp_filter: BGPFilter, families: Iterable[Family], excluded: Mapping[str, str]
) -> list[tuple[str, ...]]:
    functions = []
    for family in families:
        for direction in Direction:
            rules = rules_of(bgp_filter, direction, family)
            symbol = function_name(name, direction, family)
            if symbol in excluded:
                raise FilterError(f"BIRD refuses it: {excluded[symbol]}")
            if rules:
                functions.append(function_lines(name, rules, direction, family))
    return functions


def _leaks(name: str, bgp_filter: BGPFilter, families: Iterable[Family]) -> Iterator[Problem]:
    """Warn of rules that announce whatever the host knows."""
    for family in families:
        for number, rule in enumerate(rules_of(bgp_filter, Direction.EXPORT, family)):
            if rule.action == "Accept" and is_unconditional(rule):
                reason = "accepts every route: also the default route and those of the host itself"
                yield Problem(f"BGPFilter {name}", f"spec.exportV{family}[{number}]", reason)
