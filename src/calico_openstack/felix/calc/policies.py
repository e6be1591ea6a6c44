"""Which policies apply to the endpoints of this host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

from calico_openstack.datamodel.deferred import DeferredPolicy
from calico_openstack.datamodel.invalid import Invalid, as_far_as_read
from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.policies import GlobalNetworkPolicy, NetworkPolicy, TierSpec
from calico_openstack.datamodel.resource import Resource
from calico_openstack.datamodel.selector import Selector, SelectorError
from calico_openstack.felix.calc.groups import Group
from calico_openstack.felix.calc.label_index import LabelIndex
from calico_openstack.felix.calc.selector_index import SelectorIndex
from calico_openstack.felix.calc.waiting import WaitingPolicies
from calico_openstack.policy import conversion
from calico_openstack.policy.conversion import Policy
from calico_openstack.policy.ordering import Placement
from calico_openstack.policy.rules import RuleBlock, is_staged


class _Stored(Struct, frozen=True):
    """A policy as far as it is needed while it applies to nothing here."""

    policy: Policy
    valid: bool
    selector: Selector
    placement: Placement


class PolicyTable:
    """All policies of the cluster, and the ones that match each group of local endpoints.

    A deferred policy waits until a local group has its label, and is read then.

    ``dirty_groups`` are local groups whose policies, or their order, may have changed;
    ``dirty_blocks`` policies whose rules may have. The owner clears both. ``needed_everywhere`` are
    the policies whose rules are to be ready whether they match a local group or not.
    """

    def __init__(self) -> None:
        self.dirty_groups: set[int] = set()
        self.dirty_blocks: set[ResourceKey] = set()
        self.needed_everywhere: set[ResourceKey] = set()
        self._stored: dict[ResourceKey, _Stored] = {}
        self._waiting = WaitingPolicies()
        self._index: SelectorIndex[ResourceKey] = SelectorIndex()
        # The labels under which a group is entered: its own may have changed since.
        self._local: dict[int, Mapping[str, str]] = {}
        self._labels: LabelIndex[int] = LabelIndex()
        self._matched: dict[int, set[ResourceKey]] = {}
        self._matching: dict[ResourceKey, set[int]] = {}
        self._tiers: dict[str, TierSpec] = {}

    def update_policy(
        self, key: ResourceKey, value: Resource | Invalid | DeferredPolicy | None
    ) -> None:
        """Take up the present value of a policy."""
        self._waiting.discard(key)
        if isinstance(value, DeferredPolicy):
            if value.label not in self._labels:
                if key in self._stored:
                    self._remove(key)
                self._waiting.add(key, value)
                return
            value = value.whole()
        self._store(key, _stored(key, value))

    def _remove(self, key: ResourceKey) -> None:
        self._stored.pop(key, None)
        self.needed_everywhere.discard(key)
        self._index.discard(key)
        self._match(key, set())

    def _store(self, key: ResourceKey, stored: _Stored | None) -> None:
        if stored is None:
            self._remove(key)
            return
        old = self._stored.get(key)
        if old == stored:
            return
        self._stored[key] = stored
        self.dirty_blocks.add(key)
        if stored.valid and conversion.is_needed_everywhere(stored.policy):
            self.needed_everywhere.add(key)
        else:
            self.needed_everywhere.discard(key)
        if old is None or old.selector != stored.selector:
            self._index.add(key, stored.selector)
            self._match(key, self._groups_of(stored.selector))
        if old is None or old.placement != stored.placement:
            self.dirty_groups |= self._matching.get(key, set())

    def update_tier(self, name: str, spec: TierSpec | None) -> None:
        """Take up the present value of a tier; None: it does not exist."""
        if self._tiers.get(name) == spec:
            return
        if spec is None:
            del self._tiers[name]
        else:
            self._tiers[name] = spec
        for key, groups in self._matching.items():
            if self._stored[key].placement.tier == name:
                self.dirty_groups |= groups

    def add_group(self, group: Group) -> None:
        """Begin to watch a group because it has local endpoints, or look at its labels again."""
        self._forget_labels(group.id)
        for key, policy in self._waiting.take(group.labels):
            self._store(key, _stored(key, policy.whole()))
        self._local[group.id] = group.labels
        self._labels.add(group.id, group.labels)
        found = set(self._index.matching(group.labels))
        old = self._matched.get(group.id, set())
        self.dirty_groups.add(group.id)
        self._matched[group.id] = found
        for key in found - old:
            self._matching.setdefault(key, set()).add(group.id)
        for key in old - found:
            self._unmatch(key, group.id)

    def remove_group(self, number: int) -> None:
        """Stop watching a group: its last local endpoint has gone."""
        self._forget_labels(number)
        for key in self._matched.pop(number):
            self._unmatch(key, number)
        self.dirty_groups.discard(number)

    def placements_of(self, group: Group) -> Iterator[Placement]:
        """Yield where the policies stand that match a local group."""
        for key in self._matched[group.id]:
            yield self._stored[key].placement

    def block(self, key: ResourceKey) -> RuleBlock:
        """Return the rules of a policy; those of an invalid one deny in its directions."""
        stored = self._stored[key]
        if stored.valid:
            return conversion.policy_block(key, stored.policy)
        return conversion.denial(key, stored.policy)

    @property
    def tiers(self) -> Mapping[str, TierSpec]:
        """The tiers that exist."""
        return self._tiers

    def _groups_of(self, selector: Selector) -> set[int]:
        local = self._local
        return {n for n in self._labels.candidates(selector) if selector.matches(local[n])}

    def _forget_labels(self, number: int) -> None:
        labels = self._local.pop(number, None)
        if labels is not None:
            self._labels.remove(number, labels)

    def _match(self, key: ResourceKey, groups: set[int]) -> None:
        """Record which local groups a policy matches now."""
        old = self._matching.get(key, set())
        self.dirty_groups |= old ^ groups
        for number in old - groups:
            self._matched[number].discard(key)
        for number in groups - old:
            self._matched[number].add(key)
        if groups:
            self._matching[key] = groups
        else:
            self._matching.pop(key, None)

    def _unmatch(self, key: ResourceKey, number: int) -> None:
        groups = self._matching[key]
        groups.discard(number)
        if not groups:
            del self._matching[key]


def _stored(key: ResourceKey, value: Resource | Invalid | None) -> _Stored | None:
    """Return what to keep of a policy, None if there is none.

    An invalid policy still applies to what it selects, to deny it; a staged one would do nothing.
    If not even its selector can be told, nothing can be denied on its behalf.
    """
    valid = not isinstance(value, Invalid)
    policy = as_far_as_read(value)
    if not isinstance(policy, NetworkPolicy | GlobalNetworkPolicy):
        return None
    if not conversion.counts(policy) or (is_staged(key) and not valid):
        return None
    try:
        selector = conversion.endpoint_selector(key, policy)
    except SelectorError:
        return None
    return _Stored(policy, valid, selector, conversion.placement(key, policy))
