"""The chains with the rules of policies and profiles, one for each form that is in use.

They are shared by all endpoints, whatever else applies to these.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable
from typing import NamedTuple

from msgspec import Struct, field

from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.felix.render import names
from calico_openstack.felix.render.lookups import Merged, PairLookup, collapsed
from calico_openstack.felix.render.matches import OwnSet, render_matches, render_pairs
from calico_openstack.felix.render.nft import (
    DROP,
    RETURN,
    Chain,
    Counter,
    Expression,
    InSet,
    Limit,
    Log,
    Reject,
    Rule,
    SetMark,
)
from calico_openstack.felix.render.settings import DenyAction, RenderSettings
from calico_openstack.felix.render.tables import TableWriter
from calico_openstack.felix.render.ways import Form
from calico_openstack.policy.packet import Direction
from calico_openstack.policy.rules import Action, PolicyRule, RuleBlock

# What the kernel takes of a log prefix (NF_LOG_PREFIXLEN) in bytes, without its final zero.
_MAX_LOG_PREFIX = 127

# How many comparisons a look-up costs, beside loading each field.
_LOOK_UP = 4


class Shape(NamedTuple):
    """What the chains that lead to a policy's chain must know of it.

    *exists*: there is one. *passes*: it may set the pass mark. *allows_all*: there is none, because
    all that the policy does is to let everything out. That is how most groups are, and stay, while
    what they let in changes.
    """

    exists: bool = False
    passes: bool = False
    allows_all: bool = False


_NOTHING = Shape()


class _Written(Struct):
    """A chain in use: how often, its shape, and the sets that exist for it."""

    users: int = 0
    shape: Shape = _NOTHING
    sets: set[str] = field(default_factory=set)


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
        self._blocks: dict[ResourceKey, RuleBlock] = {}
        self._forms: dict[ResourceKey, dict[Form, _Written]] = {}
        self._own_set_users: dict[str, int] = {}

    def shape(self, key: ResourceKey, form: Form) -> Shape:
        """Return the shape of a policy's chain that is in use."""
        return self._forms[key][form].shape

    def use(self, key: ResourceKey, form: Form) -> None:
        """Have the chain of a known policy in a form for one more class."""
        forms = self._forms.setdefault(key, {})
        written = forms.get(form)
        if written is None:
            written = forms[form] = _Written()
            self._write(self._blocks[key], form, written)
        written.users += 1

    def release(self, key: ResourceKey, form: Form) -> None:
        """Take one class off a chain; one without any is removed."""
        written = self._forms[key][form]
        written.users -= 1
        if written.users:
            return
        del self._forms[key][form]
        if not self._forms[key]:
            del self._forms[key]
        self._use_own_sets(written, [])
        if written.shape.exists:
            self._writer.remove_chain(names.block_chain(key, form.name))

    def put(self, block: RuleBlock) -> bool:
        """Take up a policy's rules; tell whether the shape of a chain in use changed."""
        self._blocks[block.key] = block
        changed = False
        for form, written in self._forms.get(block.key, {}).items():
            before = written.shape
            self._write(block, form, written)
            changed |= written.shape != before
        return changed

    def remove(self, key: ResourceKey) -> None:
        """Forget a policy that no class uses."""
        self._blocks.pop(key, None)

    def _write(self, block: RuleBlock, form: Form, written: _Written) -> None:
        rules, own = self._render(block, form)
        self._use_own_sets(written, own)
        name = names.block_chain(block.key, form.name)
        allows_all = (
            form.direction is Direction.EGRESS
            and not form.counts
            and [rule.expressions for rule in rules] == [self._allowing(form)]
        )
        exists = bool(rules) and not allows_all
        if exists:
            self._writer.put_chain(name, Chain(rules))
        elif written.shape.exists:
            self._writer.remove_chain(name)
        passes = bool(rules) and not form.counts and _passes(block, form.direction)
        written.shape = Shape(exists, passes, allows_all)

    def _render(self, block: RuleBlock, form: Form) -> tuple[tuple[Rule, ...], list[OwnSet]]:
        found = None if form.counts else collapsed(block.rules(form.direction), self._version)
        if found is not None:
            return self._render_lookups(block, form, *found)
        rules: list[Rule] = []
        own: list[OwnSet] = []
        for rule in block.rules(form.direction):
            rendered = render_matches(rule, self._version, self._has_ranges)
            if rendered is None or (form.counts and rule.action is Action.LOG):
                continue
            own += rendered.sets
            statements = self._statements(rule, block, form)
            comment = names.rule_comment(block.key, form.direction, rule.index, rule.note)
            rules += [Rule((*way, *statements), comment) for way in rendered.alternatives]
        if form.counts and rules:
            rules.append(
                Rule((Counter(),), names.comment(f"{names.block_id(block.key)} undecided"))
            )
        return tuple(rules), own

    def _render_lookups(
        self, block: RuleBlock, form: Form, merged: list[Merged], pairs: list[PairLookup]
    ) -> tuple[tuple[Rule, ...], list[OwnSet]]:
        """Render rules whose order does not matter. Sets keep their names when rules change."""
        rules: list[Rule] = []
        own: list[OwnSet] = []
        owners: Tally[str] = Tally()
        lookups: list[Merged | PairLookup] = [*merged, *pairs]
        for each in lookups:
            owner = ""
            if isinstance(each, PairLookup) or len(each.indexes) > 1:
                owner = f"{names.block_id(block.key)} {form.direction.value} {each.frame}"
                owners[owner] += 1
                owner += f" {owners[owner]}"
            if isinstance(each, PairLookup):
                rendered = render_pairs(each, self._version, self._has_ranges, owner)
            else:
                rendered = render_matches(each.rule, self._version, self._has_ranges, owner)
            if rendered is None:
                continue
            own += rendered.sets
            comment = names.rule_comment(block.key, form.direction, each.indexes[0], each.rule.note)
            if owner:
                comment = names.merged_comment(block.key, form.direction, each.indexes)
            allowing = self._allowing(form)
            rules += [Rule((*way, *allowing), comment) for way in rendered.alternatives]
        # What costs least is asked first.
        return tuple(sorted(rules, key=_price)), own

    def _statements(self, rule: PolicyRule, block: RuleBlock, form: Form) -> tuple[Expression, ...]:
        if form.counts:
            return (Counter(), RETURN)
        match rule.action:
            case Action.ALLOW:
                return self._allowing(form)
            case Action.DENY:
                return denial(self._settings, form)
            case Action.LOG:
                return (
                    *log_limit(self._settings),
                    Log(log_prefix(self._settings.log_prefix, block, rule, form.direction)),
                )
            case Action.PASS if not block.tier:
                # A profile has no tier to leave: the next profile follows.
                return (RETURN,)
            case Action.PASS:
                mark = self._settings.pass_mark
                return (SetMark(mark, mark), RETURN)

    def _allowing(self, form: Form) -> tuple[Expression, ...]:
        """Return the statements that allow a packet."""
        if not form.marks:
            return (form.allowed,)
        mark = self._settings.accept_mark
        return (SetMark(mark, mark), RETURN)

    def _use_own_sets(self, written: _Written, own: Iterable[OwnSet]) -> None:
        before = written.sets
        after = {each.name: each for each in own}
        for name, each in after.items():
            if name in before:
                self._change_own_set(each)
                continue
            users = self._own_set_users.get(name, 0)
            self._own_set_users[name] = users + 1
            if users:
                self._change_own_set(each)
            else:
                self._writer.add_set(name, each.kind, each.contents())
        for name in before - after.keys():
            self._own_set_users[name] -= 1
            if not self._own_set_users[name]:
                del self._own_set_users[name]
                self._writer.remove_set(name)
        written.sets = set(after)

    def _change_own_set(self, own: OwnSet) -> None:
        wanted = own.contents()
        for element in self._writer.state.elements[own.name].keys() - wanted.keys():
            self._writer.remove_element(own.name, element)
        for element in wanted:
            self._writer.put_element(own.name, element)


