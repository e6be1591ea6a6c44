"""A compute host in a namespace with etcd and the real agent, and workloads behind its TAPs."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from calico_openstack.datamodel.keys import workload_endpoint_name
from calico_openstack.dhcp.files import read_file
from tests.support.etcd import EtcdServer
from tests.support.netns import NetworkNamespace, veth
from tests.support.processes import Process, eventually

AGENT = Path(__file__).parents[2] / ".venv/bin/calico-dhcp-agent"
HOST_NAME = "compute-1"
SUBNETS = "/calico/dhcp/v2/no-region/subnet/"
ENDPOINTS = "/calico/resources/v3/projectcalico.org/workloadendpoints/openstack/"
_FOLDER = re.compile(r"t(\d+)-dhcp-")

UDHCPC_SCRIPT = """\
#!/bin/sh
case "$1" in
deconfig) busybox ip -4 addr flush dev $interface ;;
bound|renew)
    busybox ip addr replace $ip/32 dev $interface
    printf '%s\\n' "ip=$ip" "mask=$mask" "router=$router" "dns=$dns" "routes=$staticroutes" \\
        "mtu=$mtu" "lease=$lease" "server=$serverid" "hostname=$hostname" "domain=$domain" \\
        "event=$1" > OUTPUT.new
    mv OUTPUT.new OUTPUT ;;
esac
"""

DHCLIENT_SCRIPT = """\
#!/bin/sh
case "$reason" in
BOUND6|RENEW6|REBIND6) ip -6 addr replace $new_ip6_address/128 dev $interface ;;
EXPIRE6|RELEASE6|STOP6) ip -6 addr del $old_ip6_address/128 dev $interface ;;
esac
env | sed -n 's/^new_//p' > OUTPUT.new
echo "reason=$reason" >> OUTPUT.new
mv OUTPUT.new OUTPUT
exit 0
"""


def sweep_stale() -> None:
    """End dnsmasq processes and remove folders of test runs that no longer live."""
    for folder in Path(tempfile.gettempdir()).iterdir():
        match = _FOLDER.match(folder.name)
        if match and not Path(f"/proc/{match[1]}").exists():
            for pid in dnsmasq_below(folder):
                os.kill(pid, signal.SIGKILL)
            shutil.rmtree(folder, ignore_errors=True)


def dnsmasq_below(folder: Path) -> list[int]:
    """Return the dnsmasq processes whose configuration lies below *folder*."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            line = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if line[0] == b"dnsmasq" and str(folder).encode() in line[1]:
            found.append(int(process.name))
    return found


