"""The driver of Neutron's logging API: records which policies and ports a log is about."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

# Importing it registers how Neutron checks requests about security groups' logs.
import neutron.services.logapi.common.sg_validate  # noqa: F401
from neutron.services.logapi.drivers import base
from neutron_lib.api.definitions import portbindings
from neutron_lib.plugins import constants as plugin_constants
from neutron_lib.plugins import directory
from neutron_lib.services.logapi import constants as log_constants

from calico_openstack.neutron import reading_logs
from calico_openstack.neutron.binding import VIF_TYPE
from calico_openstack.neutron.changes import Change, Kind
from calico_openstack.neutron.journal import Journal
from calico_openstack.neutron.translate.facts import LogFacts
from calico_openstack.neutron.translate.logs import LOG_POLICY, has_label


def is_logging_offered() -> bool:
    """Tell whether Neutron's logging service plugin is loaded."""
    return directory.get_plugin(plugin_constants.LOG_API) is not None


class CalicoLogDriver(base.DriverBase):
    """Registers itself with the logging service plugin, where that is loaded."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(
            "calico", [VIF_TYPE], [portbindings.VNIC_NORMAL], [log_constants.SECURITY_GROUP]
        )
        self._journal = journal

    def create_log_precommit(self, context: Any, log_obj: Any) -> None:
        """Record a log that begins."""
        self._record(context.session, _facts(log_obj))

    def update_log_precommit(self, context: Any, log_obj: Any) -> None:
        """Record a log that is switched on or off; ``log_obj`` has nothing but the change."""
        log = reading_logs.stored_log(context.session, log_obj.id)
        if log is not None:
            self._record(context.session, log)

    def delete_log_precommit(self, context: Any, log_obj: Any) -> None:
        """Record a log that ends."""
        self._record(context.session, _facts(log_obj))

    def record_memberships(
        self, session: Any, port: Mapping[str, Any], groups: Collection[str]
    ) -> None:
        """Record that a port has come into groups or left them: its logs are about these too."""
        if not groups or not is_logging_offered():
            return
        logs = reading_logs.enabled_logs(session)
        if any(has_label(log, port["id"], port["project_id"]) for log in logs):
            self._journal.record(session, {Change(Kind.GROUP, group_id) for group_id in groups})

    def _record(self, session: Any, log: LogFacts) -> None:
        groups = reading_logs.groups_of_log(session, log)
        changes = {Change(Kind.GROUP, group_id) for group_id in groups}
        changes.add(Change(Kind.GROUP, LOG_POLICY + log.id))
        if log.port_id is not None:
            changes.add(Change(Kind.PORT, log.port_id))
        elif log.group_id is None and log.project_id is not None:
            changes.add(Change(Kind.PROJECT_PORTS, log.project_id))
        self._journal.record(session, changes)


def _facts(log: Any) -> LogFacts:
    return LogFacts(log.id, log.event, log.project_id, log.resource_id, log.target_id)
