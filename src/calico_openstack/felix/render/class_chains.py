"""The chains that lead packets through an endpoint's tiers and profiles.

Endpoints with the same policy form a class and share its chain. A class chain holds one tier: it
jumps to the chains of the tier's policies, one after the other, which decide or return. A Pass rule
marks the packet before it returns; the class chain then goes on to the chain of the next tier, as
it does at the end of a tier that passes by default. A policy that lets everything out is not jumped
to: its answer is given in its place. A chain is the same for all classes that have
the same tiers and profiles from there on. Staged policies have their place in the order; a tier
with nothing else decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct

from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.felix.render import names
from calico_openstack.felix.render.nft import (
    Chain,
    MarkBits,
    Rule,
    SetMark,
    Verdict,
    VerdictKind,
)
from calico_openstack.felix.render.policy_chains import PolicyChains, Shape, denial
from calico_openstack.felix.render.settings import RenderSettings
from calico_openstack.felix.render.tables import TableWriter
from calico_openstack.felix.render.ways import STAGED, Form, Way
from calico_openstack.policy.rules import Action, EndpointPolicy, is_staged


class _Tier(Struct, frozen=True):
    name: str
    default: Action
    policies: tuple[ResourceKey, ...]


_Content = tuple[str, tuple[_Tier, ...], tuple[ResourceKey, ...]]


class _Section(Struct, frozen=True):
    """What decides on a way from a tier on: the tiers that have policies, the profiles."""

    way: Way
    tiers: tuple[_Tier, ...]
    profiles: tuple[ResourceKey, ...]

    @property
    def content(self) -> _Content:
        """What tells one section from another."""
        return self.way.name, self.tiers, self.profiles

    @property
    def here(self) -> tuple[ResourceKey, ...]:
        """The policies or profiles that the section's own chain jumps to."""
        return self.tiers[0].policies if self.tiers else self.profiles

    @property
    def following(self) -> _Section:
        """What comes after the first tier."""
        return _Section(self.way, self.tiers[1:], self.profiles)

    @property
    def falls_through(self) -> bool:
        """Whether what the first tier's policies leave undecided goes on to what follows."""
        if not self.tiers:
            return False
        return self.tiers[0].default is Action.PASS or all(map(is_staged, self.here))

    def form(self, key: ResourceKey) -> Form:
        """Return how a policy or profile answers here."""
        return STAGED[self.way.direction] if is_staged(key) else self.way.form


class _Use(Struct):
    """A chain in use: how often, what it renders, and which chain it goes on to."""

    section: _Section
    users: int = 0
    next: str = ""


class ClassChains:
    """The class chains of one IP version's table, which use *policies*' chains."""

    def __init__(
        self, writer: TableWriter, settings: RenderSettings, policies: PolicyChains
    ) -> None:
        self._writer = writer
        self._settings = settings
        self._policies = policies
        self._uses: dict[str, _Use] = {}
        # A name is a hash over a long text, and a new endpoint's chain mostly has one already.
        self._names: dict[_Content, str] = {}
        self._by_block: dict[ResourceKey, set[str]] = {}

    def use(self, way: Way, policy: EndpointPolicy) -> str:
        """Have the chain of a class for one more endpoint; return its name."""
        return self._use(_section(way, policy))

    def release(self, name: str) -> None:
        """Take one endpoint off a chain; one without any is removed."""
        use = self._uses[name]
        use.users -= 1
        if use.users:
            return
        del self._uses[name]
        del self._names[use.section.content]
        self._writer.remove_chain(name)
        for key in use.section.here:
            self._by_block[key].discard(name)
            if not self._by_block[key]:
                del self._by_block[key]
            self._policies.release(key, use.section.form(key))
        if use.next:
            self.release(use.next)

    def refresh(self, blocks: Iterable[ResourceKey]) -> None:
        """Write the chains again that lead to policy chains whose shape changed."""
        for name in {name for key in blocks for name in self._by_block.get(key, ())}:
            # A chain that an earlier one stopped leading to may be gone by now.
            if name in self._uses:
                self._write(name, self._uses[name])

    def _use(self, section: _Section) -> str:
        name = self._names.get(section.content)
        if name is None:
            name = self._names[section.content] = names.class_chain(section.way.name, section)
        use = self._uses.get(name)
        if use is None:
            use = self._uses[name] = _Use(section)
            for key in section.here:
                self._by_block.setdefault(key, set()).add(name)
                self._policies.use(key, section.form(key))
            self._write(name, use)
        use.users += 1
        return name

    def _write(self, name: str, use: _Use) -> None:
        section, before = use.section, use.next
        shapes = {key: self._policies.shape(key, section.form(key)) for key in section.here}
        passes = bool(section.tiers) and any(shape.passes for shape in shapes.values())
        goes_on = passes or section.falls_through
        use.next = self._use(section.following) if goes_on else ""
        self._writer.put_chain(name, Chain(tuple(self._rules(section, shapes, use.next))))
        if before:
            self.release(before)

    def _rules(
        self, section: _Section, shapes: Mapping[ResourceKey, Shape], following: str
    ) -> list[Rule]:
        passed, accepted = self._settings.pass_mark, self._settings.accept_mark
        go_on = Verdict(VerdictKind.GOTO, following)
        rules = []
        marks = 0
        if any(shape.passes for shape in shapes.values()):
            marks |= passed
        if any(shape.exists and section.form(key).marks for key, shape in shapes.items()):
            marks |= accepted
        if marks:
            # They may have been left by another tier, or by somebody else.
            rules.append(Rule((SetMark(marks, 0),)))
        for key, shape in shapes.items():
            form = section.form(key)
            if shape.allows_all:
                comment = names.comment(f"{names.block_id(key)} lets everything out")
                rules.append(Rule((form.allowed,), comment))
            if shape.exists:
                chain = names.block_chain(key, form.name)
                rules.append(Rule((Verdict(VerdictKind.JUMP, chain),)))
                if form.marks:
                    # Nobody else is to find the mark.
                    unmark = SetMark(accepted, 0)
                    rules.append(Rule((MarkBits(accepted, accepted), unmark, form.allowed)))
            if shape.passes:
                rules.append(Rule((MarkBits(passed, passed), go_on)))
        denied = denial(self._settings, section.way.form)
        if section.falls_through:
            rules.append(Rule((go_on,)))
        elif section.tiers:
            rules.append(Rule(denied, names.comment(f"end of tier {section.tiers[0].name}")))
        elif section.way.undecided:
            rules.append(Rule((section.way.undecided,)))
        else:
            rules.append(Rule(denied, "no policy or profile decided"))
        return rules


def _section(way: Way, policy: EndpointPolicy) -> _Section:
    return _Section(
        way,
        tuple(
            _Tier(tier.name, tier.default, policies)
            for tier in policy.tiers
            if (policies := tier.policies(way.direction))
        ),
        policy.profiles,
    )