@dataclass
class Workload:
    """A namespace behind a TAP of the host, and its port in the datastore."""

    host: Host
    network_id: str
    addresses: Sequence[str]
    mac: str
    port_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    device_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    namespace: NetworkNamespace | None = None

    @property
    def tap(self) -> str:
        """The interface on the host."""
        return "tap" + self.port_id[:11]

    @property
    def key(self) -> str:
        """The endpoint's key."""
        return ENDPOINTS + workload_endpoint_name(
            HOST_NAME, "openstack", self.device_id, self.port_id
        )

    @property
    def inside(self) -> NetworkNamespace:
        """The workload's namespace."""
        assert self.namespace is not None
        return self.namespace

    def put(
        self,
        fqdn: str = "",
        allowed: Sequence[str] = (),
        mac: str = "",
        options: Sequence[tuple[str, str, int]] = (),
    ) -> None:
        """Write the endpoint; *options* are names, values and IP versions."""
        annotations = {"openstack.projectcalico.org/network-id": self.network_id}
        if fqdn:
            annotations["openstack.projectcalico.org/fqdn"] = fqdn
        if options:
            annotations["openstack.projectcalico.org/extra-dhcp-opts"] = json.dumps(
                [{"name": name, "value": value, "ipVersion": v} for name, value, v in options]
            )
        endpoint = {
            "kind": "WorkloadEndpoint",
            "apiVersion": "projectcalico.org/v3",
            "metadata": {
                "name": self.key.removeprefix(ENDPOINTS),
                "namespace": "openstack",
                "annotations": annotations,
            },
            "spec": {
                "orchestrator": "openstack",
                "workload": self.device_id,
                "node": HOST_NAME,
                "endpoint": self.port_id,
                "interfaceName": self.tap,
                "mac": mac or self.mac,
                "ipNetworks": [_single(a) for a in (*self.addresses, *allowed)],
                "allowedIps": [_single(a) for a in allowed],
            },
        }
        self.host.put(self.key, endpoint)

    def delete(self) -> None:
        """Delete the endpoint; the interface stays."""
        self.host.etcd_run("del", self.key)

    def plug(self, mtu: int = 1500) -> None:
        """Connect a namespace, with what Felix does to the interface and for the addresses."""
        host = self.host.namespace
        self.namespace = NetworkNamespace("vm")
        veth(host, self.tap, self.namespace, "eth0", right_mac=self.mac, up=False)
        host.ip("link", "set", self.tap, "mtu", str(mtu), "up")
        host.write_sysctl(f"net/ipv4/conf/{self.tap}/proxy_arp", "1")
        host.write_sysctl(f"net/ipv4/neigh/{self.tap}/proxy_delay", "0")
        host.write_sysctl(f"net/ipv6/conf/{self.tap}/accept_ra", "0")
        for address in self.addresses:
            host.ip("route", "replace", _single(address), "dev", self.tap)
        # A real guest waits for duplicate address detection; here it would only cost time.
        self.namespace.write_sysctl("net/ipv6/conf/eth0/accept_dad", "0")
        self.namespace.write_sysctl("net/ipv6/conf/eth0/router_solicitation_delay", "0")
        self.namespace.write_sysctl("net/ipv6/conf/eth0/router_solicitation_interval", "1")
        self.namespace.ip("link", "set", "eth0", "up")

    def unplug(self) -> None:
        """Remove the namespace, and the interface with it."""
        if self.namespace is not None:
            self.host.namespace.ip("link", "del", self.tap)
            self.namespace.delete()
            self.namespace = None

    def dhcp(self, *options: str, timeout: int = 15) -> dict[str, str]:
        """Ask by busybox's client once; return what it was told, nothing without an answer."""
        output = self._script("udhcpc", UDHCPC_SCRIPT)
        self.inside.run(
            *("busybox", "udhcpc", "-i", "eth0", "-f", "-q", "-n", "-A", "1", "-T", "1"),
            *("-t", str(timeout), "-s", str(output.with_suffix(".sh"))),
            *("-O", "mtu", "-O", "121", "-O", "domain", "-O", "hostname", *options),
            check=False,
            timeout=timeout + 30,
        )
        return _pairs(output)

    def dhcp_client(self) -> DhcpClient:
        """Start busybox's client, which stays."""
        output = self._script("udhcpc", UDHCPC_SCRIPT)
        process = Process(
            [
                *("busybox", "udhcpc", "-i", "eth0", "-f", "-A", "1", "-T", "1"),
                *("-s", output.with_suffix(".sh"), "-O", "mtu", "-O", "121"),
            ],
            log=output.with_suffix(".log"),
            prefix=self.inside.command(()),
        )
        self.host.clients.append(process)
        return DhcpClient(process, output)

    def dhclient(self, *options: str, request: str = "", timeout: int = 15) -> dict[str, str]:
        """Ask by ISC's client, which starts without memory; return what it was told.

        Options are "-6" and what belongs to it; *request* is what it asks for (dhclient.conf(5)).
        """
        output = self._script(f"dhclient-{uuid.uuid4().hex[:6]}", DHCLIENT_SCRIPT)
        if request:
            output.with_suffix(".conf").write_text(f"request {request};\n")
            options = (*options, "-cf", str(output.with_suffix(".conf")))
        process = Process(
            [
                *("dhclient", "-d", "-1", "-lf", output.with_suffix(".leases")),
                *("-pf", output.with_suffix(".pid"), "-sf", output.with_suffix(".sh")),
                *(*options, "eth0"),
            ],
            log=output.with_suffix(".log"),
            prefix=self.inside.command(()),
        )
        self.host.clients.append(process)
        final = {"BOUND", "BOUND6"}
        eventually(
            lambda: _pairs(output).get("reason") in final or not process.running,
            timeout,
            f"an answer for dhclient: {process.output()}",
        )
        process.kill()
        return _pairs(output)

    def routers(self) -> str:
        """Return what the routers on the link say of themselves."""
        return self.inside.run("rdisc6", "-1", "eth0", check=False).stdout

    def _script(self, name: str, script: str) -> Path:
        output = self.host.folder / f"{self.port_id[:8]}-{name}"
        output.unlink(missing_ok=True)
        path = output.with_suffix(".sh")
        path.write_text(script.replace("OUTPUT", str(output)))
        path.chmod(0o755)
        return output


@dataclass
class DhcpClient:
    """A running client and what it was told last."""

    process: Process
    output: Path

    @property
    def told(self) -> dict[str, str]:
        """What it was told last; nothing before its first lease."""
        return _pairs(self.output)

    def renew(self) -> None:
        """Renew the lease now, by unicast."""
        self.output.unlink(missing_ok=True)
        self.process.signal(signal.SIGUSR1)


