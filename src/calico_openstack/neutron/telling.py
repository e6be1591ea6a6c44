"""Writes into ports' bindings what cannot be honoured, see `translate.refusals`."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from neutron.plugins.ml2 import models as ml2_models
from neutron_lib import constants
from neutron_lib.db import api as db_api

from calico_openstack.neutron.queries import writer
from calico_openstack.neutron.translate.facts import VIF_TAP
from calico_openstack.neutron.translate.refusals import Details


@db_api.retry_db_errors
def store_details(details: Mapping[str, Details]) -> None:
    """Give the bindings of ports other VIF details, unless ML2 or somebody else has changed them.

    Neither the port's revision nor Neutron's listeners to bindings are touched: to them nothing
    has changed.
    """
    table = ml2_models.PortBinding.__table__
    statement = (
        sa.update(table)
        .where(
            table.c.port_id == sa.bindparam("of_port"),
            table.c.host == sa.bindparam("of_host"),
            table.c.status == constants.ACTIVE,
            table.c.vif_type == VIF_TAP,
            table.c.vif_details == sa.bindparam("stored"),
        )
        .values(vif_details=sa.bindparam("wanted"))
    )
    values = [
        {"of_port": port_id, "of_host": one.host, "stored": one.stored, "wanted": one.wanted}
        for port_id, one in sorted(details.items())
    ]
    with writer() as connection:
        connection.execute(statement, values)
