"""Compute hosts that are added to a lab, drained, and removed while it runs."""

import json
import shutil

import msgspec

from calico_openstack.bgp.extras import DRAIN_ANNOTATION
from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.lab import (
    compute,
    etcd_server,
    namespaces,
    neighbours,
    neutron_server,
    router,
)
from calico_openstack.lab.awaiting import await_agents
from calico_openstack.lab.cloud import CloudError, api, describe, remember, supervisor, topology_of
from calico_openstack.lab.commands import run
from calico_openstack.lab.namespaces import inside_host
from calico_openstack.lab.nova import catalogue, membership
from calico_openstack.lab.progress import Progress
from calico_openstack.lab.settings import Lab
from calico_openstack.lab.topology import Host, additional, plan
from calico_openstack.lab.workload import WorkloadStore

_STOP_TIMEOUT = 30.0


def add(lab: Lab, progress: Progress) -> Host:
    """Add the next compute host and wait until Neutron knows it. Raises CloudError."""
    count = len(topology_of(lab).compute) + 1
    topology = plan(count)
    host = topology.compute[-1]
    neighbours.make_room(count, progress)
    with progress.step(f"network of {host.name}"):
        namespaces.create(lab.namespace(host.name))
        for setup in additional(topology, host, f"{lab.name}-"):
            namespaces.configure(lab.namespace(setup.host), setup.commands, setup.sysctls)
    compute.write_configuration(lab, topology, host)
    _remember_count(lab, count)
    _tell_router(lab)
    control = supervisor(lab)
    for spec in compute.processes(lab, host):
        control.add(spec)
    with progress.step(f"agents of {host.name}, alive in Neutron"):
        await_agents(lab, topology)
    if _has_nova(lab):
        keystone = catalogue.keystone(topology)
        neutron = neutron_server.settings(lab, topology, keystone)
        membership.join(lab, topology, neutron, host, progress)
    return host


def drain(lab: Lab, name: str, *, undo: bool = False) -> None:
    """Have a host tell its BGP neighbours that it is about to leave. Raises CloudError."""
    _compute_host(lab, name)
    key = ResourceKey("Node", name).path
    stored = etcd_server.get(lab, key)
    if not stored.strip():
        raise CloudError(f"{name} has not registered its Node yet")
    node = json.loads(stored)
    annotations = node["metadata"].setdefault("annotations", {})
    annotations[DRAIN_ANNOTATION] = "false" if undo else "true"
    etcd_server.put(lab, key, json.dumps(node).encode())


def remove(lab: Lab, progress: Progress) -> Host:
    """Remove the last compute host, which must have no workloads. Raises CloudError."""
    hosts = topology_of(lab).compute
    host = hosts[-1]
    if len(hosts) == 1:
        raise CloudError("the last compute host of a lab stays; use: calico-lab down")
    there = [workload.name for workload in WorkloadStore(lab).all() if workload.host == host.name]
    if there:
        raise CloudError(f"{host.name} has workloads: {', '.join(there)}; remove them first")
    if _has_nova(lab):
        with progress.step(f"taking {host.name} out of Nova"):
            membership.leave(lab, host)
    with progress.step(f"ending {host.name} in an orderly way"):
        _end_processes(lab, host)
        etcd_server.delete(lab, ResourceKey("Node", host.name).path)
    with progress.step(f"removing {host.name}"):
        namespaces.kill_processes([lab.namespace(host.name)])
        namespaces.delete(lab.namespace(host.name))
        shutil.rmtree(lab.host_folder(host.name), ignore_errors=True)
        neutron = api(lab)
        for agent in neutron.find_all("agents", host=host.name):
            neutron.delete("agents", agent["id"])
    _remember_count(lab, len(hosts) - 1)
    _tell_router(lab)
    return host


def _end_processes(lab: Lab, host: Host) -> None:
    control = supervisor(lab)
    for agent in compute.AGENTS:
        name = compute.process_name(agent, host)
        control.stop(name, timeout=_STOP_TIMEOUT)
        control.remove(name)
    # Its neighbours forget its routes at once, and do not wait for it to come back.
    command = compute.bgp_command(lab, host, "--stop-bird")
    run(inside_host(lab.namespace(host.name), host.name, command), timeout=_STOP_TIMEOUT)


def _tell_router(lab: Lab) -> None:
    description = describe(lab)
    if description is not None:
        router.reconfigure(lab, topology_of(lab), description.bgp)


def _has_nova(lab: Lab) -> bool:
    description = describe(lab)
    return description is not None and description.nova


def _compute_host(lab: Lab, name: str) -> Host:
    for host in topology_of(lab).compute:
        if host.name == name:
            return host
    raise CloudError(f"there is no compute host {name!r}")


def _remember_count(lab: Lab, count: int) -> None:
    description = describe(lab)
    if description is not None:
        remember(lab, msgspec.structs.replace(description, hosts=count))
