"""The ML2 mechanism driver ``calico``: hooks that say which objects to synchronise.

Nothing is decided here from the contents of an event; see :mod:`calico_openstack.neutron.sync`.
The driver runs in three kinds of process (API under WSGI, RPC server, periodic workers), each
with its own instance. It starts no thread and opens no connection: its background work is in
workers of ``neutron-periodic-workers``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neutron.plugins.ml2.drivers import mech_agent
from neutron_lib.api.definitions import portbindings
from neutron_lib.callbacks import events, registry, resources
from oslo_config import cfg
from oslo_log import log
from sqlalchemy import orm

from calico_openstack.etcd import EtcdClient
from calico_openstack.neutron import binding, options, reading
from calico_openstack.neutron.failures import left_to_resync
from calico_openstack.neutron.groups import GroupNotifications
from calico_openstack.neutron.provisioning import confirm_provisioned
from calico_openstack.neutron.sync import Synchroniser
from calico_openstack.neutron.translate.endpoint import endpoint_name, is_endpoint
from calico_openstack.neutron.translate.facts import VIF_UNBOUND
from calico_openstack.neutron.workers import ResyncWorker, StatusWorker

LOG = log.getLogger(__name__)

# Attributes of a port that change together with its status.
_STATUS = frozenset({"status", "updated_at", "revision_number"})

Port = Mapping[str, Any]


class CalicoMechanismDriver(mech_agent.SimpleAgentMechanismDriverBase):
    """Binds ports to hosts with a live Felix and keeps etcd equal to Neutron's database."""

    def __init__(self) -> None:
        details = {
            portbindings.CAP_PORT_FILTER: True,
            "mac_address": binding.DEFAULT_TAP_MAC,
        }
        super().__init__(binding.AGENT_TYPE, binding.VIF_TYPE, details)
        self._settings: options.Settings | None = None
        self._synchroniser: Synchroniser | None = None

    def initialize(self) -> None:
        """Read the configuration; called once in each process, before any fork."""
        super().initialize()
        options.register(cfg.CONF)
        settings = options.read(cfg.CONF)
        self._settings = settings
        # Connects when first used, and anew in every process that a fork makes.
        client = EtcdClient(settings.etcd)
        self._synchroniser = Synchroniser(client, settings.namespace, settings.region_string)
        GroupNotifications(self.synchroniser).subscribe()
        registry.subscribe(_finish_models, resources.PROCESS, events.AFTER_INIT)

    def synchroniser(self) -> Synchroniser:
        """Return this process's synchroniser; `initialize` must have run."""
        assert self._synchroniser is not None
        return self._synchroniser

    def get_workers(self) -> list[Any]:
        """Return the workers that ``neutron-periodic-workers`` runs, each in its own process."""
        assert self._settings is not None
        return [StatusWorker(self._settings), ResyncWorker(self._settings)]

    # --- binding ------------------------------------------------------------------------------

    def get_allowed_network_types(self, agent: Any = None) -> tuple[str, ...]:
        """Networks are containers of subnets: there is nothing to segment."""
        return binding.NETWORK_TYPES

    def get_mappings(self, agent: Any) -> dict[str, str]:
        """No host is connected to a physical network in Neutron's sense."""
        return {}

    def check_segment_for_agent(self, segment: Mapping[str, Any], agent: Mapping[str, Any]) -> bool:
        """Every host reaches every network of a type that the driver knows."""
        return (
            agent["agent_type"] == self.agent_type
            and segment["network_type"] in binding.NETWORK_TYPES
        )

    def get_vif_details(self, context: Any, agent: Any, segment: Any) -> dict[str, Any]:
        """Tell Nova the address of the host's end of the TAP device."""
        mac = binding.tap_mac(context.current["mac_address"])
        return {**self.vif_details, "mac_address": mac}

    def bind_port(self, context: Any) -> None:
        """Bind a port to its host, or say why that is impossible."""
        port = context.current
        reason = binding.refusal(
            host=context.host,
            vnic_type=port.get(portbindings.VNIC_TYPE, portbindings.VNIC_NORMAL),
            network_types=[segment["network_type"] for segment in context.segments_to_bind],
            agents=context.host_agents(self.agent_type),
        )
        if reason is not None:
            LOG.warning("Port %s is not bound to host %s: %s", port["id"], context.host, reason)
            return
        super().bind_port(context)

    # --- ports --------------------------------------------------------------------------------

    def create_port_postcommit(self, context: Any) -> None:
        """A port that is created for a host is bound next, which is an update."""
        if _is_bound(context.current):
            self._sync_port(context.current, context.current)

    def update_port_postcommit(self, context: Any) -> None:
        """Synchronise where the port is and where it was."""
        port, original = context.current, context.original
        if _is_about_status(port, original) or _is_rebinding(port, original):
            return
        self._sync_port(port, original)
        if _is_bound(port) and not _is_bound(original):
            with left_to_resync(f"the status of port {port['id']}"):
                confirm_provisioned(self.synchroniser(), port)

    def delete_port_postcommit(self, context: Any) -> None:
        """Synchronise where the port was."""
        self._sync_port(context.current, context.current)

    def _sync_port(self, port: Port, original: Port) -> None:
        names = {name for state in (port, original) if (name := _endpoint_name(state))}
        if not names:
            return
        with left_to_resync(f"port {port['id']}"):
            self.synchroniser().sync_ports([port["id"]], left=names)

    # --- networks and subnets -----------------------------------------------------------------

    def update_network_postcommit(self, context: Any) -> None:
        """A network's name stands in its ports' labels, and its state decides about them."""
        network, original = context.current, context.original
        if any(network[name] != original[name] for name in ("name", "admin_state_up")):
            with left_to_resync(f"ports of network {network['id']}"):
                self.synchroniser().sync_ports(reading.ports_of_network(network["id"]))

    def create_subnet_postcommit(self, context: Any) -> None:
        """Tell the DHCP agents about a subnet."""
        self._sync_subnet(context.current["id"])

    def update_subnet_postcommit(self, context: Any) -> None:
        """Tell the DHCP agents, and the ports whose gateway it has."""
        subnet = context.current
        self._sync_subnet(subnet["id"])
        if subnet["gateway_ip"] != context.original["gateway_ip"]:
            with left_to_resync(f"ports of subnet {subnet['id']}"):
                self.synchroniser().sync_ports(reading.ports_of_subnet(subnet["id"]))

    def delete_subnet_postcommit(self, context: Any) -> None:
        """Tell the DHCP agents that a subnet is gone."""
        self._sync_subnet(context.current["id"])

    def _sync_subnet(self, subnet_id: str) -> None:
        with left_to_resync(f"subnet {subnet_id}"):
            self.synchroniser().sync_subnets([subnet_id])


