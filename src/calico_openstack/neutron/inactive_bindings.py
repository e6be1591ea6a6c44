"""Notices bindings on hosts to which a port may migrate.

ML2 tells mechanism drivers nothing of bindings that are not active, neither when Nova makes one
nor when it takes one back; the database's classes do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from neutron.db import models_v2
from neutron.plugins.ml2 import models as ml2_models
from neutron_lib import constants
from sqlalchemy import event, orm

from calico_openstack.neutron.changes import Change, Kind
from calico_openstack.neutron.failures import without_etcd
from calico_openstack.neutron.journal import Journal
from calico_openstack.neutron.provisioning import confirm_targets
from calico_openstack.neutron.sync import Synchroniser
from calico_openstack.neutron.transaction import after_commit
from calico_openstack.neutron.translate.endpoint import endpoint_name


class InactiveBindings:
    """Listens to the class of bindings; ``synchroniser`` is asked for when it is needed."""

    def __init__(self, journal: Journal, synchroniser: Callable[[], Synchroniser]) -> None:
        self._journal = journal
        self._synchroniser = synchroniser

    def listen(self) -> None:
        """Begin to listen; once in each process."""
        for change in ("after_insert", "after_update", "after_delete"):
            event.listen(ml2_models.PortBinding, change, self._changed)

    def _changed(self, _mapper: object, connection: Any, binding: Any) -> None:
        if binding.status != constants.INACTIVE:
            return
        port = models_v2.Port
        device_id = connection.scalar(sa.select(port.device_id).where(port.id == binding.port_id))
        changes = {Change(Kind.PORT, binding.port_id)}
        name = endpoint_name(binding.host, device_id or "", binding.port_id)
        if name is not None:
            changes.add(Change(Kind.ENDPOINT, name))
        session, port_id = orm.object_session(binding), binding.port_id
        self._journal.record(session, changes)
        after_commit(session, lambda: self._confirm(port_id))

    def _confirm(self, port_id: str) -> None:
        with without_etcd(f"the target of port {port_id}"):
            confirm_targets(self._synchroniser(), port_id)
