"""Takes changes of security groups and address groups to etcd, within the request.

The core plugin is Neutron's own ML2, which tells mechanism drivers nothing about security
groups; these changes are announced by callbacks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from neutron_lib.callbacks import events, registry, resources

from calico_openstack.neutron import reading
from calico_openstack.neutron.failures import left_to_resync
from calico_openstack.neutron.sync import Synchroniser
from calico_openstack.neutron.transaction import after_commit

_REFERRING = "calico_referring_groups"


class GroupNotifications:
    """Subscribes to Neutron's callbacks; ``synchroniser`` is asked for when it is needed."""

    def __init__(self, synchroniser: Callable[[], Synchroniser]) -> None:
        self._synchroniser = synchroniser

    def subscribe(self) -> None:
        """Subscribe; once in each process."""
        group, rule = resources.SECURITY_GROUP, resources.SECURITY_GROUP_RULE
        for handler, resource, event in (
            (self._group_created, group, events.AFTER_CREATE),
            (self._group_updated, group, events.AFTER_UPDATE),
            (self._group_going, group, events.PRECOMMIT_DELETE),
            (self._group_deleted, group, events.AFTER_DELETE),
            (self._rule_created, rule, events.AFTER_CREATE),
            (self._rule_deleted, rule, events.AFTER_DELETE),
            (self._addresses_changed, resources.ADDRESS_GROUP, events.AFTER_UPDATE),
        ):
            registry.subscribe(handler, resource, event)

    def _group_created(self, _resource: str, _event: str, _trigger: object, payload: Any) -> None:
        self._sync(payload, {payload.resource_id})

    def _group_updated(self, _resource: str, _event: str, _trigger: object, payload: Any) -> None:
        """A group's name stands in its members' labels."""
        before, after = payload.states[0], payload.states[-1]
        self._sync(payload, {payload.resource_id})
        if before.get("name") != after.get("name"):
            self._sync_members(payload)

    def _group_going(self, _resource: str, _event: str, _trigger: object, payload: Any) -> None:
        """Deleting a group also deletes other groups' rules that name it, without a word."""
        session = payload.context.session
        referring = reading.groups_with_remote_group(session, payload.resource_id)
        session.info.setdefault(_REFERRING, {})[payload.resource_id] = referring

    def _group_deleted(self, _resource: str, _event: str, _trigger: object, payload: Any) -> None:
        stored = payload.context.session.info.get(_REFERRING, {})
        self._sync(payload, {payload.resource_id, *stored.pop(payload.resource_id, ())})

    def _rule_created(self, _resource: str, _event: str, _trigger: object, payload: Any) -> None:
        self._sync(payload, {payload.latest_state["security_group_id"]})

    def _rule_deleted(self, _resource: str, _event: str, _trigger: object, payload: Any) -> None:
        self._sync(payload, {payload.metadata["security_group_id"]})

    def _addresses_changed(
        self, _resource: str, _event: str, _trigger: object, payload: Any
    ) -> None:
        def sync() -> None:
            with left_to_resync(f"address group {payload.resource_id}"):
                groups = reading.groups_with_address_group(payload.resource_id)
                self._synchroniser().sync_groups(groups)

        after_commit(payload.context, sync)

    def _sync(self, payload: Any, ids: Collection[str]) -> None:
        def sync() -> None:
            with left_to_resync(f"security groups {', '.join(sorted(ids))}"):
                self._synchroniser().sync_groups(ids)

        after_commit(payload.context, sync)

    def _sync_members(self, payload: Any) -> None:
        def sync() -> None:
            with left_to_resync(f"members of security group {payload.resource_id}"):
                self._synchroniser().sync_ports(reading.ports_of_group(payload.resource_id))

        after_commit(payload.context, sync)
