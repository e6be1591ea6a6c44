"""The chains that lead packets through an endpoint's tiers and profiles.

Endpoints with the same policy form a class and share its chain. A class chain holds one tier: it
jumps to the chains of the tier's policies, one after the other, which decide or return. A Pass rule
marks the packet before it returns; the class chain then goes on to the chain of the next tier, as
it does at the end of a tier that passes by default. A chain is the same for all classes that have
the same tiers and profiles from there on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

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
from calico_openstack.felix.render.policy_chains import Shape, denial
from calico_openstack.felix.render.settings import RenderSettings
from calico_openstack.felix.render.tables import TableWriter
from calico_openstack.policy.packet import Direction
from calico_openstack.policy.rules import Action, EndpointPolicy


@dataclass(frozen=True, slots=True)
class _Tier:
    name: str
    default: Action
    policies: tuple[ResourceKey, ...]


@dataclass(frozen=True, slots=True)
class _Section:
    """What decides in one direction from a tier on: the tiers that have policies, the profiles."""

    direction: Direction
    tiers: tuple[_Tier, ...]
    profiles: tuple[ResourceKey, ...]

    @property
    def here(self) -> tuple[ResourceKey, ...]:
        """The policies or profiles that the section's own chain jumps to."""
        return self.tiers[0].policies if self.tiers else self.profiles

    @property
    def following(self) -> _Section:
        """What comes after the first tier."""
        return _Section(self.direction, self.tiers[1:], self.profiles)


@dataclass(slots=True)
class _Use:
    """A chain in use: how often, what it renders, and which chain it goes on to."""

    section: _Section
    users: int = 0
    next: str = ""


class ClassChains:
    """The class chains of one IP version's table. *shape* tells the shape of a policy's chain."""

    def __init__(
        self,
        writer: TableWriter,
        settings: RenderSettings,
        shape: Callable[[ResourceKey, Direction], Shape],
    ) -> None:
        self._writer = writer
        self._settings = settings
        self._shape = shape
        self._uses: dict[str, _Use] = {}
        self._by_block: dict[ResourceKey, set[str]] = {}

    def use(self, policy: EndpointPolicy, direction: Direction) -> str:
        """Have the chain of a class for one more endpoint; return its name."""
        return self._use(_section(policy, direction))

    def release(self, name: str) -> None:
        """Take one endpoint off a chain; one without any is removed."""
        use = self._uses[name]
        use.users -= 1
        if use.users:
            return
        del self._uses[name]
        self._writer.remove_chain(name)
        for key in use.section.here:
            self._by_block[key].discard(name)
            if not self._by_block[key]:
                del self._by_block[key]
        if use.next:
            self.release(use.next)

    def refresh(self, blocks: Iterable[ResourceKey]) -> None:
        """Write the chains again that lead to policy chains whose shape changed."""
        for name in {name for key in blocks for name in self._by_block.get(key, ())}:
            # A chain that an earlier one stopped leading to may be gone by now.
            if name in self._uses:
                self._write(name, self._uses[name])

    def _use(self, section: _Section) -> str:
        name = names.class_chain(section.direction, section)
        use = self._uses.get(name)
        if use is None:
            use = self._uses[name] = _Use(section)
            for key in section.here:
                self._by_block.setdefault(key, set()).add(name)
            self._write(name, use)
        use.users += 1
        return name

    def _write(self, name: str, use: _Use) -> None:
        section, before = use.section, use.next
        passes = [self._shape(key, section.direction).passes for key in section.here]
        goes_on = bool(section.tiers) and (any(passes) or section.tiers[0].default is Action.PASS)
        use.next = self._use(section.following) if goes_on else ""
        self._writer.put_chain(name, Chain(tuple(self._rules(section, use.next))))
        if before:
            self.release(before)

    def _rules(self, section: _Section, following: str) -> list[Rule]:
        mark = self._settings.pass_mark
        go_on = Verdict(VerdictKind.GOTO, following)
        shapes = {key: self._shape(key, section.direction) for key in section.here}
        rules = []
        if any(shape.passes for shape in shapes.values()):
            # The mark may have been left by another tier, or by somebody else.
            rules.append(Rule((SetMark(mark, 0),)))
        for key, shape in shapes.items():
            if shape.exists:
                chain = names.block_chain(key, section.direction)
                rules.append(Rule((Verdict(VerdictKind.JUMP, chain),)))
            if shape.passes:
                rules.append(Rule((MarkBits(mark, mark), go_on)))
        if not section.tiers:
            rules.append(Rule(denial(self._settings), "no policy or profile decided"))
        elif section.tiers[0].default is Action.PASS:
            rules.append(Rule((go_on,)))
        else:
            comment = names.comment(f"end of tier {section.tiers[0].name}")
            rules.append(Rule(denial(self._settings), comment))
        return rules


def _section(policy: EndpointPolicy, direction: Direction) -> _Section:
    return _Section(
        direction,
        tuple(
            _Tier(tier.name, tier.default, policies)
            for tier in policy.tiers
            if (policies := tier.enforced(direction))
        ),
        policy.profiles,
    )
