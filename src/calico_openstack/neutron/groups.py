"""Records changes of security groups and address groups.

The core plugin is Neutron's own ML2, which tells mechanism drivers nothing about security
groups; these changes are announced by callbacks within their transactions.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from neutron.db.models import address_group as address_group_models
from neutron_lib.callbacks import events, registry, resources
from sqlalchemy import event, orm

from calico_openstack.neutron import reading
from calico_openstack.neutron.changes import Change, Kind
from calico_openstack.neutron.journal import Journal


class GroupNotifications:
    """Subscribes to Neutron's callbacks."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def subscribe(self) -> None:
        """Subscribe; once in each process."""
        group, rule = resources.SECURITY_GROUP, resources.SECURITY_GROUP_RULE
        for handler, resource, when in (
            (self._group_created, group, events.PRECOMMIT_CREATE),
            (self._group_updated, group, events.PRECOMMIT_UPDATE),
            (self._group_deleted, group, events.PRECOMMIT_DELETE),
            (self._rule_created, rule, events.PRECOMMIT_CREATE),
            (self._rule_deleted, rule, events.PRECOMMIT_DELETE),
            (self._addresses_changed, resources.ADDRESS_GROUP, events.AFTER_UPDATE),
        ):
            registry.subscribe(handler, resource, when)
        for change in ("after_insert", "after_delete"):
            event.listen(address_group_models.AddressAssociation, change, self._address_changed)

    def _group_created(self, _resource: str, _event: str, _trigger: object, payload: Any) -> None:
        self._record(payload, {payload.resource_id})

    def _group_updated(self, _resource: str, _event: str, _trigger: object, payload: Any) -> None:
        """A group's name stands in its members' labels."""
        self._record(payload, {payload.resource_id})
        if payload.states[0].get("name") != payload.desired_state.get("name"):
            members = Change(Kind.GROUP_MEMBERS, payload.resource_id)
            self._journal.record(payload.context.session, {members})

    def _group_deleted(self, _resource: str, _event: str, _trigger: object, payload: Any) -> None:
        """Deleting a group also deletes other groups' rules that name it, without a word."""
        group_id = payload.resource_id
        referring = reading.groups_with_remote_group(payload.context.session, group_id)
        self._record(payload, {group_id, *referring})

    def _rule_created(self, _resource: str, _event: str, _trigger: object, payload: Any) -> None:
        self._record(payload, {payload.latest_state["security_group_id"]})

    def _rule_deleted(self, _resource: str, _event: str, _trigger: object, payload: Any) -> None:
        self._record(payload, {payload.metadata["security_group_id"]})

    def _record(self, payload: Any, group_ids: Collection[str]) -> None:
        changes = {Change(Kind.GROUP, group_id) for group_id in group_ids}
        self._journal.record(payload.context.session, changes)

    def _address_changed(self, _mapper: object, _connection: object, address: Any) -> None:
        """Neutron commits each address of a request, and announces them all at its end."""
        change = Change(Kind.ADDRESS_GROUP, address.address_group_id)
        self._journal.record(orm.object_session(address), {change}, settle=False)

    def _addresses_changed(
        self, _resource: str, _event: str, _trigger: object, payload: Any
    ) -> None:
        self._journal.settle_recorded(Change(Kind.ADDRESS_GROUP, payload.resource_id))
