"""The chains with the rules of policies and profiles, one for each direction that has rules.

They are shared by all endpoints, whatever else applies to these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.felix.render import names
from calico_openstack.felix.render.matches import OwnSet, render_matches
from calico_openstack.felix.render.nft import (
    ACCEPT,
    DROP,
    RETURN,
    Chain,
    Counter,
    Expression,
    Limit,
    Log,
    Reject,
    Rule,
    SetMark,
    Verdict,
    VerdictKind,
)
from calico_openstack.felix.render.settings import DenyAction, RenderSettings
from calico_openstack.felix.render.tables import TableWriter
from calico_openstack.policy.packet import Direction
from calico_openstack.policy.rules import Action, PolicyRule, RuleBlock

# What the kernel takes of a log prefix (NF_LOG_PREFIXLEN), without its final zero.
_MAX_LOG_PREFIX = 127

ALLOWED = {
    Direction.INGRESS: ACCEPT,
    Direction.EGRESS: Verdict(VerdictKind.GOTO, names.EGRESS_ALLOWED),
}


class Shape(NamedTuple):
    """What the chains that lead to a policy's chain must know of it.

    *exists*: it has rules. *passes*: it may set the pass mark.
    """

    exists: bool = False
    passes: bool = False


_NOTHING = Shape()


class PolicyChains:
    """The policy chains of one IP version's table.

    *has_ranges* tells whether a selector's set has networks in this version.
    """

    def __init__(
        self,
        writer: TableWriter,
        version: int,
        settings: RenderSettings,
        has_ranges: Callable[[str], bool],
    ) -> None:
        self._writer = writer
        self._version = version
        self._settings = settings
        self._has_ranges = has_ranges
        self._shapes: dict[tuple[ResourceKey, Direction], Shape] = {}
        self._own_sets: dict[tuple[ResourceKey, Direction], set[str]] = {}
        self._own_set_users: dict[str, int] = {}

    def shape(self, key: ResourceKey, direction: Direction) -> Shape:
        """Return the shape of a policy's chain."""
        return self._shapes.get((key, direction), _NOTHING)

    def put(self, block: RuleBlock) -> bool:
        """Write the chains of a policy; tell whether one's shape changed."""
        changed = False
        for direction in Direction:
            rules, own = self._render(block, direction)
            self._use_own_sets((block.key, direction), own)
            name = names.block_chain(block.key, direction)
            if rules:
                self._writer.put_chain(name, Chain(rules))
            elif self.shape(block.key, direction).exists:
                self._writer.remove_chain(name)
            passes = bool(rules) and _passes(block, direction)
            changed |= self._set_shape((block.key, direction), Shape(bool(rules), passes))
        return changed

    def remove(self, key: ResourceKey) -> None:
        """Remove the chains of a policy."""
        for direction in Direction:
            self._use_own_sets((key, direction), [])
            if self.shape(key, direction).exists:
                self._writer.remove_chain(names.block_chain(key, direction))
            self._set_shape((key, direction), _NOTHING)

    def _set_shape(self, place: tuple[ResourceKey, Direction], shape: Shape) -> bool:
        if self._shapes.get(place, _NOTHING) == shape:
            return False
        if shape == _NOTHING:
            del self._shapes[place]
        else:
            self._shapes[place] = shape
        return True

    def _render(
        self, block: RuleBlock, direction: Direction
    ) -> tuple[tuple[Rule, ...], list[OwnSet]]:
        rules: list[Rule] = []
        own: list[OwnSet] = []
        for rule in block.rules(direction):
            rendered = render_matches(rule, self._version, self._has_ranges)
            if rendered is None:
                continue
            own += rendered.sets
            statements = self._statements(rule, block, direction)
            comment = names.rule_comment(block.key, direction, rule.index, rule.note)
            rules += [Rule((*way, *statements), comment) for way in rendered.alternatives]
        return tuple(rules), own

    def _statements(
        self, rule: PolicyRule, block: RuleBlock, direction: Direction
    ) -> tuple[Expression, ...]:
        match rule.action:
            case Action.ALLOW:
                return (ALLOWED[direction],)
            case Action.DENY:
                return denial(self._settings)
            case Action.LOG:
                return (
                    *log_limit(self._settings),
                    Log(log_prefix(self._settings.log_prefix, block)),
                )
            case Action.PASS if not block.tier:
                # A profile has no tier to leave: the next profile follows.
                return (RETURN,)
            case Action.PASS:
                mark = self._settings.pass_mark
                return (SetMark(mark, mark), RETURN)

    def _use_own_sets(self, place: tuple[ResourceKey, Direction], own: Iterable[OwnSet]) -> None:
        before = self._own_sets.pop(place, set())
        after = {each.name: each for each in own}
        for name, each in after.items():
            if name in before:
                continue
            users = self._own_set_users.get(name, 0)
            self._own_set_users[name] = users + 1
            if not users:
                self._writer.add_set(name, each.kind, each.contents())
        for name in before - after.keys():
            self._own_set_users[name] -= 1
            if not self._own_set_users[name]:
                del self._own_set_users[name]
                self._writer.remove_set(name)
        if after:
            self._own_sets[place] = set(after)


def denial(settings: RenderSettings) -> tuple[Expression, ...]:
    """Return the statements that deny a packet."""
    return (Counter(), DROP if settings.deny_action is DenyAction.DROP else Reject())


def log_limit(settings: RenderSettings) -> tuple[Expression, ...]:
    """Return what keeps each Log rule from logging too much."""
    if settings.log_rate is None:
        return ()
    count, seconds = settings.log_rate
    return (Limit(count, seconds, settings.log_burst),)


def log_prefix(template: str, block: RuleBlock) -> str:
    """Return the log prefix of a policy's rules, with what ``%t %k %n %p`` stand for."""
    kind = names.SHORT_KINDS.get(block.key.kind, block.key.kind)
    text = (
        template.replace("%t", block.tier)
        .replace("%k", kind)
        .replace("%n", block.key.name)
        .replace("%p", names.block_id(block.key))
    )
    return f"{text}: "[-_MAX_LOG_PREFIX:]


def _passes(block: RuleBlock, direction: Direction) -> bool:
    return bool(block.tier) and any(r.action is Action.PASS for r in block.rules(direction))
