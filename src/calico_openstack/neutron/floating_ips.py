"""Records changes of floating IPs, and says whether they are in force.

A floating IP is a part of the endpoint of the port that it leads to. Hence every change is
about one port or, where it moves, two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from neutron_lib import constants
from neutron_lib.callbacks import events, registry, resources

from calico_openstack.neutron import reading
from calico_openstack.neutron.changes import Change, Kind
from calico_openstack.neutron.failures import without_etcd
from calico_openstack.neutron.journal import Journal
from calico_openstack.neutron.provisioning import is_translated
from calico_openstack.neutron.status_database import floating_ips, set_floating_ip_status
from calico_openstack.neutron.sync import Synchroniser
from calico_openstack.neutron.transaction import after_commit


class FloatingIpNotifications:
    """Subscribes to Neutron's callbacks; ``synchroniser`` is asked for when it is needed."""

    def __init__(self, journal: Journal, synchroniser: Callable[[], Synchroniser]) -> None:
        self._journal = journal
        self._synchroniser = synchroniser

    def subscribe(self) -> None:
        """Subscribe; once in each process."""
        for handler, when in (
            (self._created, events.PRECOMMIT_CREATE),
            (self._updated, events.PRECOMMIT_UPDATE),
            (self._deleted, events.PRECOMMIT_DELETE),
            (self._announced, events.AFTER_CREATE),
            (self._announced, events.AFTER_UPDATE),
        ):
            registry.subscribe(handler, resources.FLOATING_IP, when)

    def _created(self, _resource: str, _event: str, _trigger: object, payload: Any) -> None:
        self._record(payload, payload.desired_state.fixed_port_id)

    def _updated(self, _resource: str, _event: str, _trigger: object, payload: Any) -> None:
        before = payload.states[0].get("port_id")
        self._record(payload, before, payload.desired_state.fixed_port_id)

    def _deleted(self, _resource: str, _event: str, _trigger: object, payload: Any) -> None:
        """The floating IP vanishes with its own port, which is what is deleted."""
        port_id = payload.latest_state["id"]
        self._record(payload, *reading.floating_ip_targets(payload.context.session, port_id))

    def _record(self, payload: Any, *port_ids: str | None) -> None:
        changes = {Change(Kind.PORT, port_id) for port_id in port_ids if port_id}
        self._journal.record(payload.context.session, changes)

    def _announced(self, _resource: str, _event: str, _trigger: object, payload: Any) -> None:
        """Set the status; the last state is what the request answers with."""
        floating_ip_id, answer = payload.resource_id, payload.states[-1]

        def set_status() -> None:
            with without_etcd(f"floating IP {floating_ip_id}"):
                answer["status"] = self._status(floating_ip_id) or answer["status"]

        after_commit(payload.context.session, set_status)

    def _status(self, floating_ip_id: str) -> str | None:
        for floating in floating_ips([floating_ip_id]):
            port_id, address = floating.port_id, floating.address
            up = port_id and is_translated(self._synchroniser(), port_id, address)
            status = str(
                constants.FLOATINGIP_STATUS_ACTIVE if up else constants.FLOATINGIP_STATUS_DOWN
            )
            if floating.status != status:
                set_floating_ip_status(floating.id, status)
            return status
        return None
