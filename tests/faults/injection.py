"""How each fault of the guide is made, and undone again."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from calico_openstack.lab import etcd_server
from calico_openstack.lab.cloud import topology_of
from calico_openstack.lab.namespaces import inside
from calico_openstack.lab.traffic import Flow, FlowKind
from tests.scenario.cloud import Cloud

RESOURCES = "/calico/resources/v3/projectcalico.org/"
Injection = Callable[[Cloud], contextlib.AbstractContextManager[None]]
INJECTIONS: dict[str, Injection] = {}

_KNOCK = """
import socket, sys, time
while True:
    with socket.socket() as s:
        s.settimeout(0.5)
        if len(sys.argv) > 3:
            s.bind((sys.argv[3], 0))
        try:
            s.connect((sys.argv[1], int(sys.argv[2])))
        except OSError:
            pass
    time.sleep(0.3)
"""


def fault(title: str) -> Callable[[Callable[[Cloud], Iterator[None]]], None]:
    """Take up how the fault of a section of the guide is made."""

    def take(make: Callable[[Cloud], Iterator[None]]) -> None:
        INJECTIONS[title] = contextlib.contextmanager(make)

    return take


def calicoctl(cloud: Cloud, *words: str, environment: Mapping[str, str] | None = None) -> str:
    """Return what a command prints, on both its outputs."""
    endpoint = etcd_server.endpoint(topology_of(cloud.lab))
    program = str(Path(sys.executable).parent / "calicoctl")
    done = subprocess.run(
        inside(cloud.lab.namespace("controller"), [program, *words]),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "ETCD_ENDPOINTS": endpoint, **(environment or {})},
    )
    return done.stdout


def tap(cloud: Cloud, name: str) -> str:
    """Return the interface of a workload on its host."""
    return f"tap{cloud.workload(name).port_id[:11]}"


def knocking(cloud: Cloud, name: str, *words: str) -> contextlib.AbstractContextManager[None]:
    """A workload tries to connect again and again: address, port, and maybe its own address."""
    return cloud.program(name, [sys.executable, "-c", _KNOCK, *words], "knocking")


def endpoint(cloud: Cloud, name: str) -> tuple[str, dict[str, Any]]:
    """Return the name and the stored form of a workload's endpoint."""
    found = json.loads(calicoctl(cloud, "get", "wep", "-n", "openstack", "-o", "json"))
    for item in found["items"]:
        if item["spec"]["endpoint"] == cloud.workload(name).port_id:
            return item["metadata"]["name"], item
    raise AssertionError(f"{name} has no endpoint")


@contextlib.contextmanager
def stopped(cloud: Cloud, process: str) -> Iterator[None]:
    cloud.supervisor.stop(process)
    try:
        yield
    finally:
        cloud.supervisor.start(process)


@contextlib.contextmanager
def stored(cloud: Cloud, key: str, value: bytes) -> Iterator[None]:
    cloud.put(key, value)
    try:
        yield
    finally:
        cloud.delete_key(key)


@contextlib.contextmanager
def commands(cloud: Cloud, host: str, do: str, undo: str) -> Iterator[None]:
    cloud.run(host, do)
    try:
        yield
    finally:
        cloud.run(host, undo, check=False)


@fault("No rule allows it")
def _no_rule(cloud: Cloud) -> Iterator[None]:
    with knocking(cloud, "web1", cloud.address("db1", 4), "9999"):
        yield


@fault("Nothing listens in the instance")
def _not_listening(_cloud: Cloud) -> Iterator[None]:
    yield


@fault("The instance has a firewall of its own")
def _own_firewall(cloud: Cloud) -> Iterator[None]:
    do = (
        "nft 'add table ip own; add chain ip own input "
        "{ type filter hook input priority 0 ; policy drop ; }'"
    )
    with commands(cloud, "db1", do, "nft delete table ip own"):
        yield


