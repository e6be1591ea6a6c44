"""The ML2 mechanism driver ``calico``: hooks that record which objects have changed.

What follows from a change is decided after its commit; see :mod:`calico_openstack.neutron.journal`.
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
from calico_openstack.neutron.agents import RequestAgents
from calico_openstack.neutron.changes import Change, Kind
from calico_openstack.neutron.failures import without_etcd
from calico_openstack.neutron.floating_ips import FloatingIpNotifications
from calico_openstack.neutron.groups import GroupNotifications
from calico_openstack.neutron.inactive_bindings import InactiveBindings
from calico_openstack.neutron.journal import Journal
from calico_openstack.neutron.log_driver import CalicoLogDriver
from calico_openstack.neutron.provisioning import (
    block_until_programmed,
    confirm_provisioned,
    confirm_targets,
    endpoint_path,
)
from calico_openstack.neutron.qos_driver import CalicoQosDriver
from calico_openstack.neutron.reading_qos import read_policy
from calico_openstack.neutron.refusals import Refusals
from calico_openstack.neutron.sync import Synchroniser, make_synchroniser
from calico_openstack.neutron.translate.endpoint import endpoint_name
from calico_openstack.neutron.translate.facts import VIF_UNBOUND
from calico_openstack.neutron.translate.places import is_endpoint
from calico_openstack.neutron.translate.qos import unsupported
from calico_openstack.neutron.workers import JournalWorker, ResyncWorker, StatusWorker

LOG = log.getLogger(__name__)

# Attributes of a port that change together with its status.
_STATUS = frozenset({"status", "updated_at", "revision_number"})

# Attributes of a network on which its ports' endpoints depend.
_NETWORK_ATTRIBUTES = ("name", "admin_state_up", "qos_policy_id")

Port = Mapping[str, Any]


class CalicoMechanismDriver(mech_agent.SimpleAgentMechanismDriverBase):
    """Binds ports to hosts with a live Felix and keeps etcd equal to Neutron's database."""

    # Neutron's tests replace it in the class.
    agent_type: str = binding.AGENT_TYPE

    def __init__(self) -> None:
        details = {
            portbindings.CAP_PORT_FILTER: True,
            "mac_address": binding.DEFAULT_TAP_MAC,
        }
        super().__init__(binding.AGENT_TYPE, binding.VIF_TYPE, details)
        self._settings: options.Settings | None = None
        self._synchroniser: Synchroniser | None = None
        self.journal = Journal(self.synchroniser)
        self._logs = CalicoLogDriver(self.journal)
        self._agents = RequestAgents()

    def initialize(self) -> None:
        """Read the configuration; called once in each process, before any fork."""
        super().initialize()
        options.register(cfg.CONF)
        settings = options.read(cfg.CONF)
        self._settings = settings
        # Connects when first used, and anew in every process that a fork makes.
        client = EtcdClient(settings.etcd)
        self._synchroniser = make_synchroniser(client, settings)
        GroupNotifications(self.journal).subscribe()
        FloatingIpNotifications(self.journal, self.synchroniser).subscribe()
        InactiveBindings(self.journal, self.synchroniser).listen()
        Refusals().listen()
        CalicoQosDriver(self.journal)
        registry.subscribe(_finish_models, resources.PROCESS, events.AFTER_INIT)

    def synchroniser(self) -> Synchroniser:
        """Return this process's synchroniser; `initialize` must have run."""
        assert self._synchroniser is not None
        return self._synchroniser

    def get_workers(self) -> list[Any]:
        """Return the workers that ``neutron-periodic-workers`` runs, each in its own process."""
        assert self._settings is not None
        workers = (StatusWorker, JournalWorker, ResyncWorker)
        return [worker(self._settings) for worker in workers]

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
        agents = self._agents.for_binding(context.plugin_context, self.agent_type, context.host)
        reason = binding.refusal(
            host=context.host,
            vnic_type=port.get(portbindings.VNIC_TYPE, portbindings.VNIC_NORMAL),
            network_types=[segment["network_type"] for segment in context.segments_to_bind],
            agents=agents,
            is_trunk="trunk_details" in port,
        )
        policy_id = port.get("qos_policy_id") or port.get("qos_network_policy_id")
        if reason is None and policy_id:
            reason = next(filter(None, map(unsupported, read_policy(policy_id).rules)), None)
        if reason is not None:
            LOG.warning("Port %s is not bound to host %s: %s", port["id"], context.host, reason)
            return
        segment = next(
            segment
            for segment in context.segments_to_bind
            if segment["network_type"] in binding.NETWORK_TYPES
        )
        details = self.get_vif_details(context, None, segment)
        context.set_binding(segment["id"], binding.VIF_TYPE, details)

    # --- ports --------------------------------------------------------------------------------

    def create_port_precommit(self, context: Any) -> None:
        """A port that is created for a host is bound next, which is an update."""
        block_until_programmed(context, self._agents, self.agent_type, is_new=True)
        if _is_bound(context.current):
            self._record_port(context, context.current)

    def update_port_precommit(self, context: Any) -> None:
        """Record where the port is and where it was."""
        if context.host != context.original_host:
            block_until_programmed(context, self._agents, self.agent_type)
        if not _is_about_status(context.current, context.original):
            self._record_port(context, context.current, context.original)

    def update_port_postcommit(self, context: Any) -> None:
        """A port that was bound anew may be programmed already."""
        port, original = context.current, context.original
        if not is_endpoint(port["device_owner"]) or _is_about_status(port, original):
            return
        with without_etcd(f"the status of port {port['id']}"):
            if _is_bound(port) and not _is_bound(original):
                self._confirm(port)
            if _target(port):
                confirm_targets(self.synchroniser(), port["id"])

    def _confirm(self, port: Port) -> None:
        """Complete the provisioning of a port that was bound, where it is programmed already.

        Nothing can be programmed before its endpoint is in etcd. Of one that came to be just now,
        after the commit of the binding, the status worker hears whatever its host reports.
        """
        where = (port["id"], port["device_id"], port[portbindings.HOST_ID])
        if not self.journal.has_created(endpoint_path(self.synchroniser(), *where)):
            confirm_provisioned(self.synchroniser(), *where)

    def delete_port_precommit(self, context: Any) -> None:
        """Record where the port was."""
        self._record_port(context, context.current)

    def _record_port(self, context: Any, *states: Port) -> None:
        """Record a change of a port, which was in these states.

        Bindings that are not active vanish with a port, and endpoints are named by its device:
        where both stay, what they were follows from what they are.
        """
        stays = len(states) > 1 and len({state["device_id"] for state in states}) == 1
        states = tuple(state for state in states if is_endpoint(state["device_owner"]))
        if not states:
            return
        session, port_id = context.plugin_context.session, states[0]["id"]
        hosts = {host for state in states for host in _hosts(state)}
        if not stays:
            hosts.update(reading.inactive_hosts(session, port_id))
        devices = {state["device_id"] for state in states}
        names = (endpoint_name(host, device, port_id) for host in hosts for device in devices)
        changes = {Change(Kind.ENDPOINT, name) for name in names if name}
        if changes:
            self.journal.record(session, changes | {Change(Kind.PORT, port_id)})
        groups = [set(state["security_groups"]) for state in states]
        changed = groups[0] ^ groups[1] if groups[1:] else groups[0]
        self._logs.record_memberships(session, states[0], changed)

    # --- networks and subnets -----------------------------------------------------------------

    def update_network_precommit(self, context: Any) -> None:
        """A network's name stands in its ports' labels, and its state decides about them."""
        network, original = context.current, context.original
        if any(network.get(name) != original.get(name) for name in _NETWORK_ATTRIBUTES):
            self._record(context, Change(Kind.NETWORK_PORTS, network["id"]))

    def create_subnet_precommit(self, context: Any) -> None:
        """Record a subnet that the DHCP agents must know."""
        self._record(context, Change(Kind.SUBNET, context.current["id"]))

    def update_subnet_precommit(self, context: Any) -> None:
        """Record a change for the DHCP agents, and for the ports whose gateway it has."""
        subnet = context.current
        self._record(context, Change(Kind.SUBNET, subnet["id"]))
        if subnet["gateway_ip"] != context.original["gateway_ip"]:
            self._record(context, Change(Kind.SUBNET_PORTS, subnet["id"]))

    def delete_subnet_precommit(self, context: Any) -> None:
        """Record that a subnet is gone."""
        self._record(context, Change(Kind.SUBNET, context.current["id"]))

    def _record(self, context: Any, change: Change) -> None:
        self.journal.record(context.plugin_context.session, {change})


def _finish_models(_resource: str, _event: str, _trigger: object, payload: object = None) -> None:
    """Complete the database's classes before the first request of a process.

    SQLAlchemy does so when a class is first used. Neutron asks for a port's attribute that only
    exists afterwards, and answers 500 where listing ports is the first request of a process.
    """
    orm.configure_mappers()


def _hosts(port: Port) -> set[str]:
    """Return the hosts on which a port may have endpoints in this state."""
    return {port.get(portbindings.HOST_ID) or "", _target(port)} - {""}


def _target(port: Port) -> str:
    """Return the host that Nova has announced as a migration's target, empty for none."""
    host = (port.get(portbindings.PROFILE) or {}).get("migrating_to")
    return host if isinstance(host, str) else ""


def _is_bound(port: Port) -> bool:
    return bool(port.get(portbindings.HOST_ID)) and (
        port.get(portbindings.VIF_TYPE, VIF_UNBOUND) != VIF_UNBOUND
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