def _finish_models(_resource: str, _event: str, _trigger: object, payload: object = None) -> None:
    """Complete the database's classes before the first request of a process.

    SQLAlchemy does so when a class is first used. Neutron asks for a port's attribute that only
    exists afterwards, and answers 500 where listing ports is the first request of a process.
    """
    orm.configure_mappers()


def _endpoint_name(port: Port) -> str | None:
    """Return the name of the endpoint that a port may have in this state, None for none."""
    if not is_endpoint(port["device_owner"]) or not port.get(portbindings.HOST_ID):
        return None
    return endpoint_name(port[portbindings.HOST_ID], port["device_id"], port["id"])


def _is_bound(port: Port) -> bool:
    return bool(port.get(portbindings.HOST_ID)) and (
        port.get(portbindings.VIF_TYPE, VIF_UNBOUND) != VIF_UNBOUND
    )


def _is_rebinding(port: Port, original: Port) -> bool:
    """Tell whether ML2 has only taken a binding away in order to make it anew.

    It does so for every change of an attribute of the binding, and ends with another update
    within the same request, whether that binding succeeds or not. Removing the endpoint in
    between would interrupt the workload's traffic.
    """
    same_place = all(
        port[name] == original[name] for name in (portbindings.HOST_ID, "device_id", "device_owner")
    )
    return (
        same_place
        and _is_bound(original)
        and not _is_bound(port)
        and bool(port[portbindings.HOST_ID])
    )


def _is_about_status(port: Port, original: Port) -> bool:
    """Tell whether nothing but the status changed, which means nothing to the endpoint.

    An update without any difference is not about the status: Neutron announces an address like
    this that it gave to the port before, when an IPv6 subnet was added to the network.
    """
    changed = {
        name for name in port.keys() | original.keys() if port.get(name) != original.get(name)
    }
    return "status" in changed and changed <= _STATUS