@fault("A change would cut somebody off")
def _established(cloud: Cloud) -> Iterator[None]:
    flow = Flow(FlowKind.STREAM, cloud.address("db1", 4), 5432)
    with cloud.serving("db1", 5432), cloud.traffic("web1", [flow]):
        yield


@fault("An instance takes the bandwidth of others")
def _greedy(cloud: Cloud) -> Iterator[None]:
    ping = ["ping", "-i", "0.02", "-s", "1000", str(topology_of(cloud.lab).client.ipv4)]
    with cloud.program("web1", ping, "ping"):
        yield


@fault("Where is everything?")
def _nothing(_cloud: Cloud) -> Iterator[None]:
    yield


@fault("An operator's policy denies it")
def _denied(cloud: Cloud) -> Iterator[None]:
    spec = {
        "order": 1,
        "selector": "all()",
        "types": ["Egress"],
        "egress": [
            {"action": "Deny", "protocol": "TCP", "destination": {"ports": [5432]}},
            {"action": "Pass"},
        ],
    }
    value = json.dumps({"metadata": {"name": "no-databases"}, "spec": spec}).encode()
    with (
        stored(cloud, f"{RESOURCES}globalnetworkpolicies/no-databases", value),
        knocking(cloud, "web1", cloud.address("db1", 4), "5432"),
    ):
        yield


@fault("An instance sends from an address that is not its own")
def _spoofing(cloud: Cloud) -> Iterator[None]:
    with (
        commands(
            cloud, "web1", "ip addr add 203.0.113.9/32 dev lo", "ip addr del 203.0.113.9/32 dev lo"
        ),
        knocking(cloud, "web1", cloud.address("db1", 4), "5432", "203.0.113.9"),
    ):
        yield


@fault("An instance sends more packets than it may")
def _rate(cloud: Cloud) -> Iterator[None]:
    name, _ = endpoint(cloud, "web1")
    limit = '{"spec": {"qosControls": {"egressPacketRate": 1, "egressPacketBurst": 1}}}'
    calicoctl(cloud, "patch", "wep", name, "-n", "openstack", "-p", limit)
    try:
        with cloud.program("web1", ["ping", "-i", "0.2", cloud.address("db1", 4)], "ping"):
            yield
    finally:
        none = '{"spec": {"qosControls": null}}'
        calicoctl(cloud, "patch", "wep", name, "-n", "openstack", "-t", "merge", "-p", none)


@fault("An instance tries to reach its host")
def _to_host(cloud: Cloud) -> Iterator[None]:
    host = next(h for h in topology_of(cloud.lab).compute if h.name == "compute-1")
    with knocking(cloud, "web1", str(host.ipv4), "22"):
        yield


@fault("Another program's rules drop what Calico allows")
def _foreign(cloud: Cloud) -> Iterator[None]:
    do = (
        "nft 'add table ip filter; add chain ip filter FORWARD "
        "{ type filter hook forward priority 0 ; policy drop ; }'"
    )
    with (
        commands(cloud, "compute-1", do, "nft delete table ip filter"),
        knocking(cloud, "web1", cloud.address("db1", 4), "5432"),
    ):
        yield


@fault("Felix is dead")
def _felix(cloud: Cloud) -> Iterator[None]:
    with stopped(cloud, "felix@compute-2"):
        yield


@fault("The BGP agent is dead")
def _bgp(cloud: Cloud) -> Iterator[None]:
    with stopped(cloud, "bgp@compute-2"):
        yield


@fault("The DHCP agent is dead")
def _dhcp(cloud: Cloud) -> Iterator[None]:
    with stopped(cloud, "dhcp@compute-2"):
        yield


@fault("A BGP session is down")
def _session(cloud: Cloud) -> Iterator[None]:
    with stopped(cloud, "bird@tor"):
        yield


@fault("The source's host has no route")
def _no_route(cloud: Cloud) -> Iterator[None]:
    route = f"unreachable {cloud.address('db1', 4)}/32 metric 1"
    with commands(cloud, "compute-1", f"ip route add {route}", f"ip route del {route}"):
        yield


