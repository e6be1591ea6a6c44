"""Everything in the cluster that selectors can choose, grouped by what selectors can tell apart.

A hundred thousand endpoints have only a few thousand distinct combinations of labels. Selectors
are matched against those combinations, and addresses hang off them, so that an endpoint costs a
dictionary entry and a new selector costs a look at the combinations, not at the endpoints.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from sys import intern

from msgspec import Struct

from calico_openstack.datamodel.selector import Selector
from calico_openstack.felix.calc.ipsets import EndpointPort, IPSet, Member
from calico_openstack.felix.calc.label_index import LabelIndex
from calico_openstack.felix.calc.selector_index import SelectorIndex
from calico_openstack.policy.conversion import INHERITED_PREFIXES
from calico_openstack.policy.rules import NamedPort

_Identity = tuple[tuple[str, ...], tuple[str, ...], tuple[EndpointPort, ...]]


class Group:
    """Endpoints and network sets with the same own labels, profiles and named ports.

    ``labels`` are the effective ones, with what the profiles apply (specification section 2.6).
    ``holders`` counts the objects in the group, ``members`` how many of them have each address.
    """

    __slots__ = ("holders", "id", "identity", "labels", "members", "sets")

    def __init__(self, number: int, identity: _Identity, labels: dict[str, str]) -> None:
        self.id = number
        self.identity = identity
        self.labels = labels
        self.holders = 0
        self.members: dict[Member, int] = {}
        self.sets: dict[str, IPSet] = {}

    @property
    def profiles(self) -> tuple[str, ...]:
        """Names of the profiles, in order."""
        return self.identity[1]

    @property
    def ports(self) -> tuple[EndpointPort, ...]:
        """The named ports that each holder has."""
        return self.identity[2]


class IndexFigures(Struct, frozen=True):
    """What the index has and did, for the metrics.

    *indexed* selectors in use are looked at only where a label is that they require, *scanned* ones
    always. *matched* and *unmatched*: how often a selector was tried, with which result.
    *by_label*, *all_groups*, *nothing*: how often the groups for a new selector were found under a
    label, were all tried, or could not be any.
    """

    indexed: int = 0
    scanned: int = 0
    matched: int = 0
    unmatched: int = 0
    by_label: int = 0
    all_groups: int = 0
    nothing: int = 0


class GroupIndex:
    """All groups, and the sets in use that are kept in step with them.

    Own labels that come in another order make another group: that costs memory, not correctness,
    and saves sorting them for every endpoint.
    """

    def __init__(self) -> None:
        self.by_id: dict[int, Group] = {}
        self.sets: dict[str, IPSet] = {}
        self.changed_sets: dict[str, IPSet] = {}
        self._by_identity: dict[_Identity, Group] = {}
        self._labels: LabelIndex[int] = LabelIndex()
        self._by_profile: dict[str, dict[int, None]] = {}
        self._profile_labels: dict[str, Mapping[str, str]] = {}
        self._selectors: SelectorIndex[str] = SelectorIndex()
        self._next_id = 0
        self._by_label = self._all_groups = self._nothing = 0

    def figures(self) -> IndexFigures:
        """Return what the index has and did; may be asked by any thread."""
        tried = self._selectors.tried
        return IndexFigures(
            *self._selectors.count(),
            tried[True],
            tried[False],
            self._by_label,
            self._all_groups,
            self._nothing,
        )

    def group(
        self,
        labels: Mapping[str, str],
        profiles: tuple[str, ...] = (),
        ports: tuple[EndpointPort, ...] = (),
    ) -> Group:
        """Return the group of such objects, a new and empty one if there is none."""
        texts = tuple(map(intern, (*labels, *labels.values())))
        return self.group_of_texts(texts, profiles, ports)

    def group_of_texts(
        self,
        texts: tuple[str, ...],
        profiles: tuple[str, ...] = (),
        ports: tuple[EndpointPort, ...] = (),
    ) -> Group:
        """Do what `group` does, given all names and then all values of the labels, interned."""
        identity = (texts, profiles, ports)
        found = self._by_identity.get(identity)
        return found if found is not None else self._create(*identity)

    def join(self, group: Group, members: Iterable[Member]) -> None:
        """Count in one object of *group* with these addresses."""
        group.holders += 1
        counts = group.members
        for member in members:
            count = counts.get(member, 0)
            counts[member] = count + 1
            if not count and group.sets:
                for ipset in group.sets.values():
                    ipset.add(member, group.ports)
                    self.changed_sets[ipset.uid] = ipset

    def leave(self, group: Group, members: Iterable[Member]) -> None:
        """Take out an object that had joined with these addresses; an empty group vanishes."""
        group.holders -= 1
        for member in members:
            count = group.members[member] - 1
            if count:
                group.members[member] = count
                continue
            del group.members[member]
            for ipset in group.sets.values():
                ipset.remove(member, group.ports)
                self.changed_sets[ipset.uid] = ipset
        if not group.holders:
            self._remove(group)

    def use_set(self, selector: Selector, named: NamedPort | None = None) -> IPSet:
        """Begin to keep the members of a selector or named port; return the set, filled."""
        ipset = IPSet(selector, named)
        self.sets[ipset.uid] = ipset
        self.changed_sets[ipset.uid] = ipset
        self._selectors.add(ipset.uid, selector)
        candidates, tried = self._labels.candidates(selector), self._selectors.tried
        if not selector.required:
            self._all_groups += 1
        elif candidates:
            self._by_label += 1
        else:
            self._nothing += 1
        for number in candidates:
            group = self.by_id[number]
            matches = selector.matches(group.labels)
            tried[matches] += 1
            if matches:
                self._connect(group, ipset)
        return ipset

    def drop_set(self, uid: str) -> None:
        """Stop keeping a set."""
        ipset = self.sets.pop(uid)
        self.changed_sets.pop(uid, None)
        self._selectors.discard(uid)
        for number in self._labels.candidates(ipset.selector):
            self.by_id[number].sets.pop(uid, None)

    def set_profile_labels(self, profile: str, labels: Mapping[str, str]) -> tuple[Group, ...]:
        """Take up what a profile applies to those who list it; return the changed groups."""
        if labels:
            self._profile_labels[profile] = labels
        else:
            self._profile_labels.pop(profile, None)
        changed = []
        for number in self._by_profile.get(profile, ()):
            group = self.by_id[number]
            effective = self._effective(group.identity)
            if effective != group.labels:
                self._relabel(group, effective)
                changed.append(group)
        return tuple(changed)

    # --- groups -------------------------------------------------------------------------------

    def _create(
        self,
        texts: tuple[str, ...],
        profiles: tuple[str, ...],
        ports: tuple[EndpointPort, ...],
    ) -> Group:
        identity = (texts, tuple(map(intern, profiles)), ports)
        group = Group(self._next_id, identity, self._effective(identity))
        self._next_id += 1
        self.by_id[group.id] = group
        self._by_identity[identity] = group
        for profile in set(profiles):
            self._by_profile.setdefault(profile, {})[group.id] = None
        self._file(group)
        return group

    def _remove(self, group: Group) -> None:
        self._labels.remove(group.id, group.labels)
        del self.by_id[group.id]
        del self._by_identity[group.identity]
        for profile in set(group.profiles):
            filed = self._by_profile[profile]
            del filed[group.id]
            if not filed:
                del self._by_profile[profile]

    def _effective(self, identity: _Identity) -> dict[str, str]:
        texts, profiles, _ports = identity
        half = len(texts) // 2
        labels = dict(zip(texts[:half], texts[half:], strict=True))
        for label in [label for label in labels if label.startswith(INHERITED_PREFIXES)]:
            del labels[label]
        for profile in profiles:
            for label, value in self._profile_labels.get(profile, {}).items():
                labels.setdefault(label, value)
        return labels

    def _file(self, group: Group) -> None:
        """Enter the group under its labels and connect it to the sets that match it."""
        self._labels.add(group.id, group.labels)
        for uid in self._selectors.matching(group.labels):
            self._connect(group, self.sets[uid])

    def _relabel(self, group: Group, labels: dict[str, str]) -> None:
        """Move a group to other labels; sets that match before and after see no change."""
        before = group.sets
        group.sets = {}
        self._labels.remove(group.id, group.labels)
        group.labels = labels
        self._file(group)
        for ipset in before.values():
            self._disconnect(group, ipset)

    # --- groups and sets ----------------------------------------------------------------------

    def _connect(self, group: Group, ipset: IPSet) -> None:
        group.sets[ipset.uid] = ipset
        for member in group.members:
            ipset.add(member, group.ports)
        if group.members:
            self.changed_sets[ipset.uid] = ipset

    def _disconnect(self, group: Group, ipset: IPSet) -> None:
        for member in group.members:
            ipset.remove(member, group.ports)
        if group.members:
            self.changed_sets[ipset.uid] = ipset
