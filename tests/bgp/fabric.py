"""A small network for BGP tests: hosts with the real agent and BIRD, one switch, one etcd.

Every host is a network namespace on one bridge, 10.77.0.0/24 and fd77::/64. etcd runs in the
bridge's namespace, where every host reaches it. The agents leave their BIRDs running by design, so
the fabric ends those itself, and the next test run ends those of one that was killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from calico_openstack.bgp.extras import DOMAIN
from calico_openstack.bgp.service import installed_version
from calico_openstack.bgp.version import OLDEST_SUPPORTED
from tests.bgp.workload import Workload
from tests.support.netns import NETNS_DIRECTORY, NetworkNamespace, veth
from tests.support.processes import Process, eventually

ETCD_ADDRESS = "10.77.0.250"
PREFIX = "/calico/resources/v3/projectcalico.org"
CONVERGENCE = 30.0


BIRD = installed_version("bird") or OLDEST_SUPPORTED
"""The version of the BIRD that tests run."""


def bird_3() -> bool:
    """Whether the installed BIRD is 3 or newer."""
    return BIRD.major >= 3


def birdc(control: Path, *command: str) -> str:
    """Ask a BIRD; return its words, or an empty text if it does not answer."""
    result = subprocess.run(
        ["birdc", "-s", str(control), *command],
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )
    return result.stdout


def bird_routes(namespace: NetworkNamespace, family: str) -> dict[str, list[str]]:
    """Return the gateways of BIRD's routes in a kernel, by destination."""
    found = json.loads(namespace.ip("-json", family, "route", "show", "proto", "bird"))
    return {
        route["dst"]: sorted(
            hop["gateway"] for hop in route.get("nexthops", [route]) if "gateway" in hop
        )
        for route in found
    }


class Host:
    """A compute host."""

    def __init__(self, fabric: Fabric, number: int) -> None:
        self.name = f"host{number}"
        self.number = number
        self.ipv4 = f"10.77.0.{number}"
        self.ipv6 = f"fd77::{number}"
        self.directory = fabric.directory / self.name
        self.directory.mkdir()
        self.namespace = fabric.attach(self.name, self.ipv4, self.ipv6)
        self.port = fabric.newest_port
        self.agent: Process | None = None
        self.settings = {
            "Hostname": self.name,
            "EtcdEndpoints": f"http://{ETCD_ADDRESS}:2379",
            "StateDirectory": str(self.directory),
            "RunDirectory": str(self.directory),
            "SecretsDirectory": str(self.directory / "secrets"),
            "BirdLogFile": str(self.directory / "bird.log"),
            "LogSeverityScreen": "Debug",
        }

    def start_agent(self) -> None:
        """Start the agent with the host's settings."""
        file = self.directory / "bgp-agent.cfg"
        text = "".join(f"{name} = {value}\n" for name, value in self.settings.items())
        file.write_text("[global]\n" + text)
        self.agent = Process(
            [Path(sys.executable).with_name("calico-bgp-agent"), "-c", file],
            log=self.directory / "agent.log",
            prefix=self.namespace.command([]),
        )

    @property
    def bird_pid(self) -> int:
        """BIRD's process id, 0 if it has never run."""
        with contextlib.suppress(OSError, ValueError):
            return int((self.directory / "bird.process").read_text().split(" ", 1)[0])
        return 0

    @property
    def bird_runs(self) -> bool:
        return bool(self.bird_pid) and Path(f"/proc/{self.bird_pid}/cmdline").exists()

    def kill_bird(self) -> None:
        """End BIRD by SIGKILL."""
        os.kill(self.bird_pid, signal.SIGKILL)

    def stop_bird(self) -> None:
        """Have BIRD hang (SIGSTOP)."""
        os.kill(self.bird_pid, signal.SIGSTOP)

    def status(self) -> dict[str, Any]:
        """Return the agent's status file; what it would say of nothing if it is not there yet."""
        nothing = {"alarm": "", "registrationFaults": [], "sessions": [], "problems": []}
        with contextlib.suppress(FileNotFoundError):
            return nothing | json.loads((self.directory / "bgp-status.json").read_text())
        return nothing

    def birdc(self, *command: str) -> str:
        """Ask BIRD; return its words, or an empty text if it does not answer."""
        return birdc(self.directory / "bird.ctl", *command)

    def established(self) -> dict[str, str]:
        """Return since when each BGP session has been up, by name."""
        rows = re.findall(
            r"^(\S+)\s+BGP\s+\S+\s+up\s+(\S+)\s+Established",
            self.birdc("show", "protocols"),
            re.MULTILINE,
        )
        return dict(rows)

    def routes(self, family: str = "-4") -> dict[str, list[str]]:
        """Return the gateways of BIRD's routes in the kernel, by destination."""
        return bird_routes(self.namespace, family)

    def wait_for_sessions(self, *names: str) -> None:
        """Wait until exactly these sessions are established."""
        eventually(
            lambda: set(self.established()) == set(names),
            CONVERGENCE,
            f"sessions of {self.name}: {self.established()}, not {sorted(names)}",
        )

    def wait_for_route(self, destination: str, *gateways: str) -> None:
        """Wait until BIRD's route leads to the gateways; without any, until there is none."""
        family = "-6" if ":" in destination else "-4"
        wanted = sorted(gateways) or None
        eventually(
            lambda: self.routes(family).get(destination) == wanted,
            CONVERGENCE,
            f"route of {self.name} to {destination} via {wanted}",
        )

    def wait_for_ways(self, destination: str, *gateways: str) -> None:
        """Wait until BIRD's route leads to all of the gateways, whose paths are equally good.

        A BIRD that cannot merge paths takes one of them.
        """
        family = "-6" if ":" in destination else "-4"

        def there() -> bool:
            found = self.routes(family).get(destination, [])
            if bird_3():
                return len(found) == 1 and found[0] in gateways
            return found == sorted(gateways)

        eventually(there, CONVERGENCE, f"route of {self.name} to {destination} via {gateways}")

    def stop(self) -> None:
        """End the agent and its BIRD."""
        if self.agent is not None and self.agent.running:
            self.agent.kill()
        if self.bird_runs:
            self.kill_bird()


