"""Neutron's own plugin within this process, with the driver loaded or another one.

Only for programs of their own: it configures what Neutron keeps for a whole process.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import neutron  # noqa: F401  (chooses oslo.service's backend of threads, before its first use)
from neutron import manager
from neutron.api import extensions
from neutron.common import config
from neutron.db.migration.models import head
from neutron_lib import constants, rpc
from neutron_lib import context as neutron_context
from neutron_lib.api import attributes
from neutron_lib.db import api as db_api
from neutron_lib.db import model_base
from neutron_lib.plugins import directory
from oslo_config import cfg

from calico_openstack.neutron import models, options

Json = dict[str, Any]


def start(folder: Path, etcd_endpoint: str, *, driver: str = "calico", connection: str = "") -> Any:
    """Load ML2 with a driver, on an empty database; return the core plugin.

    That is SQLite's below *folder*, unless SQLAlchemy's URL of another one is given.
    """
    assert head
    assert models
    config.register_common_config_options()
    options.register(cfg.CONF)
    configuration = folder / "neutron.conf"
    configuration.write_text(
        f"""\
[DEFAULT]
core_plugin = ml2
service_plugins = calico_router
dhcp_agent_notification = false
notify_nova_on_port_status_changes = false
notify_nova_on_port_data_changes = false
state_path = {folder}
transport_url = fake:/
[database]
connection = {connection or f"sqlite:///{folder}/neutron.db"}
max_retries = 20
[oslo_concurrency]
lock_path = {folder}
[ml2]
mechanism_drivers = {driver}
type_drivers = local,flat
project_network_types = local
extension_drivers = port_security
[calico]
etcd_endpoints = {etcd_endpoint}
etcd_timeout = 2
project_names = false
"""
    )
    cfg.CONF(["--config-file", str(configuration)], project="neutron")
    rpc.init(cfg.CONF)
    with db_api.CONTEXT_WRITER.using(neutron_context.get_admin_context()) as session:
        model_base.BASEV2.metadata.create_all(session.connection())
    manager.init()
    extensions.PluginAwareExtensionManager.get_instance().extend_resources(
        "2.0", attributes.RESOURCES
    )
    return directory.get_plugin()


def body(kind: str, values: Json) -> Json:
    """Return the body of a request that creates an object, with the defaults of the API."""
    collection = {"security_group": "security_groups"}.get(kind, f"{kind}s")
    information = attributes.AttributeInfo(attributes.RESOURCES[collection])
    filled = dict(values)
    information.fill_post_defaults(filled)
    information.convert_values(filled)
    return {kind: filled}


__all__ = ["body", "constants", "start"]
