"""A compute host in a namespace of its own, with the real calico-felix, and objects to feed it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from calico_openstack.etcd import EtcdClient
from tests.support.etcd import EtcdServer
from tests.support.netns import NetworkNamespace, veth
from tests.support.processes import Process, eventually
from tests.support.proxy import Proxy

PREFIX = "/calico/resources/v3/projectcalico.org/"
HOST = "compute-1"
GATEWAY = "10.65.0.254"


def put(etcd: EtcdClient, plural: str, name: str, spec: Mapping[str, Any], **metadata: Any) -> str:
    """Store a resource; a ``namespace`` in *metadata* becomes part of the key, which is returned.

    The kind is not checked by readers of the key, and not written.
    """
    namespace = metadata.get("namespace")
    key = f"{PREFIX}{plural}/{namespace}/{name}" if namespace else f"{PREFIX}{plural}/{name}"
    etcd.put(key, json.dumps({"metadata": {"name": name, **metadata}, "spec": spec}).encode())
    return key


def declare_ready(etcd: EtcdClient, ready: bool = True) -> None:
    """Say that the datastore may be used."""
    spec = {"clusterType": "openstack", "datastoreReady": ready}
    put(etcd, "clusterinformations", "default", spec)


def put_endpoint(
    etcd: EtcdClient,
    number: int,
    *groups: str,
    host: str = HOST,
    annotations: Mapping[str, str] | None = None,
    **changes: Any,
) -> str:
    """Store the endpoint of workload *number*, a member of security *groups*; return its key."""
    spec = {
        "orchestrator": "openstack",
        "node": host,
        "workload": f"vm{number}",
        "endpoint": f"port{number}",
        "interfaceName": f"tap{number}",
        "mac": mac(number),
        "ipNetworks": [f"10.65.0.{number}/32", f"fd00::{number}/128"],
        **changes,
    }
    name = f"{host.replace('-', '--')}-openstack-vm{number}-port{number}"
    labels = {f"sg.projectcalico.org/openstack-{group}": "" for group in groups}
    # Namespaced policies select by it.
    labels["projectcalico.org/namespace"] = "openstack"
    metadata = {"namespace": "openstack", "labels": labels, "annotations": annotations or {}}
    return put(etcd, "workloadendpoints", name, spec, **metadata)


def put_group(
    etcd: EtcdClient, group: str, ingress: Sequence[Mapping[str, Any]], *, egress: bool = True
) -> str:
    """Store the policy of a security group that allows *ingress* and all or no egress."""
    spec = {
        "order": 1000,
        "selector": f"has(sg.projectcalico.org/openstack-{group})",
        "types": ["Ingress", "Egress"],
        "ingress": list(ingress),
        "egress": [{"action": "Allow"}] if egress else [],
    }
    name = f"ossg.default.{group}"
    return put(etcd, "networkpolicies", name, spec, namespace="openstack")


def allow(protocol: str, port: int | None = None, group: str = "", version: int = 4) -> Any:
    """Return a rule that allows *protocol* [to *port*] [from members of *group*]."""
    rule: dict[str, Any] = {"action": "Allow", "protocol": protocol, "ipVersion": version}
    if port is not None:
        rule["destination"] = {"ports": [port]}
    if group:
        rule["source"] = {"selector": f"has(sg.projectcalico.org/openstack-{group})"}
    return rule


def mac(number: int) -> str:
    """Return the MAC address of workload *number*."""
    return f"fa:16:3e:00:00:{number:02x}"


def status_path(number: int, host: str = HOST) -> str:
    """Return the key of the status of workload *number*."""
    prefix = f"/calico/felix/v2/no-region/host/{host}/workload"
    return f"{prefix}/openstack/openstack%2fvm{number}/endpoint/port{number}"


class FelixHost:
    """A compute host: a namespace with a bridge to etcd, an uplink, workloads, and Felix."""

    def __init__(
        self,
        make_namespace: Callable[[str], NetworkNamespace],
        server: EtcdServer,
        directory: Path,
        name: str = HOST,
    ) -> None:
        self.name = name
        self.directory = directory
        self._make_namespace = make_namespace
        self.namespace = make_namespace("host")
        # An uplink: proxy ARP answers only for what is routed to another interface.
        self.namespace.ip("link", "add", "eth0", "type", "veth", "peer", "name", "eth1")
        for each in ("eth0", "eth1"):
            self.namespace.ip("link", "set", each, "up")
        self.namespace.ip("addr", "add", "192.0.2.1/24", "dev", "eth0")
        self.namespace.ip("route", "add", "default", "via", "192.0.2.254")
        self.namespace.write_sysctl("net/ipv6/conf/default/dad_transmits", "0")
        with self.namespace.entered():
            self.etcd_way = Proxy(server.client_port)
        self.etcd_way.start()
        self.process: Process | None = None
        self.settings = {
            "EtcdEndpoints": self.etcd_way.endpoint,
            "FelixHostname": name,
            "InterfacePrefix": "tap",
            "EndpointReportingEnabled": "true",
            "EndpointStatusPathPrefix": str(directory / "run"),
            "LogFilePath": "none",
            "MTUFilePath": str(directory / "mtu"),
        }

    def close(self) -> None:
        """Stop everything."""
        if self.process is not None:
            self.process.stop()
        self.etcd_way.close()

    def start(self, *, wait: bool = True, wrapper: Sequence[str] = ()) -> Process:
        """Start Felix, behind the command *wrapper*; wait until the kernel is programmed."""
        file = self.directory / "felix.cfg"
        file.write_text("[global]\n" + "".join(f"{k} = {v}\n" for k, v in self.settings.items()))
        log = self.directory / "felix.log"
        log.write_text("")
        program = Path(sys.executable).parent / "calico-felix"
        prefix = ("ip", "netns", "exec", self.namespace.name, *wrapper)
        self.process = Process([program, "-c", file], log=log, prefix=prefix)
        if wait:
            self.wait_programmed()
        return self.process

    def wait_programmed(self) -> int:
        """Wait for the first complete programming; return the number of writes that it took."""
        process = self.process
        assert process is not None
        process.wait_until(lambda: "The kernel is programmed" in process.output(), "programming")
        found = re.search(r'The kernel is programmed.* writes="(\d+)"', process.output())
        assert found is not None
        return int(found[1])

    def logged(self, text: str) -> bool:
        """Return whether Felix has logged *text*."""
        return self.process is not None and text in self.process.output()

    def plug(self, number: int, *, up: bool = True) -> NetworkNamespace:
        """Plug a workload as Nova would, configured as DHCP would; return its namespace."""
        workload = self._make_namespace(f"vm{number}")
        veth(
            self.namespace,
            f"tap{number}",
            workload,
            "eth0",
            left_mac=f"fe:16:3e:00:00:{number:02x}",
            right_mac=mac(number),
            up=up,
        )
        if up:
            configure(workload, number)
        return workload

    def unplug(self, number: int) -> None:
        """Remove a workload's interface."""
        self.namespace.ip("link", "del", f"tap{number}")

    def ruleset(self) -> str:
        """Return the host's nftables rules."""
        return self.namespace.run("nft", "list", "ruleset").stdout

    def routes(self) -> str:
        """Return the host's routes over workload interfaces."""
        both = self.namespace.ip("route") + self.namespace.ip("-6", "route")
        lines = [line for line in both.splitlines() if "tap" in line and "fe80::" not in line]
        return "\n".join(lines)


