"""Runs the revisions, called by ``neutron-db-manage``.

The table of versions is the project's own: Neutron's knows Neutron's revisions only.
"""

from __future__ import annotations

from alembic import context
from neutron.db.migration.connection import DBConnection
from neutron_lib.db import model_base

VERSION_TABLE = "alembic_version_calico_openstack"

config = context.config
neutron_config = config.neutron_config


def run_offline() -> None:
    """Print the statements."""
    context.configure(url=neutron_config.database.connection, version_table=VERSION_TABLE)
    with context.begin_transaction():
        context.run_migrations()


def run_online() -> None:
    """Change the database."""
    given = config.attributes.get("connection")
    with DBConnection(neutron_config.database.connection, given) as connection:
        context.configure(
            connection=connection,
            target_metadata=model_base.BASEV2.metadata,
            version_table=VERSION_TABLE,
        )
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    run_offline()
else:
    run_online()