@fault("The route to an instance leads elsewhere")
def _wrong_route(cloud: Cloud) -> Iterator[None]:
    route = f"blackhole {cloud.address('db1', 4)}/32 metric 1"
    with commands(cloud, "compute-2", f"ip route add {route}", f"ip route del {route}"):
        yield


@fault("An instance's interface is down")
def _link_down(cloud: Cloud) -> Iterator[None]:
    name = tap(cloud, "db1")
    with commands(cloud, "compute-2", f"ip link set {name} down", f"ip link set {name} up"):
        yield


@fault("A port is bound to a host where its instance is not")
def _stale(cloud: Cloud) -> Iterator[None]:
    other = {"ipNetworks": ["10.65.0.200/32"], "mac": "fa:16:3e:00:00:99"}
    yield from _copied(cloud, "compute-2", "11111111-gone", "gone", other)


@fault("Neutron and Felix call a host differently")
def _names(cloud: Cloud) -> Iterator[None]:
    yield from _copied(cloud, "COMPUTE-2", "22222222-name", "named")


@fault("Two ports have one address")
def _twice(cloud: Cloud) -> Iterator[None]:
    yield from _copied(cloud, "compute-2", "33333333-dupe", "twice")


@fault("etcd is not as Neutron wants it")
def _drift(cloud: Cloud) -> Iterator[None]:
    other = {"ipNetworks": ["10.65.0.201/32"], "mac": "fa:16:3e:00:00:98"}
    yield from _copied(cloud, "compute-2", "44444444-drift", "drift", other)


def _copied(
    cloud: Cloud, node: str, port: str, workload: str, other: Mapping[str, Any] | None = None
) -> Iterator[None]:
    """Store the endpoint of db1 once more, with another name and *other* members."""
    _, item = endpoint(cloud, "db1")
    name = "-".join(each.replace("-", "--") for each in (node, "openstack", workload, port))
    metadata = {"name": name, "namespace": "openstack", "labels": item["metadata"]["labels"]}
    spec = {**item["spec"], "node": node, "endpoint": port, "workload": workload, **(other or {})}
    spec["interfaceName"] = f"tap{port[:11]}"
    value = json.dumps({"metadata": metadata, "spec": spec}).encode()
    with stored(cloud, f"{RESOURCES}workloadendpoints/openstack/{name}", value):
        yield


@fault("An object in etcd is unusable")
def _unusable(cloud: Cloud) -> Iterator[None]:
    value = b'{"metadata": {"name": "typo"}, "spec": {"order": 5, "selector": "has("}}'
    with stored(cloud, f"{RESOURCES}globalnetworkpolicies/typo", value):
        yield


@fault("A security group has no policy")
def _no_policy(cloud: Cloud) -> Iterator[None]:
    group = cloud.neutron.find("security-groups", "db")["id"]
    key = f"{RESOURCES}networkpolicies/openstack/ossg.default.{group}"
    value = cloud.value(key)
    cloud.delete_key(key)
    try:
        yield
    finally:
        # As it was: the driver repairs what anybody else has written.
        cloud.put(key, value)


@fault("A port has no security group")
def _no_group(cloud: Cloud) -> Iterator[None]:
    name, item = endpoint(cloud, "db1")
    kept = dict(item["metadata"]["labels"])
    groups = [label for label in kept if label.startswith("sg")]
    calicoctl(cloud, "label", "wep", name, *groups, "-n", "openstack", "--remove")
    try:
        yield
    finally:
        again = [f"{label}={kept[label]}" for label in groups]
        calicoctl(cloud, "label", "wep", name, *again, "-n", "openstack")


@fault("The datastore is locked")
def _locked(cloud: Cloud) -> Iterator[None]:
    calicoctl(cloud, "datastore", "migrate", "lock")
    try:
        yield
    finally:
        calicoctl(cloud, "datastore", "migrate", "unlock")


@fault("etcd cannot be reached")
def _etcd(cloud: Cloud) -> Iterator[None]:
    with stopped(cloud, "etcd"):
        yield
