"""What is left when everything is deleted: nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from calico_openstack.lab import namespaces, teardown
from calico_openstack.lab.names import daemon
from calico_openstack.lab.settings import DEFAULT_CACHE, Lab
from tests.scenario.cloud import Cloud, eventually

RESOURCES = "/calico/resources/v3/projectcalico.org/"


def test_deleting_everything_leaves_nothing(cloud: Cloud) -> None:
    workloads = [cloud.workload(name) for name in cloud.store.names()]
    addresses = {address for workload in workloads for address in workload.addresses}
    links = {workload.interface for workload in workloads}
    cloud.remove_all_but(())
    for group in ("web", "db"):
        found = cloud.neutron.find("security-groups", group)
        cloud.neutron.delete("security-groups", found["id"])
    cloud.neutron.delete("networks", cloud.neutron.find("networks", "demo")["id"])
    for host in (*cloud.hosts, "tor", "controller"):
        eventually(
            lambda host=host: not addresses & cloud.routes(host),  # type: ignore[misc]
            f"{host} has no route to what is gone",
        )
    for host in cloud.hosts:

        def traces(host: str = host) -> list[str]:
            rules = cloud.ruleset(host)
            return [trace for trace in (*addresses, *links) if trace in rules]

        eventually(lambda traces=traces: not traces(), f"the rules of {host} know none of it")  # type: ignore[misc]
        eventually(
            lambda host=host: not getattr(daemon(cloud.lab, f"dnsmasq@{host}"), "processes", ()),  # type: ignore[misc]
            f"{host} runs no dnsmasq",
        )
        assert not links & set(cloud.run(host, "ls /sys/class/net").split())

    def keys() -> list[str]:
        kept = ("/default", "/node.", "nodes/")
        policies = list(cloud.keys(RESOURCES + "networkpolicies/"))
        groups = {g["id"] for g in cloud.neutron.find_all("security-groups")}
        stale = [k for k in policies if not any(group in k for group in groups)]
        endpoints = cloud.keys(RESOURCES + "workloadendpoints/")
        statuses = [k for k in cloud.keys("/calico/felix/v2/") if "/workload/" in k]
        subnets = [k for k in cloud.keys("/calico/dhcp/") if "/subnet/" in k]
        return [k for k in (*stale, *endpoints, *statuses, *subnets) if not k.endswith(kept)]

    eventually(lambda: not keys(), "etcd keeps nothing of it")


def lab_command(lab: Lab, *arguments: str) -> list[str]:
    return [
        *(sys.executable, "-m", "calico_openstack.lab.main", "--lab", lab.name),
        *("--state", str(lab.state.parent), "--cache", str(lab.cache), *arguments),
    ]


def test_a_lab_killed_while_it_starts_can_be_removed() -> None:
    with tempfile.TemporaryDirectory(prefix="lab-") as folder:
        lab = Lab.named(f"lk{os.getpid()}", Path(folder) / "s", DEFAULT_CACHE)
        starting = subprocess.Popen(
            lab_command(lab, "up", "--hosts", "1"), stdout=subprocess.DEVNULL
        )
        try:
            eventually((lab.run / "processes.json").exists, "the first process is there")
            time.sleep(0.5)
            starting.send_signal(signal.SIGKILL)
            starting.wait()
            own = teardown.own_namespaces(lab)
            assert own
            done = subprocess.run(
                lab_command(lab, "down"), capture_output=True, text=True, timeout=60, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
        finally:
            starting.kill()
            starting.wait()
            teardown.down(lab)
        assert teardown.leftovers(lab) == []
        assert not any(namespaces.processes(name) for name in own)
        assert str(lab.state) not in running_commands()


def running_commands() -> str:
    texts = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        if path.parent.name == str(os.getpid()):
            continue
        try:
            texts.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return "\n".join(texts)
