"""How to change a table from what it is to what it should be. Pure.

Compares names only where something may differ, so that a change costs in proportion to itself. The
order of the requests is the transaction's business, see `nft_transaction`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

from msgspec import Struct, field

from calico_openstack.felix.kernel import nft_constants as nft
from calico_openstack.felix.kernel import nft_interfaces, nft_messages, nft_sets
from calico_openstack.felix.kernel.nft_closed import closed_chain
from calico_openstack.felix.kernel.nft_constants import ElementListAttribute, NftMessage
from calico_openstack.felix.kernel.nft_dump import ChainImage, TableImage
from calico_openstack.felix.kernel.nft_transaction import (
    ElementChange,
    ObjectKind,
    ObjectName,
    Phase,
    Request,
    TablePlan,
)
from calico_openstack.felix.render.dataplane import TableDelta
from calico_openstack.felix.render.nft import (
    Chain,
    Element,
    ElementValue,
    Set,
    Table,
    TableState,
)
from calico_openstack.netlink.protocol import (
    NLM_F_APPEND,
    NLM_F_CREATE,
    attribute_string,
    nested,
)


class Exclusions(Struct):
    """Objects that the kernel refused.

    A chain in ``closed`` is programmed in its closed form, an element in it is left out; what is in
    ``untouched`` is not requested at all, because even that was refused.
    """

    closed: set[ObjectName] = field(default_factory=set)
    untouched: set[ObjectName] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.closed or self.untouched)

    def elements_of(self, table: Table, name: str) -> AbstractSet[Element]:
        """Return the elements of a set that are left out."""
        return {
            excluded.element
            for excluded in self.closed | self.untouched
            if excluded.element is not None and excluded.name == name and excluded.table == table
        }


class _ReplaceTableError(Exception):
    """The table holds something that cannot be changed in place."""


def plan_table(
    table: Table,
    desired: TableState | None,
    image: TableImage | None,
    changed: TableDelta | None,
    exclusions: Exclusions,
    *,
    indexes: Mapping[str, int] | None = None,
) -> TablePlan:
    """Return how to make *table* what is *desired*; None means that it should not be.

    *changed* names what may differ, None means everything. *indexes* are those of the interfaces
    that there are, by name.
    """
    if desired is None:
        return _plan_removal(table, image)
    if image is not None and not image.foreign:
        try:
            plan = TablePlan(table)
            return _Planner(plan, desired, image, changed, exclusions, indexes=indexes).plan()
        except _ReplaceTableError:
            pass
    return _plan_creation(table, desired, exclusions, indexes, replace=image is not None)


def _plan_removal(table: Table, image: TableImage | None) -> TablePlan:
    plan = TablePlan(table)
    if image is not None:
        subject = ObjectName(table, ObjectKind.TABLE)
        body = nft_messages.encode_table(table)
        plan.add(Phase.TABLES, Request(subject, NftMessage.DELTABLE, body))
        plan.removed = True
    return plan


def _plan_creation(
    table: Table,
    desired: TableState,
    exclusions: Exclusions,
    indexes: Mapping[str, int] | None,
    *,
    replace: bool,
) -> TablePlan:
    """Make the table from nothing, in the same transaction replacing what is there."""
    plan = _plan_removal(table, TableImage() if replace else None)
    plan.removed = False
    plan.created = True
    subject = ObjectName(table, ObjectKind.TABLE)
    body = nft_messages.encode_table(table)
    plan.add(Phase.TABLES, Request(subject, NftMessage.NEWTABLE, body, NLM_F_CREATE))
    return _Planner(plan, desired, TableImage(), None, exclusions, indexes=indexes).plan()


class _Planner:
    """Compares the content of one table; see `plan_table`."""

    def __init__(
        self,
        plan: TablePlan,
        desired: TableState,
        image: TableImage,
        changed: TableDelta | None,
        exclusions: Exclusions,
        *,
        indexes: Mapping[str, int] | None,
    ) -> None:
        self._indexes = indexes or {}
        self._table = plan.table
        self._plan = plan
        self._desired = desired
        self._image = image
        self._changed = changed
        self._exclusions = exclusions

    def plan(self) -> TablePlan:
        """Return the plan; raises _ReplaceTableError when changing in place is not possible."""
        changed = self._changed
        if changed is None:
            chains: Iterable[str] = self._desired.chains | self._image.chains
            sets: Iterable[str] = self._desired.sets | self._image.sets
            flowtables: Iterable[str] = self._desired.flowtables | self._image.flowtables
        else:
            chains, sets, flowtables = changed.chains, changed.sets, changed.flowtables
        for name in flowtables:
            self._plan_flowtable(name)
        for name in sets:
            self._plan_set(name)
        if changed is not None:
            for name, elements in changed.elements.items():
                if name in changed.sets or name not in self._desired.sets:
                    continue
                if name in self._image.sets:
                    self._plan_elements(name, elements)
                else:
                    self._plan_set(name)
        for name in chains:
            self._plan_chain(name)
        return self._plan

    def _plan_flowtable(self, name: str) -> None:
        """Have a flowtable or not; it covers no interface at first."""
        wanted = name in self._desired.flowtables
        subject = ObjectName(self._table, ObjectKind.FLOWTABLE, name)
        if subject in self._exclusions.closed or wanted == (name in self._image.flowtables):
            return
        if wanted:
            body = nft_messages.encode_flowtable(self._table, name)
            request = Request(subject, NftMessage.NEWFLOWTABLE, body, NLM_F_CREATE)
            self._plan.add(Phase.SETS, request)
        else:
            body = nft_messages.flowtable_name(self._table, name)
            request = Request(subject, NftMessage.DELFLOWTABLE, body)
            self._plan.add(Phase.DELETE_FLOWTABLES, request)
        self._plan.flowtables[name] = wanted

    # --- sets -----------------------------------------------------------------------------------

    def _plan_set(self, name: str) -> None:
        wanted, present = self._desired.sets.get(name), self._image.sets.get(name)
        subject = ObjectName(self._table, ObjectKind.SET, name)
        if subject in self._exclusions.closed or subject in self._exclusions.untouched:
            return
        if wanted is None:
            if present is not None:
                request = Request(subject, NftMessage.DELSET, self._set_name(name))
                self._plan.add(Phase.DELETE_SETS, request)
                self._plan.sets[name] = None
            return
        if present is not None and present.set != wanted:
            # Its type cannot be changed, and rules that use it forbid to delete it first.
            raise _ReplaceTableError
        if present is None:
            self._create_set(subject, wanted)
        self._plan_elements(name, None)

    def _create_set(self, subject: ObjectName, wanted: Set) -> None:
        # Identifiers only matter to refer to a set without its name, which we never do.
        set_id = len(self._plan.sets) + 1
        body = nft_sets.encode_set(self._table.name, subject.name, wanted, set_id)
        self._plan.add(Phase.SETS, Request(subject, NftMessage.NEWSET, body, NLM_F_CREATE))
        self._plan.sets[subject.name] = wanted

    def _plan_elements(self, name: str, names: Iterable[Element] | None) -> None:
        """Compare the elements *names*, None for all, of a set that is or will be there."""
        subject = ObjectName(self._table, ObjectKind.SET, name)
        present = self._image.sets.get(name)
        if present is None and name not in self._plan.sets:
            return
        have: dict[Element, ElementValue] | None = present.elements if present else {}
        change = ElementChange(flushed=have is None)
        if have is None:
            have, names = {}, None
        wanted: Mapping[Element, ElementValue] = self._desired.elements.get(name, {})
        if self._exclusions:
            wanted = self._without_excluded(name, wanted)
        by_interface = nft_interfaces.is_by_interface(self._desired.sets.get(name))
        if names is None:
            if have or by_interface:
                names = have.keys() | wanted.keys()
            else:
                change.added = dict(wanted)
                names = ()
        for element in names:
            absent = by_interface and not nft_interfaces.is_present(element, self._indexes)
            if element not in wanted or absent:
                if element in have:
                    change.removed.append(element)
            elif element not in have:
                change.added[element] = wanted[element]
            elif have[element] != wanted[element]:
                change.removed.append(element)
                change.added[element] = wanted[element]
        if change.removed or change.added or change.flushed:
            self._encode_elements(subject, self._desired.sets[name], change)

    def _without_excluded(
        self, name: str, elements: Mapping[Element, ElementValue]
    ) -> Mapping[Element, ElementValue]:
        left_out = self._exclusions.elements_of(self._table, name)
        if not left_out:
            return elements
        return {key: value for key, value in elements.items() if key not in left_out}

    def _encode_elements(self, subject: ObjectName, set_: Set, change: ElementChange) -> None:
        where = self._element_set(subject.name)
        if change.flushed:
            request = Request(subject, NftMessage.DELSETELEM, where)
            self._plan.add(Phase.REMOVE_ELEMENTS, request)
        for phase, kind, flags, elements in (
            (Phase.REMOVE_ELEMENTS, NftMessage.DELSETELEM, 0, change.removed),
            (Phase.ADD_ELEMENTS, NftMessage.NEWSETELEM, NLM_F_CREATE, change.added),
        ):
            if not elements:
                continue
            for encoded, inside in self._element_lists(subject, set_, elements):
                body = where + nested(ElementListAttribute.ELEMENTS, encoded)
                self._plan.add(phase, Request(subject, kind, body, flags, inside))
        self._plan.elements[subject.name] = change

    def _element_lists(
        self,
        subject: ObjectName,
        set_: Set,
        elements: dict[Element, ElementValue] | list[Element],
    ) -> list[tuple[bytes, list[Element]]]:
        try:
            return self._encoded(set_, elements)
        except ValueError:
            for element in list(elements):
                try:
                    self._encoded(set_, [element])
                except ValueError as error:
                    one = ObjectName(self._table, ObjectKind.ELEMENT, subject.name, element)
                    self._plan.refused[one] = str(error)
                    if isinstance(elements, dict):
                        del elements[element]
            return self._encoded(set_, elements)

    def _encoded(
        self, set_: Set, elements: dict[Element, ElementValue] | list[Element]
    ) -> list[tuple[bytes, list[Element]]]:
        if not nft_interfaces.is_by_interface(set_):
            return list(nft_sets.encode_elements(set_, elements))
        forms = {nft_interfaces.by_index(each, self._indexes): each for each in elements}
        inside: Mapping[Element, ElementValue] | list[Element] = list(forms)
        if isinstance(elements, dict):
            inside = {form: elements[element] for form, element in forms.items()}
        return [
            (encoded, [forms[form] for form in listed if isinstance(form, bytes)])
            for encoded, listed in nft_sets.encode_elements(set_, inside)
        ]

    # --- chains ---------------------------------------------------------------------------------

    def _plan_chain(self, name: str) -> None:
        wanted, present = self._desired.chains.get(name), self._image.chains.get(name)
        subject = ObjectName(self._table, ObjectKind.CHAIN, name)
        if subject in self._exclusions.untouched:
            return
        if wanted is None:
            if present is not None:
                self._delete_chain(subject, present)
            return
        hashes = wanted.rule_hashes(name)
        if subject in self._exclusions.closed:
            wanted, hashes = closed_chain(wanted)
        if present is not None and present.hook != wanted.hook:
            raise _ReplaceTableError
        if present is not None and present.hashes == hashes:
            return
        # What is there may be a beginning of what should be: then only the rest is appended.
        kept = len(present.hashes) if present else 0
        if present is not None and present.hashes != hashes[:kept]:
            self._flush_chain(subject)
            kept = 0
        try:
            rules = nft_messages.encode_rules(self._table, name, wanted, hashes, kept)
        except ValueError as error:
            self._plan.refused[subject] = str(error)
            return
        if present is None:
            self._create_chain(subject, wanted)
        for rule in rules:
            request = Request(subject, NftMessage.NEWRULE, rule, NLM_F_CREATE | NLM_F_APPEND)
            self._plan.add(Phase.RULES, request)
        self._plan.chains[name] = ChainImage(wanted.hook, hashes)

    def _create_chain(self, subject: ObjectName, wanted: Chain) -> None:
        try:
            body = nft_messages.encode_chain(self._table, subject.name, wanted.hook)
        except ValueError as error:
            self._plan.refused[subject] = str(error)
            return
        self._plan.add(Phase.CHAINS, Request(subject, NftMessage.NEWCHAIN, body, NLM_F_CREATE))

    def _flush_chain(self, subject: ObjectName) -> None:
        where = nft_messages.rules_of_chain(self._table, subject.name)
        self._plan.add(Phase.FLUSH_RULES, Request(subject, NftMessage.DELRULE, where))

    def _delete_chain(self, subject: ObjectName, present: ChainImage) -> None:
        if present.hashes:
            self._flush_chain(subject)
        where = nft_messages.chain_name(self._table, subject.name)
        self._plan.add(Phase.DELETE_CHAINS, Request(subject, NftMessage.DELCHAIN, where))
        self._plan.chains[subject.name] = None

    # --- names ----------------------------------------------------------------------------------

    def _set_name(self, name: str) -> bytes:
        return attribute_string(nft.SetAttribute.TABLE, self._table.name) + attribute_string(
            nft.SetAttribute.NAME, name
        )

    def _element_set(self, name: str) -> bytes:
        return attribute_string(ElementListAttribute.TABLE, self._table.name) + attribute_string(
            ElementListAttribute.SET, name
        )
