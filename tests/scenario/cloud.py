"""What scenario tests do with a lab: boot, run, look into kernels, keep traffic going."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from calico_openstack.lab import booting, etcd_server
from calico_openstack.lab.booting import Order
from calico_openstack.lab.cloud import api, supervisor, topology_of
from calico_openstack.lab.matrix import attempt
from calico_openstack.lab.namespaces import inside
from calico_openstack.lab.neutron_api import NeutronApi
from calico_openstack.lab.probing import Attempt, Outcome
from calico_openstack.lab.processes import spawn
from calico_openstack.lab.progress import Progress
from calico_openstack.lab.rest import RestError
from calico_openstack.lab.security_groups import ICMP, TCP
from calico_openstack.lab.settings import Lab
from calico_openstack.lab.traffic import Flow, FlowReport, read_report
from calico_openstack.lab.workload import Workload, WorkloadStore

# Seconds. Only ever the end of patience, never what is tested.
SOON = 60.0


_ETCD = """
import json, sys
from calico_openstack.etcd import EtcdClient, EtcdConfig
request = json.load(sys.stdin)
client = EtcdClient(EtcdConfig(endpoints=(request["endpoint"],)))
if "put" in request:
    client.put(request["put"], request["value"].encode("latin-1"))
elif "get" in request:
    print(client.get(request["get"]).value.decode("latin-1"), end="")
else:
    client.delete(request["delete"])
client.close()
"""


def eventually(condition: Callable[[], object], what: str, timeout: float = SOON) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.1)


class Cloud:
    """A lab that is up, in the words of the tests."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.store = WorkloadStore(lab)
        self.supervisor = supervisor(lab)
        self.progress = Progress(Console(), quiet=True)
        self.hosts = [host.name for host in topology_of(lab).compute]

    @property
    def neutron(self) -> NeutronApi:
        return api(self.lab)

    def boot(self, name: str, **order: Any) -> Workload:
        return booting.boot(self.lab, Order(name=name, **order), self.progress)

    def remove_all_but(self, kept: Iterable[str]) -> None:
        for name in set(self.store.names()) - set(kept):
            booting.delete(self.lab, name)

    def workload(self, name: str) -> Workload:
        return self.store.get(name)

    def address(self, name: str, family: int) -> str:
        (found,) = [a for a in self.workload(name).addresses if (":" in a) == (family == 6)]
        return found

    def namespace(self, name: str) -> str:
        """The network namespace of a host or workload."""
        hosts = {host.name for host in topology_of(self.lab).hosts}
        return self.lab.namespace(name) if name in hosts else self.lab.workload_namespace(name)

    def run(self, where: str, command: str, *, check: bool = True) -> str:
        argv = inside(self.namespace(where), shlex.split(command))
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def reaches(
        self, source: str, target: str, port: int | None = None, *, family: int = 4
    ) -> bool:
        """Whether a TCP connection attempt, or an echo request without a port, gets through."""
        workload = self.store.find(source)
        protocol = ICMP if port is None else TCP
        tried = Attempt(self.address(target, family), protocol, port or 0, 1.5)
        (outcome,) = attempt(self.lab, source, workload, [tried])
        return outcome in {Outcome.ANSWERED, Outcome.REFUSED}

    def add_rule(self, group: str, **attributes: Any) -> str:
        identifier = self.neutron.find("security-groups", group)["id"]
        rule = {"direction": "ingress", "ethertype": "IPv4", **attributes}
        created = self.neutron.create("security-group-rules", security_group_id=identifier, **rule)
        return str(created["id"])

    def delete_rule(self, identifier: str) -> None:
        self.neutron.delete("security-group-rules", identifier)

    def routes(self, host: str) -> set[str]:
        """The destinations of all routes of a host, both families."""
        text = self.run(host, "ip -j route") or "[]"
        text6 = self.run(host, "ip -6 -j route") or "[]"
        return {route["dst"] for route in json.loads(text) + json.loads(text6)}

    def ruleset(self, host: str) -> str:
        return self.run(host, "nft list ruleset")

    def keys(self, prefix: str = "/calico/") -> list[str]:
        return etcd_server.keys(self.lab, prefix)

    def put(self, key: str, value: bytes) -> None:
        """Store a value under a key of any length."""
        self._etcd({"put": key, "value": value.decode("latin-1")})

    def value(self, key: str) -> bytes:
        """What is stored under a key."""
        return self._etcd({"get": key}).encode("latin-1")

    def delete_key(self, key: str) -> None:
        self._etcd({"delete": key})

    def _etcd(self, request: dict[str, str]) -> str:
        # A command line has no room for the longest keys that etcd takes.
        argv = inside(self.lab.namespace("controller"), [sys.executable, "-c", _ETCD])
        endpoint = etcd_server.endpoint(topology_of(self.lab))
        text = json.dumps({"endpoint": endpoint, **request})
        return subprocess.run(
            argv, input=text, text=True, check=True, timeout=60, capture_output=True
        ).stdout

    def api_answers(self) -> bool:
        return self.neutron.answers()

    def agents_alive(self) -> bool:
        try:
            agents = self.neutron.find_all("agents")
        except RestError:
            return False
        return {a["host"] for a in agents if a["alive"]} == set(self.hosts)

    def port_status(self, name: str) -> str:
        return str(self.neutron.get("ports", self.workload(name).port_id)["status"])

    @contextlib.contextmanager
    def serving(self, name: str, *ports: int) -> Iterator[None]:
        """A TCP echo server in a workload."""
        command = [sys.executable, "-m", "calico_openstack.lab.traffic", "serve"]
        with self.program(name, [*command, *map(str, ports)], "serve"):
            eventually(
                lambda: all(f":{port} " in self.run(name, "ss -Hltn") for port in ports),
                f"{name} listens on {ports}",
            )
            yield

    @contextlib.contextmanager
    def traffic(self, name: str, flows: list[Flow]) -> Iterator[Callable[[], list[FlowReport]]]:
        """Flows that go on from a workload; yields how to read their reports."""
        report = self.store.folder(name) / "traffic.json"
        report.unlink(missing_ok=True)
        command = [sys.executable, "-m", "calico_openstack.lab.traffic", "watch", str(report)]
        text = msgspec.json.encode(flows).decode()
        with self.program(name, [*command, text], "traffic"):
            eventually(
                lambda: (
                    len(read_report(report)) == len(flows)
                    and all(entry.attempts for entry in read_report(report))
                ),
                "all flows have begun",
            )
            yield lambda: read_report(report)

    def log_of(self, name: str, title: str) -> Path:
        return self.lab.logs / f"test-{title}-{name}.log"

    @contextlib.contextmanager
    def program(self, name: str, argv: list[str], title: str) -> Iterator[None]:
        log = self.log_of(name, title)
        log.unlink(missing_ok=True)
        pid = spawn(inside(self.namespace(name), argv), log=log)
        try:
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


def log_of(lab: Lab, process: str) -> str:
    path: Path = lab.log_file(process)
    return path.read_text(errors="replace") if path.exists() else ""
