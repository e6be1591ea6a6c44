"""Small clouds for measuring BGP: hosts with the real Felix, BGP agent and BIRD, and one etcd.

What Neutron would store is stored directly. A guest that moves has a namespace at either host, as
QEMU runs at either for a while; which of the two counts at a moment is for the measurement to say.
"""

from __future__ import annotations

import contextlib
import json
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Protocol

from calico_openstack.bgp.extras import DOMAIN, Bfd
from calico_openstack.datamodel.keys import openstack_namespace
from calico_openstack.etcd import EtcdClient, EtcdConfig
from tests.bgp.fabric import ETCD_ADDRESS, Fabric, Host
from tests.bgp.rack import RackRouter, router_text, store_rack
from tests.support.announcements import mac_address, rarp
from tests.support.felix import configure, declare_ready, mac, put, put_endpoint, put_group
from tests.support.netns import NetworkNamespace, veth
from tests.support.processes import Process, eventually

HOLD_TIME: Final = "9s"
RESTART_TIME: Final = "10s"
PASSWORD: Final = "fabric-password"
SECRET: Final = {"secretKeyRef": {"name": "fabric", "key": "bgp"}}
COMPUTES: Final = 4
CONVERGENCE_TIME: Final = 2
"""Seconds for which routes stay elevated after a migration; 30 unless configured."""

_NAMESPACE = openstack_namespace(None)
_GROUP = "open"
_SETTLING = 60.0


class Router(Protocol):
    """Whatever follows routes: a host or the rack's router."""

    name: str
    namespace: NetworkNamespace

    def routes(self, family: str = "-4") -> dict[str, list[str]]:
        """Return the gateways of BIRD's routes in the kernel, by destination."""
        ...


class Layout(StrEnum):
    """How sessions are laid out."""

    MESH = "mesh"
    REFLECTORS = "reflectors"
    TOR = "tor"


@dataclass(frozen=True, slots=True)
class End:
    """A guest on a host: its namespace there, and its address pair."""

    number: int
    host: Host
    namespace: NetworkNamespace

    @property
    def addresses(self) -> tuple[str, str]:
        """The IPv4 and the IPv6 address."""
        return f"10.65.0.{self.number}", f"fd00::{self.number}"

    def announce(self) -> None:
        """Send what QEMU sends when a guest resumes."""
        with self.namespace.entered():
            sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        with sender:
            sender.bind(("eth0", 0))
            sender.send(rarp(mac_address(mac(self.number))))