class Fabric:
    """The network with its etcd; a context manager."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.switch = NetworkNamespace("switch")
        self._namespaces = [self.switch]
        self.hosts: list[Host] = []
        self._workloads: list[Workload] = []
        self.processes: list[Process] = []
        self.switch.ip("link", "add", "br0", "type", "bridge")
        self.switch.ip("link", "set", "br0", "up")
        self.switch.ip("address", "add", f"{ETCD_ADDRESS}/24", "dev", "br0")
        self.start_etcd()

    def __enter__(self) -> Fabric:
        return self

    def __exit__(self, *_: object) -> None:
        for host in self.hosts:
            host.stop()
        for process in self.processes:
            process.kill()
        for namespace in [*(w.namespace for w in self._workloads), *reversed(self._namespaces)]:
            namespace.delete()

    def attach(self, label: str, ipv4: str, ipv6: str) -> NetworkNamespace:
        """Return a new namespace that is connected to the switch and forwards."""
        namespace = NetworkNamespace(label)
        self._namespaces.append(namespace)
        veth(self.switch, f"port{len(self._namespaces)}", namespace, "eth0")
        self.switch.ip("link", "set", f"port{len(self._namespaces)}", "master", "br0")
        namespace.ip("address", "add", f"{ipv4}/24", "dev", "eth0")
        namespace.ip("address", "add", f"{ipv6}/64", "dev", "eth0", "nodad")
        namespace.write_sysctl("net/ipv4/ip_forward", "1")
        namespace.write_sysctl("net/ipv6/conf/all/forwarding", "1")
        return namespace

    @property
    def newest_port(self) -> str:
        """The switch's port to the namespace that was attached last."""
        return f"port{len(self._namespaces)}"

    def cut(self, host: Host) -> None:
        """Have the switch pass nothing to and from a host, whose link stays up."""
        self.switch.ip("link", "set", host.port, "nomaster")

    def mend(self, host: Host) -> None:
        """Connect a host again."""
        self.switch.ip("link", "set", host.port, "master", "br0")

    def attach_beyond(self, router: NetworkNamespace, ipv4: str, ipv6: str) -> NetworkNamespace:
        """Return a namespace behind a router: ``.1`` is the router, ``.2`` is the namespace."""
        beyond = NetworkNamespace("outside")
        self._namespaces.append(beyond)
        veth(router, "eth1", beyond, "eth0")
        for namespace, name, number in ((router, "eth1", 1), (beyond, "eth0", 2)):
            namespace.ip("address", "add", f"{ipv4}.{number}/24", "dev", name)
            namespace.ip("address", "add", f"{ipv6}::{number}/64", "dev", name, "nodad")
        beyond.ip("-4", "route", "add", "default", "via", f"{ipv4}.1")
        beyond.ip("-6", "route", "add", "default", "via", f"{ipv6}::1")
        return beyond

    def add_hosts(self, count: int) -> list[Host]:
        """Return new hosts; their agents are not started yet."""
        first = len(self.hosts) + 1
        new = [Host(self, number) for number in range(first, first + count)]
        self.hosts += new
        return new

    def workload(
        self, host: Host, number: int, protocol: str = "boot", *, routed: bool = True
    ) -> Workload:
        """Return a new workload on a host; its host has no routes to it unless *routed*."""
        self._workloads.append(Workload(host, number, protocol, routed=routed))
        return self._workloads[-1]

    def put(self, plural: str, name: str, spec: dict[str, Any], **metadata: Any) -> None:
        """Store a resource."""
        kinds = {
            "bgppeers": "BGPPeer",
            "bgpconfigurations": "BGPConfiguration",
            "bgpfilters": "BGPFilter",
            "caliconodestatuses": "CalicoNodeStatus",
        }
        resource = {
            "kind": kinds[plural],
            "apiVersion": "projectcalico.org/v3",
            "metadata": {"name": name, **metadata},
            "spec": spec,
        }
        self.put_raw(f"{PREFIX}/{plural}/{name}", json.dumps(resource))

    def put_raw(self, key: str, value: str) -> None:
        """Store anything."""
        self.etcdctl("put", key, value)

    def get(self, plural: str, name: str) -> dict[str, Any]:
        """Return a stored resource, empty if there is none."""
        value = self.etcdctl("get", "--print-value-only", f"{PREFIX}/{plural}/{name}")
        return json.loads(value) if value.strip() else {}

    def delete(self, plural: str, name: str) -> None:
        """Remove a resource."""
        self.etcdctl("del", f"{PREFIX}/{plural}/{name}")

    def annotate_node(self, name: str, **annotations: str | None) -> None:
        """Set annotations of the agent's domain on a Node; None takes one away."""
        node = self.get("nodes", name)
        present = node["metadata"].setdefault("annotations", {})
        for word, text in annotations.items():
            present.pop(DOMAIN + word, None)
            if text is not None:
                present[DOMAIN + word] = text
        self.put_raw(f"{PREFIX}/nodes/{name}", json.dumps(node))

    def change_node(self, name: str, **bgp: Any) -> None:
        """Change members of a Node's BGP part, and its labels, as an operator does."""
        node = self.get("nodes", name)
        labels = bgp.pop("labels", None)
        if labels:
            node["metadata"]["labels"] = labels
        node["spec"]["bgp"] |= bgp
        self.put_raw(f"{PREFIX}/nodes/{name}", json.dumps(node))

    def etcdctl(self, *arguments: str) -> str:
        """Run etcd's own tool; return its output."""
        endpoint = f"--endpoints=http://{ETCD_ADDRESS}:2379"
        command = ["env", "ETCDCTL_API=3", "etcdctl", endpoint, *arguments]
        return self.switch.run(*command).stdout

    def bird(self, namespace: NetworkNamespace, name: str, text: str) -> Path:
        """Run a BIRD without agent; return its control socket."""
        file = self.directory / f"{name}.conf"
        file.write_text(text)
        control = self.directory / f"{name}.ctl"
        arguments = ["bird", "-f", "-c", file, "-s", control, "-P", self.directory / f"{name}.pid"]
        log = self.directory / f"{name}.log"
        process = Process(arguments, log=log, prefix=namespace.command([]))
        self.processes.append(process)
        process.wait_until(control.exists, "control socket")
        return control

    def start_etcd(self) -> None:
        """Start etcd, with what it had if it has run before."""
        url = f"http://{ETCD_ADDRESS}:2379"
        self.etcd = Process(
            [
                "etcd", "--name=fabric", "--logger=zap",
                f"--data-dir={self.directory / 'etcd'}",
                f"--log-outputs={self.directory / 'etcd.log'}",
                f"--listen-client-urls={url}", f"--advertise-client-urls={url}",
                "--listen-peer-urls=http://127.0.0.1:2380",
            ],
            log=self.directory / "etcd-output.log",
            prefix=self.switch.command([]),
        )  # fmt: skip
        self.processes.append(self.etcd)
        self.etcd.wait_until(self._etcd_answers, "etcd")

    def _etcd_answers(self) -> bool:
        command = ["env", "ETCDCTL_API=3", "etcdctl", f"--endpoints=http://{ETCD_ADDRESS}:2379"]
        return self.switch.run(*command, "get", "x", check=False).returncode == 0


def end_leftovers() -> None:
    """End what runs in the namespaces of test processes that no longer live."""
    if not NETNS_DIRECTORY.is_dir():
        return
    for entry in NETNS_DIRECTORY.iterdir():
        match = re.match(r"t(\d+)-", entry.name)
        if match and not Path(f"/proc/{match[1]}").exists():
            listed = subprocess.run(
                ["ip", "netns", "pids", entry.name], capture_output=True, text=True, check=False
            )
            for pid in listed.stdout.split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
