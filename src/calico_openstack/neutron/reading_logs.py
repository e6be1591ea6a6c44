"""Reads the network logs of security groups that are enabled.

``database`` is a connection, or the session of a request whose changes count already.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from neutron.db import models_v2
from neutron.db.models import loggingapi
from neutron.db.models import securitygroup as group_models
from neutron_lib.services.logapi import constants as log_constants

from calico_openstack.neutron.queries import Ids, column, may_be_endpoint, reader, retried
from calico_openstack.neutron.translate.facts import LogFacts
from calico_openstack.neutron.translate.logs import LOG_POLICY

_Log = loggingapi.Log
_Port = models_v2.Port
_Membership = group_models.SecurityGroupPortBinding


LOG_COLUMNS = (_Log.id, _Log.event, _Log.project_id, _Log.resource_id, _Log.target_id)
"""The columns with the fields of `LogFacts`."""
IS_ENABLED = sa.and_(_Log.enabled, _Log.resource_type == log_constants.SECURITY_GROUP)
_LOGS = sa.select(*LOG_COLUMNS)
_ENABLED = _LOGS.where(IS_ENABLED).order_by(_Log.id)


def enabled_logs(database: Any) -> list[LogFacts]:
    """Return the logs that are enabled, in the order of their ids."""
    return [LogFacts(*row) for row in database.execute(_ENABLED)]


@retried
def read_logs(policy_ids: Ids) -> list[LogFacts]:
    """Return the enabled logs whose policies have these ids; all for None."""
    if policy_ids is not None and not any(one.startswith(LOG_POLICY) for one in policy_ids):
        return []
    with reader() as connection:
        logs = enabled_logs(connection)
    return [log for log in logs if policy_ids is None or LOG_POLICY + log.id in policy_ids]


def groups_of_log(database: Any, log: LogFacts) -> Collection[str]:
    """Return the ids of the security groups whose accepted packets a log is about."""
    if log.group_id is not None:
        return {log.group_id}
    condition = _Port.project_id == log.project_id
    if log.port_id is not None:
        condition = _Port.id == log.port_id
    statement = sa.select(_Membership.security_group_id).join(
        _Port, _Port.id == _Membership.port_id
    )
    return set(database.scalars(statement.where(condition)))


def stored_log(database: Any, log_id: str) -> LogFacts | None:
    """Return a log, enabled or not; None where there is none."""
    row = database.execute(_LOGS.where(_Log.id == log_id)).first()
    return None if row is None else LogFacts(*row)


@retried
def ports_of_project(project_id: str) -> list[str]:
    """Return the ids of the ports of a project that may have endpoints."""
    return column(sa.select(_Port.id).where(_Port.project_id == project_id, may_be_endpoint()))
