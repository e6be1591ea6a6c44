"""The DHCP agent: what feeds its loop, and what happens in a pass.

etcd's watch posts batches, the kernel's notifications wake the loop, timers make it look again.
A pass takes everything in, plans the networks that changed, and brings interfaces, files and
processes to the plans. Until everything was read from etcd once, nothing is changed: what an
earlier agent left running goes on serving, and is started again should it die.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import time
from collections.abc import Sequence
from typing import Final

from calico_openstack.agent.health import Health
from calico_openstack.agent.health_server import HealthServer
from calico_openstack.agent.introspection.server import IntrospectionServer
from calico_openstack.agent.life_signs import LifeSigns
from calico_openstack.agent.mainloop import MainLoop
from calico_openstack.agent.metrics import serve
from calico_openstack.datamodel.codec import decode_at
from calico_openstack.datamodel.dhcp import DhcpSubnet
from calico_openstack.datamodel.endpoints import WorkloadEndpoint
from calico_openstack.datamodel.invalid import Invalid
from calico_openstack.datamodel.keys import (
    DhcpStatusKey,
    DhcpSubnetKey,
    ResourceKey,
    dhcp_subnet_prefix,
    openstack_namespace,
    parse_key,
    parse_workload_endpoint_name,
    region_string,
    workload_endpoint_prefix,
)
from calico_openstack.dhcp.desired import DEVICE_PREFIX, plan_network
from calico_openstack.dhcp.devices import DeviceDriver
from calico_openstack.dhcp.files import make_folder
from calico_openstack.dhcp.instances import Instances
from calico_openstack.dhcp.introspection import PROGRAM, tables_of
from calico_openstack.dhcp.inventory import Inventory
from calico_openstack.dhcp.links import LinkMonitor
from calico_openstack.dhcp.metrics import DhcpMetrics
from calico_openstack.dhcp.model import Problem
from calico_openstack.dhcp.options import AgentOptions, choose_user
from calico_openstack.dhcp.reading import read_port, read_subnet
from calico_openstack.dhcp.renewals import RenewalRule
from calico_openstack.dhcp.reports import ProblemLog
from calico_openstack.etcd import Batch, EtcdClient, SnapshotWatch

_log = logging.getLogger(__name__)

_COMPONENT: Final = "dhcp-agent"
_CHECK_INTERVAL: Final = 1.0
# A process that leaves requests unread for as long is killed and started again.
_PATIENCE: Final = 5.0
# Notifications tell of changes; this finds what they did not, such as files that were tampered
# with.
_RESYNC_INTERVAL: Final = 60.0
_HEALTH_TIMEOUT: Final = 60.0


class DhcpAgent:
    """One host's DHCP, from etcd to dnsmasq. Raises ConfigurationError and OSError when made."""

    def __init__(self, options: AgentOptions) -> None:
        self._options = options
        self._inventory = Inventory()
        self._problems = ProblemLog()
        self._metrics = DhcpMetrics()
        self._in_sync = False
        make_folder(options.run_folder)
        user = choose_user(options.dnsmasq_user, options.run_folder)
        if user == "root" and not options.dnsmasq_user:
            _log.warning("dnsmasq runs as root: %s is closed to others", options.run_folder)
        self._instances = Instances(
            options.run_folder, user, metrics=self._metrics, program=options.dnsmasq
        )
        self._devices = DeviceDriver()
        self._links = LinkMonitor(options.interface_prefix, DEVICE_PREFIX)
        self._rule = RenewalRule(options.interface_prefix)
        self._loop: MainLoop[Batch] = MainLoop(self._pass, idle_interval=_CHECK_INTERVAL)
        self._health = Health()
        self._health.register(_COMPONENT, timeout=_HEALTH_TIMEOUT)
        self._client = EtcdClient(options.etcd)
        self._life_signs = LifeSigns(
            self._client,
            DhcpStatusKey(region_string(options.region or None), options.host).path,
            lambda: self._health.liveness().good,
        )

    def run(self) -> int:
        """Run until a signal says otherwise; return the exit code. dnsmasq stays."""
        options = self._options
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.on_signal(number, self._loop.stop)
        region = options.region or None
        prefixes = [
            workload_endpoint_prefix(openstack_namespace(region), options.host),
            dhcp_subnet_prefix(region_string(region)),
        ]
        watch = SnapshotWatch(self._client, prefixes, self._loop.post)
        with contextlib.ExitStack() as stack:
            if options.health_port:
                server = HealthServer(self._health, options.health_host, options.health_port)
                stack.callback(server.close)
            if options.metrics_port:
                serve(self._metrics.registry, options.metrics_host, options.metrics_port)
            stack.callback(self._links.close)
            stack.callback(self._devices.close)
            self._instances.adopt()
            self._inventory.set_links(self._links.links)
            self._loop.add_reader(self._links.fileno(), self._hear)
            self._loop.every(_CHECK_INTERVAL, self._instances.check)
            self._loop.every(_PATIENCE, self._instances.end_hanging)
            self._loop.every(_RESYNC_INTERVAL, self._look_again)
            watch.start()
            stack.callback(watch.stop)
            stack.callback(self._life_signs.stop)
            tables = tables_of(
                self._inventory, self._instances.processes, lambda: self._problems.problems
            )
            inside = IntrospectionServer(PROGRAM, options.host, tables, self._loop.call)
            stack.callback(inside.close)
            return self._loop.run()

    def clean_up(self) -> None:
        """End all dnsmasq processes and remove everything that the agent has made."""
        self._instances.adopt()
        self._instances.stop()
        self._instances.reconcile()
        self._devices.write()
        self._devices.remove()
        self._rule.remove()

    # --- input ----------------------------------------------------------------------------------

    def _pass(self, batches: Sequence[Batch]) -> None:
        for batch in batches:
            for update in batch.updates:
                self._take(update.key, update.value)
            self._metrics.connected.set(batch.connected)
            if batch.in_sync and not self._in_sync:
                self._in_sync = True
                self._metrics.in_sync.set(1)
                self._life_signs.start()
                _log.info("Everything is read from etcd")
        if self._in_sync:
            began = time.monotonic()
            self._reconcile()
            self._metrics.pass_time.observe(time.monotonic() - began)
        self._health.report(_COMPONENT, ready=self._in_sync)

    def _take(self, path: str, value: bytes | None) -> None:
        """Take in what is stored under a key now."""
        key = parse_key(path)
        if key is None:
            unknown = Problem(path, "", "is no key that is known here")
            self._problems.report(path, [] if value is None else [unknown])
            return
        stored = None if value is None else decode_at(path, key, value)
        problems: tuple[Problem, ...] = ()
        if isinstance(stored, Invalid):
            problems = tuple(Problem(path, r.field, r.reason) for r in stored.reasons)
        if isinstance(key, ResourceKey):
            name = parse_workload_endpoint_name(key.name)
            port = None
            if isinstance(stored, WorkloadEndpoint) and name and name[0] == self._options.host:
                port, problems = read_port(path, stored)
            self._inventory.set_port(path, port)
        elif isinstance(key, DhcpSubnetKey):
            subnet = None
            if isinstance(stored, DhcpSubnet):
                subnet, problems = read_subnet(path, key.subnet_id, stored)
            self._inventory.set_subnet(key.subnet_id, subnet)
        self._problems.report(path, problems)

    def _hear(self) -> None:
        """Take in what the kernel tells of interfaces."""
        try:
            changes = self._links.read()
        except InterruptedError:
            self._hear_again()
            return
        for name in sorted(changes.names):
            self._inventory.set_link(name, self._links.links.get(name))
        if changes.devices:
            self._devices.distrust()

    def _hear_again(self) -> None:
        """Read the interfaces, whatever was told of them."""
        try:
            self._links.resync()
        except InterruptedError as error:
            # So much changes that no reading is consistent; it will calm down.
            _log.warning("Cannot read the interfaces: %s", error)
            self._loop.after(_CHECK_INTERVAL, self._hear_again)
        self._inventory.set_links(self._links.links)
        self._devices.distrust()

    def _look_again(self) -> None:
        self._hear_again()
        self._instances.distrust()
        if self._in_sync:
            self._problems.report("renewals", self._rule.ensure())

    # --- output ---------------------------------------------------------------------------------

    def _reconcile(self) -> None:
        """Bring the host to the plans: interfaces before the processes that use them."""
        for network_id in sorted(self._inventory.take_dirty()):
            plan = plan_network(self._inventory.network(network_id), self._options.networks)
            self._devices.want(network_id, plan.device)
            self._instances.want(network_id, plan.services)
            self._problems.report(f"network {network_id}", plan.problems)
        if not self._rule.written:
            self._problems.report("renewals", self._rule.ensure())
        problems = self._devices.write()
        problems += self._instances.reconcile()
        problems += self._devices.remove()
        self._problems.report("host", problems)
        self._metrics.networks.set(self._instances.network_count)
        self._metrics.problems.set(len(self._problems.problems))
