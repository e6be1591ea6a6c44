"""Booting and deleting workloads, in the order in which Nova does it.

The port is created bound to a host, the link is plugged under the name that Nova gives it,
Felix programs the host, Neutron tells that the port is ACTIVE, and the guest's network begins.
"""

import contextlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field

from calico_openstack.lab import guest, machine, namespaces
from calico_openstack.lab.cloud import CloudError, api, topology_of
from calico_openstack.lab.commands import CommandError, run
from calico_openstack.lab.guest import Addressing
from calico_openstack.lab.log_files import last_words, tail
from calico_openstack.lab.neutron_api import NeutronApi
from calico_openstack.lab.processes import spawn
from calico_openstack.lab.progress import Progress
from calico_openstack.lab.rest import Resource, RestError
from calico_openstack.lab.settings import Lab
from calico_openstack.lab.waiting import NotReadyError, wait_until
from calico_openstack.lab.workload import Workload, WorkloadStore, check_name, tap_name

# Seconds.
ACTIVE_TIMEOUT = 60.0
ADDRESS_TIMEOUT = 60.0

_OWNER = "compute:nova"


@dataclass(frozen=True)
class Order:
    """A workload to boot. Without `host`, the one with the fewest workloads is taken."""

    name: str
    network: str
    security_groups: tuple[str, ...] = ()
    host: str | None = None
    qemu: bool = False
    port_attributes: dict[str, object] = field(default_factory=dict)


def boot(lab: Lab, order: Order, progress: Progress) -> Workload:
    """Boot a workload and wait until it has its addresses. What fails is taken back.

    Raises CloudError, RestError, CommandError or NotReadyError with the reason.
    """
    check_name(order.name)
    host = _choose_host(lab, order)
    store = WorkloadStore(lab)
    store.reserve(order.name)
    try:
        return _boot(lab, order, host, store, progress)
    except BaseException:
        with contextlib.suppress(RestError, CommandError, NotReadyError):
            delete(lab, order.name)
        raise


def delete(lab: Lab, name: str) -> None:
    """Delete a workload and its port, in Nova's order. Raises CloudError when there is none."""
    store = WorkloadStore(lab)
    if name not in store.names():
        store.get(name)
    workload = store.find(name)
    if workload is not None:
        api(lab).delete("ports", workload.port_id)
        machine.stop(workload)
        _unplug(lab, workload)
    namespace = lab.workload_namespace(name)
    namespaces.kill_processes([namespace])
    namespaces.delete(namespace)
    store.forget(name)


def _boot(lab: Lab, order: Order, host: str, store: WorkloadStore, progress: Progress) -> Workload:
    neutron = api(lab)
    with progress.step(f"{order.name}: port on {host}"):
        port = _create_port(neutron, order, host)
    workload = Workload(
        name=order.name,
        host=host,
        network=order.network,
        port_id=port["id"],
        device_id=port["device_id"],
        mac=port["mac_address"],
        addresses=tuple(fixed["ip_address"] for fixed in port["fixed_ips"]),
    )
    store.save(workload)
    if port["binding:vif_type"] != "tap":
        raise CloudError(
            f"the port was not bound on {host} (vif_type {port['binding:vif_type']}); "
            "is its Felix alive? See: calico-lab openstack network agent list"
        )
    subnets = neutron.find_all("subnets", network_id=port["network_id"])
    plan = guest.addressing(port, subnets)
    tap_mac = port["binding:vif_details"].get("mac_address", "00:61:fe:ed:ca:fe")
    mtu = int(neutron.get("networks", port["network_id"])["mtu"])
    if order.qemu:
        with progress.step(f"{order.name}: virtual machine on {host}"):
            workload = machine.start(
                lab,
                workload,
                plan=plan,
                tap_mac=tap_mac,
                mtu=mtu,
                folder=store.folder(order.name),
                progress=progress,
            )
            store.save(workload)
    else:
        _plug(lab, workload, tap_mac, mtu)
    with progress.step(f"{order.name}: port ACTIVE"):
        _await_active(lab, neutron, workload)
    if order.qemu:
        with progress.step(f"{order.name}: guest up, with {', '.join(workload.addresses)}"):
            machine.await_ready(store.folder(order.name), workload)
    else:
        with progress.step(f"{order.name}: has {', '.join(workload.addresses)}"):
            _start_network(lab, workload, plan, store)
            _await_addresses(lab, workload, store)
    return workload


def _choose_host(lab: Lab, order: Order) -> str:
    hosts = [host.name for host in topology_of(lab).compute]
    if order.host is not None:
        if order.host not in hosts:
            raise CloudError(f"there is no compute host {order.host!r}: {', '.join(hosts)}")
        return order.host
    taken = [workload.host for workload in WorkloadStore(lab).all()]
    return min(hosts, key=taken.count)


