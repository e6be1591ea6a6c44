"""A pytest plugin that adds the driver to whatever mechanism drivers a test of Neutron loads.

The address of an etcd is expected in the environment (`ETCD`), as oslo.config reads it. Neutron
makes one driver a process; here each test makes one, and what it listens to is taken back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
from oslo_config import cfg
from sqlalchemy import event

from calico_openstack.neutron.driver import CalicoMechanismDriver

ETCD = "OS_CALICO__ETCD_ENDPOINTS"

_set_override = cfg.ConfigOpts.set_override
_initialize = CalicoMechanismDriver.initialize
_listen = event.listen


def _with_calico(
    conf: cfg.ConfigOpts, name: str, override: Any, group: str | None = None, **rest: Any
) -> None:
    if (name, group) == ("mechanism_drivers", "ml2") and "calico" not in override:
        override = [*override, "calico"]
    _set_override(conf, name, override, group, **rest)


@pytest.fixture(autouse=True)
def _calico() -> Iterator[None]:
    drivers: list[CalicoMechanismDriver] = []
    listeners: list[tuple[Any, ...]] = []

    def initialize(driver: CalicoMechanismDriver) -> None:
        with mock.patch.object(event, "listen", listen):
            _initialize(driver)
        drivers.append(driver)

    def listen(*arguments: Any) -> None:
        listeners.append(arguments)
        _listen(*arguments)

    with (
        mock.patch.object(cfg.ConfigOpts, "set_override", _with_calico),
        mock.patch.object(CalicoMechanismDriver, "initialize", initialize),
    ):
        yield
    for arguments in listeners:
        event.remove(*arguments)
    for driver in drivers:
        driver.synchroniser().client.close()
