"""Bringing a lab up: its network, its servers and its agents, in an order that works."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec

from calico_openstack.lab import (
    bgp_setup,
    compute,
    database,
    etcd_server,
    namespaces,
    neighbours,
    neutron_server,
    router,
)
from calico_openstack.lab.awaiting import SERVER_TIMEOUT, await_agents, await_process
from calico_openstack.lab.bgp_layout import BgpLayout
from calico_openstack.lab.cloud import (
    CloudError,
    Description,
    api,
    describe,
    remember,
    supervisor,
)
from calico_openstack.lab.log_files import last_words
from calico_openstack.lab.namespaces import inside
from calico_openstack.lab.neutron_config import NeutronSettings
from calico_openstack.lab.nova import bring_up as nova_bring_up
from calico_openstack.lab.nova import catalogue
from calico_openstack.lab.processes import ProcessSpec, spawn
from calico_openstack.lab.progress import Progress
from calico_openstack.lab.settings import Lab
from calico_openstack.lab.teardown import down, leftovers
from calico_openstack.lab.topology import Topology, plan, setups
from calico_openstack.lab.waiting import wait_until

# Seconds. Generous: a loaded machine is slow, not wrong.
API_TIMEOUT = 120.0


def up(
    lab: Lab,
    hosts: int,
    progress: Progress,
    *,
    owner: int | None = None,
    layout: BgpLayout = BgpLayout.MESH,
    nova: bool = False,
) -> bool:
    """Build the lab and start everything in it; False when it was there already.

    With `owner`, the lab is removed when the process of this id ends. With `nova`, there are
    Keystone, Placement, Glance and Nova too.

    What an interrupted attempt left is removed first. A complete lab is left alone, but for a
    dead supervisor, which is started again and takes over what runs.
    """
    topology = plan(hosts)
    description = describe(lab)
    if description is not None and description.complete:
        if description.hosts != hosts:
            raise CloudError(
                f"the lab {lab.name} is up with {description.hosts} compute hosts; "
                "take it down first to change their number"
            )
        if description.bgp is not layout:
            raise CloudError(
                f"the lab {lab.name} is up with BGP as {description.bgp}; "
                "take it down first to change that"
            )
        if nova and not description.nova:
            raise CloudError(f"the lab {lab.name} is up without Nova; take it down first")
        if not supervisor(lab).is_running():
            with progress.step("supervisor, which takes over what runs"):
                _start_supervisor(lab, owner)
        return False
    if nova:
        nova_bring_up.require_installed()
    if leftovers(lab):
        with progress.step("removing what an earlier attempt left"):
            down(lab)
    wanted = Description(hosts=hosts, bgp=layout, nova=nova)
    _build(lab, topology, wanted, progress, owner)
    return True


def _build(
    lab: Lab, topology: Topology, description: Description, progress: Progress, owner: int | None
) -> None:
    for folder in (lab.run, lab.logs, lab.workloads):
        folder.mkdir(parents=True, exist_ok=True)
    remember(lab, description)
    neighbours.make_room(len(topology.compute), progress)
    with progress.step(f"network: {len(topology.hosts)} hosts in namespaces"):
        _build_network(lab, topology)
    with progress.step("supervisor"):
        _start_supervisor(lab, owner)
    control = supervisor(lab)
    control.add(etcd_server.process(lab, topology))
    keystone = catalogue.keystone(topology) if description.nova else None
    neutron = neutron_server.settings(lab, topology, keystone)
    neutron_server.write_configuration(neutron)
    _prepare_database(lab, neutron, progress)
    with progress.step("etcd"):
        await_process(lab, "etcd", lambda: etcd_server.is_healthy(lab))
        bgp_setup.store(lab, topology, description.bgp)
    router.write_configuration(lab, topology, description.bgp)
    if description.nova:
        nova_bring_up.start_message_bus(lab, topology)
        nova_bring_up.start_identity(lab, topology, neutron, progress)
    for spec in _services(lab, topology, neutron):
        control.add(spec)
    with progress.step("Neutron's API"):
        await_process(lab, "neutron-api", api(lab).answers, timeout=API_TIMEOUT)
    with progress.step(f"agents of {len(topology.compute)} hosts, alive in Neutron"):
        await_agents(lab, topology)
    if description.nova:
        nova_bring_up.start(lab, topology, neutron, progress)
    remember(lab, msgspec.structs.replace(description, complete=True))


def _build_network(lab: Lab, topology: Topology) -> None:
    with ThreadPoolExecutor(max_workers=8) as pool:
        names = [lab.namespace(host.name) for host in topology.hosts]
        list(pool.map(namespaces.create, names))
        first, *others = setups(topology, f"{lab.name}-")
        namespaces.configure(lab.namespace(first.host), first.commands, first.sysctls)
        done = [
            pool.submit(namespaces.configure, lab.namespace(s.host), s.commands, s.sysctls)
            for s in others
        ]
        for future in done:
            future.result()


def _prepare_database(lab: Lab, neutron: NeutronSettings, progress: Progress) -> None:
    with progress.step("MariaDB"):
        database.install(lab, neutron)
        supervisor(lab).add(database.process(lab, neutron))
        await_process(lab, "mariadb", lambda: database.is_ready(lab, neutron))
    cached = database.cached_dump(lab)
    if cached.exists():
        with progress.step("Neutron's database, from the dump of an earlier migration"):
            database.restore(lab, neutron, cached)
    else:
        with progress.step("Neutron's database, by its migrations"):
            database.migrate(lab, neutron)
            database.dump(lab, neutron, cached)


def _services(lab: Lab, topology: Topology, neutron: NeutronSettings) -> Iterator[ProcessSpec]:
    yield from neutron_server.processes(lab, neutron)
    yield router.process(lab)
    for host in topology.compute:
        compute.write_configuration(lab, topology, host)
        yield from compute.processes(lab, host)


def _start_supervisor(lab: Lab, owner: int | None) -> None:
    program = [sys.executable, "-m", "calico_openstack.lab.supervisor"]
    command = [*program, lab.name, str(lab.state), *([str(owner)] if owner else [])]
    log = lab.log_file("supervisor")
    spawn(inside(lab.namespace("controller"), command), log=log)
    wait_until(
        supervisor(lab).is_running,
        "the supervisor",
        timeout=SERVER_TIMEOUT,
        reason=lambda: " / ".join(last_words(log)),
    )