class Host:
    """A compute host with its own etcd."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"t{os.getpid()}-dhcp-"))
        self.folder.chmod(0o755)
        self.namespace = NetworkNamespace("host")
        self.workloads: list[Workload] = []
        self.clients: list[Process] = []
        self.agent: Process | None = None
        self.settings: dict[str, str] = {}
        # A host has a route out; proxy ARP answers for nothing else.
        self.namespace.ip("link", "add", "uplink", "type", "bridge")
        self.namespace.ip("address", "add", "192.0.2.2/24", "dev", "uplink")
        self.namespace.ip("link", "set", "uplink", "up")
        self.namespace.ip("route", "add", "default", "via", "192.0.2.1")
        self.namespace.write_sysctl("net/ipv4/ip_forward", "1")
        self.namespace.write_sysctl("net/ipv6/conf/all/forwarding", "1")
        self.etcd = EtcdServer(self.folder / "etcd")
        with self.namespace.entered():
            self.etcd.start()

    @property
    def run_folder(self) -> Path:
        """Where dnsmasq's files are."""
        return self.folder / "run" / "dhcp"

    def start_agent(self, **settings: str) -> None:
        """Start the agent."""
        self.settings.update(settings)
        lines = {
            "EtcdEndpoints": self.etcd.endpoint,
            "Hostname": HOST_NAME,
            "RunDirectory": str(self.folder / "run"),
            **self.settings,
        }
        file = self.folder / "dhcp-agent.cfg"
        file.write_text("".join(f"{name} = {value}\n" for name, value in lines.items()))
        self.agent = Process(
            [AGENT, "-c", file], log=self.folder / "agent.log", prefix=self.namespace.command(())
        )

    def etcd_run(self, *arguments: str) -> str:
        """Run etcdctl."""
        with self.namespace.entered():
            return self.etcd.etcdctl(*arguments)

    def put(self, key: str, value: Any) -> None:
        """Write a value, as JSON unless it is text."""
        self.etcd_run("put", "--", key, value if isinstance(value, str) else json.dumps(value))

    def put_subnet(self, network_id: str, cidr: str, subnet_id: str = "", **more: Any) -> str:
        """Write a DHCP subnet; return its identifier."""
        subnet_id = subnet_id or str(uuid.uuid4())
        value: dict[str, Any] = {
            "network_id": network_id,
            "cidr": cidr,
            "host_routes": [],
            "gateway_ip": None,
        }
        self.put(SUBNETS + subnet_id, {**value, **more})
        return subnet_id

    def workload(self, network_id: str, *addresses: str, mac: str = "") -> Workload:
        """Make a workload, plugged and in the datastore."""
        number = len(self.workloads) + 1
        workload = Workload(self, network_id, addresses, mac or f"fa:16:3e:00:00:{number:02x}")
        self.workloads.append(workload)
        workload.plug()
        workload.put()
        return workload

    def pids(self, network_id: str = "") -> Mapping[str, int]:
        """Return dnsmasq's process ids by role, of one network."""
        found = {}
        for file in (self.run_folder / network_id).glob("*.ready"):
            # Empty for a moment while dnsmasq writes it, and gone in the next when it ends.
            pid = (read_file(file) or "").strip()
            if pid and Path(f"/proc/{pid}").exists():
                found[file.name.partition("-")[0]] = int(pid)
        return found

    def wait_for(self, network_id: str, *roles: str) -> Mapping[str, int]:
        """Wait until exactly these processes serve a network."""
        eventually(
            lambda: set(self.pids(network_id)) == set(roles),
            15,
            lambda: f"{roles} of {network_id}: {self.pids(network_id)}\n{self.log}",
        )
        return self.pids(network_id)

    @property
    def log(self) -> str:
        """The agent's log."""
        return self.agent.output() if self.agent else ""

    def close(self) -> None:
        """End and remove everything."""
        for client in self.clients:
            client.kill()
        if self.agent is not None:
            self.agent.stop()
        for pid in dnsmasq_below(self.folder):
            os.kill(pid, signal.SIGKILL)
        self.etcd.stop()
        for workload in self.workloads:
            workload.unplug()
        self.namespace.delete()
        shutil.rmtree(self.folder, ignore_errors=True)


def _single(address: str) -> str:
    return f"{address}/{128 if ':' in address else 32}"


def _pairs(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return {}
    return dict(line.split("=", 1) for line in lines if "=" in line)