def denial(settings: RenderSettings, form: Form) -> tuple[Expression, ...]:
    """Return the statements that deny a packet."""
    silently = settings.deny_action is DenyAction.DROP or not form.rejects
    return (Counter(), DROP if silently else Reject())


def log_limit(settings: RenderSettings) -> tuple[Expression, ...]:
    """Return what keeps each Log rule from logging too much."""
    if settings.log_rate is None:
        return ()
    count, seconds = settings.log_rate
    return (Limit(count, seconds, settings.log_burst),)


def log_prefix(template: str, block: RuleBlock, rule: PolicyRule, direction: Direction) -> str:
    """Return the log prefix of a policy's rule, with what ``%t %k %n %p`` stand for.

    ``%r``, which upstream does not know, stands for the rule: by its annotations or, where it has
    none, by direction and index. Annotations may hold anything; a line of the log is one line.
    """
    kind = names.SHORT_KINDS.get(block.key.kind, block.key.kind)
    text = (
        template.replace("%t", block.tier)
        .replace("%k", kind)
        .replace("%n", block.key.name)
        .replace("%p", names.block_id(block.key))
        .replace("%r", rule.note or f"{direction.value}[{rule.index}]")
    )
    shown = "".join(each if each.isprintable() else "_" for each in f"{text}: ")
    return shown.encode()[-_MAX_LOG_PREFIX:].decode(errors="ignore")


def _price(rule: Rule) -> int:
    """Return about how much it costs to ask a rule, in comparisons."""
    return sum(
        _LOOK_UP + len(each.fields) if isinstance(each, InSet) else 1 for each in rule.expressions
    )


def _passes(block: RuleBlock, direction: Direction) -> bool:
    return bool(block.tier) and any(r.action is Action.PASS for r in block.rules(direction))