def configure(workload: NetworkNamespace, number: int) -> None:
    """Give a workload its addresses and routes."""
    workload.ip("addr", "add", f"10.65.0.{number}/24", "dev", "eth0")
    workload.ip("route", "add", "default", "via", GATEWAY)
    workload.ip("addr", "add", f"fd00::{number}/128", "dev", "eth0", "nodad")
    # Every interface answers for the host's link-local address of its own.
    router = f"fe80::fc16:3eff:fe00:{number:x}"
    workload.ip("-6", "route", "add", "default", "via", router, "dev", "eth0")


def pings(source: NetworkNamespace, number: int, *, ipv6: bool = False) -> bool:
    """Return whether a ping from *source* to workload *number* is answered."""
    target = f"fd00::{number}" if ipv6 else f"10.65.0.{number}"
    command = ("ping", "-6" if ipv6 else "-4", "-c1", "-W1", target)
    return source.run(*command, check=False).returncode == 0


def wait_pings(
    source: NetworkNamespace, number: int, expected: bool = True, *, ipv6: bool = False
) -> None:
    """Wait until pings are answered, or no longer are."""
    eventually(lambda: pings(source, number, ipv6=ipv6) == expected, 20, f"ping: {expected}")


_SERVE = """
import socket, sys
listener = socket.create_server(("", int(sys.argv[1])))
print("ready", flush=True)
held = [listener.accept() for _ in range(100)]
"""
_CONNECT = """
import socket, sys, time
connection = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=10)
time.sleep(600)
"""


def listen(workload: NetworkNamespace, port: int, log: Path) -> Process:
    """Accept TCP connections in a workload and keep them open."""
    prefix = workload.command(())
    process = Process([sys.executable, "-c", _SERVE, str(port)], log=log, prefix=prefix)
    process.wait_until(lambda: "ready" in process.output(), "listener")
    return process


def connect(workload: NetworkNamespace, number: int, port: int, log: Path) -> Process:
    """Open a TCP connection to workload *number* and keep it open."""
    arguments = [sys.executable, "-c", _CONNECT, f"10.65.0.{number}", str(port)]
    return Process(arguments, log=log, prefix=workload.command(()))
