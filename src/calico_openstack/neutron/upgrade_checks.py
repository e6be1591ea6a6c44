"""What ``neutron-status upgrade check`` says about this driver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from neutron_lib.utils import upgrade_checks
from oslo_config import cfg
from oslo_upgradecheck import upgradecheck

from calico_openstack.etcd import EtcdClient, EtcdError
from calico_openstack.neutron import options
from calico_openstack.neutron.models import DirtyObject
from calico_openstack.neutron.queries import reader

Check = Callable[[object], Any]

_SUCCESS = upgradecheck.Code.SUCCESS
_WARNING = upgradecheck.Code.WARNING
_FAILURE = upgradecheck.Code.FAILURE


class CalicoChecks(upgrade_checks.BaseChecks):
    """The driver's checks; they change nothing."""

    def get_checks(self) -> list[tuple[str, Check]]:
        """Return checks with their titles."""
        return [
            ("Calico: core plugin", core_plugin),
            ("Calico: table of changes", journal_table),
            ("Calico: configuration and etcd", etcd),
        ]


def core_plugin(_checker: object) -> Any:
    """Upstream's core plugin is replaced by ML2 and a service plugin."""
    if cfg.CONF.core_plugin != "calico":
        return upgradecheck.Result(_SUCCESS, "")
    return upgradecheck.Result(
        _FAILURE,
        "core_plugin = calico does not exist: use core_plugin = ml2 with mechanism_drivers = "
        "calico, and calico_router in service_plugins for floating IPs.",
    )


def journal_table(_checker: object) -> Any:
    """Requests record their changes in a table of the driver's own."""
    with reader() as connection:
        exists = sa.inspect(connection).has_table(DirtyObject.__tablename__)
    if exists:
        return upgradecheck.Result(_SUCCESS, "")
    return upgradecheck.Result(
        _FAILURE,
        f"Table {DirtyObject.__tablename__} is missing: run neutron-db-manage --subproject "
        "calico-openstack upgrade heads.",
    )


def etcd(_checker: object) -> Any:
    """The section [calico] must be right; etcd may be away for a while."""
    options.register(cfg.CONF)
    try:
        settings = options.read(cfg.CONF)
    except ValueError as error:
        return upgradecheck.Result(_FAILURE, str(error))
    client = EtcdClient(settings.etcd)
    try:
        client.status()
    except EtcdError as error:
        return upgradecheck.Result(_WARNING, f"etcd does not answer: {error}")
    finally:
        client.close()
    return upgradecheck.Result(_SUCCESS, "")