def _create_port(neutron: NeutronApi, order: Order, host: str) -> Resource:
    """Create the port of a workload, which has no other: whatever became of earlier attempts."""
    network = neutron.find("networks", order.network)
    device = str(uuid.uuid4())
    attributes: dict[str, object] = {
        "name": order.name,
        "network_id": network["id"],
        "device_owner": _OWNER,
        "device_id": device,
        "binding__host_id": host,
        **order.port_attributes,
    }
    if order.security_groups:
        attributes["security_groups"] = [
            neutron.find("security-groups", group)["id"] for group in order.security_groups
        ]
    # The name is reserved, so nothing runs with a port of it that is there already.
    for left in neutron.find_all("ports", name=order.name, device_owner=_OWNER):
        neutron.delete("ports", left["id"])
    try:
        return neutron.create("ports", **attributes)
    except RestError as error:
        if error.status:
            raise
        # The answer is lost, but the port may be there.
        created = neutron.find_all("ports", device_id=device)
        if not created:
            raise
        return created[0]


def _plug(lab: Lab, workload: Workload, tap_mac: str, mtu: int) -> None:
    """Make the workload's namespace and its link, whose guest side has no IPv6 yet.

    As Nova does, only the host's side gets the network's MTU; the guest learns it.
    """
    namespace = lab.workload_namespace(workload.name)
    files = namespaces.ETC_NETNS / namespace
    files.mkdir(parents=True, exist_ok=True)
    (files / "resolv.conf").write_text("")
    namespaces.create(namespace)
    namespaces.configure(namespace, ["link set lo up"], {"net.ipv6.conf.default.disable_ipv6": "1"})
    name = tap_name(workload.port_id)
    own = f"link add {name} mtu {mtu} address {tap_mac} type veth"
    pair = f"{own} peer name eth0 address {workload.mac}"
    namespaces.configure(
        lab.namespace(workload.host), [f"{pair} netns {namespace}", f"link set {name} up"], {}
    )
    namespaces.configure(namespace, ["link set eth0 up"], {})


def _unplug(lab: Lab, workload: Workload) -> None:
    with contextlib.suppress(CommandError):
        run(["ip", "-n", lab.namespace(workload.host), "link", "delete", workload.interface])


def _await_active(lab: Lab, neutron: NeutronApi, workload: Workload) -> None:
    felix_log = lab.log_file(f"felix@{workload.host}")
    wait_until(
        lambda: neutron.get("ports", workload.port_id)["status"] == "ACTIVE",
        f"the status ACTIVE of port {workload.port_id}",
        timeout=ACTIVE_TIMEOUT,
        reason=lambda: (
            f"felix@{workload.host} says: {' / '.join(last_words(felix_log))}; "
            "calico-lab logs neutron-workers tells more"
        ),
    )


def _start_network(
    lab: Lab, workload: Workload, plan: Sequence[Addressing], store: WorkloadStore
) -> None:
    namespace, folder = lab.workload_namespace(workload.name), store.folder(workload.name)
    guest.write_scripts(folder)
    namespaces.configure(
        namespace,
        guest.static_commands(plan),
        {**guest.SYSCTLS, "net.ipv6.conf.eth0.disable_ipv6": "0"},
    )
    commands = guest.clients(folder, workload.name, plan)
    if "dhclient6" in commands:
        # The client sends from the link-local address, which is usable after its detection of
        # duplicates only.
        wait_until(
            lambda: "fe80::" in _addresses(namespace, tentative=False),
            "the link-local address",
            timeout=ADDRESS_TIMEOUT,
        )
    for name, command in commands.items():
        spawn(namespaces.inside(namespace, command), log=folder / f"{name}.log")


def _addresses(namespace: str, *, tentative: bool) -> str:
    only = [] if tentative else ["-tentative"]
    command = ["ip", "-n", namespace, "-o", "address", "show", "dev", "eth0", *only]
    return run(command)


def _await_addresses(lab: Lab, workload: Workload, store: WorkloadStore) -> None:
    namespace, folder = lab.workload_namespace(workload.name), store.folder(workload.name)

    def missing() -> list[str]:
        present = _addresses(namespace, tentative=False)
        return [a for a in workload.addresses if f" {a}/" not in present]

    def reason() -> str:
        words = [line for log in sorted(folder.glob("*.log")) for line in tail(log, 3)]
        return f"{', '.join(missing())} not there; the clients say: {' / '.join(words)}"

    wait_until(
        lambda: not missing(),
        f"the address of {workload.name}",
        timeout=ADDRESS_TIMEOUT,
        reason=reason,
    )