class Cloud:
    """Hosts in one layout; the calling thread is in the namespace where etcd is."""

    def __init__(self, fabric: Fabric, layout: Layout) -> None:
        self.fabric = fabric
        self.layout = layout
        self.etcd = EtcdClient(EtcdConfig(endpoints=(f"http://{ETCD_ADDRESS}:2379",)))
        self.router: RackRouter | None = None
        self._addresses: dict[str, set[str]] = {}
        self._keys: dict[tuple[str, int], str] = {}
        self._guests: list[NetworkNamespace] = []
        self._felixes: list[Process] = []
        declare_ready(self.etcd)
        put_group(self.etcd, _GROUP, [{"action": "Allow"}])
        self.computes = fabric.add_hosts(COMPUTES)
        self.reflectors = fabric.add_hosts(2) if layout is Layout.REFLECTORS else []
        self.hosts = [*self.computes, *self.reflectors]
        self.store_layout()
        for host in self.hosts:
            self.set_password(host, PASSWORD)
            host.settings |= {"IP": f"{host.ipv4}/24", "IP6": f"{host.ipv6}/64"}
            host.start_agent()
        for host in self.computes:
            self._felixes.append(_start_felix(host))
        if layout is Layout.TOR:
            self.router = RackRouter(fabric, bfd=None, password=PASSWORD)
        for number, host in enumerate(self.reflectors):
            self._make_reflector(host, number)
        self.wait_for_sessions()

    def close(self) -> None:
        """Stop what the fabric does not know of."""
        self.etcd.close()
        for felix in self._felixes:
            felix.kill()
        for guest in self._guests:
            guest.delete()

    def store_layout(self, *, bfd: str = "") -> None:
        """Store the configuration and the peers, with *bfd* or, empty, without it.

        May be repeated.
        """
        marks = {DOMAIN + "hold-time": HOLD_TIME}
        more: dict[str, object] = {"password": SECRET}
        if "graceful" in bfd:
            more["maxRestartTime"] = RESTART_TIME
        if bfd:
            marks[DOMAIN + "bfd"] = bfd
        if self.layout is Layout.TOR:
            marks[DOMAIN + "direct"] = "true"
            store_rack(self.fabric, marks, **more)
            if self.router is not None:
                self.router.configure(router_text(self.hosts, _router_bfd(bfd), PASSWORD))
            return
        mesh = self.layout is Layout.MESH
        configuration: dict[str, object] = {"nodeToNodeMeshEnabled": mesh}
        if mesh:
            configuration["nodeMeshPassword"] = SECRET
        if "graceful" in bfd and mesh:
            configuration["nodeMeshMaxRestartTime"] = RESTART_TIME
        self.fabric.put("bgpconfigurations", "default", configuration, annotations=marks)
        if not mesh:
            reflector = "has(route-reflector)"
            for name, near in (("clients", f"!{reflector}"), ("reflectors", reflector)):
                spec = {"nodeSelector": near, "peerSelector": reflector, **more}
                self.fabric.put("bgppeers", name, spec, annotations=marks)

    def restart_router(self) -> None:
        """Kill the router's BIRD and start it again, as its supervisor would."""
        if self.router is not None:
            self.router.restart()

    @property
    def routers(self) -> list[Router]:
        """The hosts with workloads, and the rack's router if there is one."""
        return [*self.computes, *([self.router] if self.router else [])]

    def turning(self, source: Host, target: Host) -> list[Router]:
        """Return whose routes change when a workload moves: in a rack those of its source and of
        the router, through which the other hosts reach it before and after."""
        if self.router is not None:
            return [source, self.router]
        return [host for host in self.computes if host is not target]

    def leads_to(self, end: End, observer: Router, address: str) -> bool:
        """Whether an observer's route to an address of a guest leads to the guest's host."""
        way: Router = end.host
        if self.router is not None and observer is not self.router:
            way = self.router
        family = "-6" if ":" in address else "-4"
        gateways = observer.routes(family).get(address, [])
        return len(gateways) == 1 and gateways[0] in self._addresses_of(way)

    def _addresses_of(self, router: Router) -> set[str]:
        """Return all addresses on the fabric, the link-local one among them."""
        if router.name not in self._addresses:
            shown = json.loads(router.namespace.ip("-json", "address", "show", "dev", "eth0"))
            self._addresses[router.name] = {entry["local"] for entry in shown[0]["addr_info"]}
        return self._addresses[router.name]

    def set_password(self, host: Host, text: str) -> None:
        """Give a host the password of its sessions."""
        file = host.directory / "secrets" / "fabric" / "bgp"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def sessions_up(self, host: Host) -> bool:
        """Whether every session of a host that may be up is."""
        wanted = {s["name"] for s in host.status()["sessions"] if not s["disabled"]}
        return len(wanted) >= self._least_sessions(host) and wanted <= set(host.established())

    def wait_for_sessions(self, *hosts: Host) -> None:
        """Wait until all sessions of these hosts are up, of all hosts if none is named; the rack's
        router has all routes again then."""
        for host in hosts or self.hosts:
            eventually(
                lambda h=host: self.sessions_up(h),
                _SETTLING,
                f"sessions of {host.name}: {host.established()}",
            )
        if self.router is not None:
            eventually(lambda: self.router is None or self.router.recovered, _SETTLING)

    def _least_sessions(self, host: Host) -> int:
        if self.layout is Layout.TOR:
            return 2
        others = self.computes if self.layout is Layout.MESH else self.reflectors
        if host in self.reflectors:
            others = self.hosts
        return 2 * sum(other is not host for other in others)

    def plug(self, number: int, host: Host) -> End:
        """Make a guest's interface at a host."""
        guest = NetworkNamespace(f"vm{number}")
        guest.write_sysctl("net/ipv6/conf/default/dad_transmits", "0")
        veth(
            host.namespace,
            f"tap{number}",
            guest,
            "eth0",
            left_mac=f"fe:16:3e:00:00:{number:02x}",
            right_mac=mac(number),
        )
        configure(guest, number)
        self._guests.append(guest)
        return End(number, host, guest)

    def bind(self, end: End) -> None:
        """Store the endpoint of a guest at a host."""
        key = put_endpoint(self.etcd, end.number, _GROUP, host=end.host.name)
        self._keys[end.host.name, end.number] = key

    def unbind(self, end: End) -> None:
        """Remove the endpoint of a guest at a host."""
        self.etcd.delete(self._keys[end.host.name, end.number])

    def begin_migration(self, source: End, target: End) -> str:
        """Store a migration; return its key."""

        def reference(end: End) -> dict[str, dict[str, str]]:
            return {
                "workloadEndpoint": {
                    "hostname": end.host.name,
                    "orchestratorID": "openstack",
                    "workloadID": f"{_NAMESPACE}/vm{end.number}",
                    "endpointID": f"port{end.number}",
                }
            }

        spec = {"source": reference(source), "target": reference(target)}
        name = f"{target.host.name}-openstack-vm{target.number}-port{target.number}"
        return put(self.etcd, "livemigrations", name, spec, namespace=_NAMESPACE)

    def _make_reflector(self, host: Host, number: int) -> None:
        eventually(lambda: bool(self.fabric.get("nodes", host.name)), 30)
        labels = {"route-reflector": str(number)}
        self.fabric.change_node(host.name, routeReflectorClusterID="10.0.0.1", labels=labels)


def _router_bfd(annotation: str) -> Bfd | None:
    """Return what the router is to do where hosts have the annotation."""
    return Bfd(graceful="graceful" in annotation) if annotation else None


@contextlib.contextmanager
def cloud(directory: Path, layout: Layout) -> Iterator[Cloud]:
    """Run a cloud for the ``with`` block."""
    with Fabric(directory) as fabric, fabric.switch.entered():
        made = Cloud(fabric, layout)
        try:
            yield made
        finally:
            made.close()


def _start_felix(host: Host) -> Process:
    settings = {
        "EtcdEndpoints": f"http://{ETCD_ADDRESS}:2379",
        "FelixHostname": host.name,
        "InterfacePrefix": "tap",
        "EndpointReportingEnabled": "true",
        "EndpointStatusPathPrefix": str(host.directory / "run"),
        "LogFilePath": "none",
        "LogSeveritySys": "none",
        "MTUFilePath": str(host.directory / "mtu"),
        "LiveMigrationRouteConvergenceTime": str(CONVERGENCE_TIME),
    }
    file = host.directory / "felix.cfg"
    file.write_text("[global]\n" + "".join(f"{k} = {v}\n" for k, v in settings.items()))
    program = Path(sys.executable).parent / "calico-felix"
    prefix = host.namespace.command([])
    return Process([program, "-c", file], log=host.directory / "felix.log", prefix=prefix)
