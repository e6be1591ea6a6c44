"""What keeps going when parts of the system are killed, and what never passes."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from calico_openstack.agent.supervision import is_running, send_signal
from calico_openstack.lab import etcd_server
from calico_openstack.lab.names import daemon
from calico_openstack.lab.traffic import Flow, FlowKind, FlowReport
from tests.scenario.cloud import Cloud, eventually, log_of

OPEN, CLOSED = 80, 9090

SUPERVISED = [
    "felix@compute-1",
    "bgp@compute-1",
    "dhcp@compute-1",
    "etcd",
    "mariadb",
    "neutron-api",
    "neutron-workers",
    "bird@tor",
]


def target_of(cloud: Cloud) -> tuple[str, int]:
    """A workload on another host than web1's, and a port on which web1 may reach it."""
    return next(
        (name, port)
        for name, port in (("web2", OPEN), ("db1", 5432))
        if cloud.workload(name).host != "compute-1"
    )


def flows(cloud: Cloud) -> list[Flow]:
    """From web1 to a workload on another host, both families."""
    target, port = target_of(cloud)
    return [
        Flow(kind, cloud.address(target, family), CLOSED if kind is FlowKind.FORBIDDEN else port)
        for family in (4, 6)
        for kind in FlowKind
    ]


def assert_undisturbed(reports: list[FlowReport]) -> None:
    for report in reports:
        if report.flow.kind is FlowKind.FORBIDDEN:
            assert report.answered == 0, report
        else:
            assert report.failures == [], report


def assert_goes_on(reports: Callable[[], list[FlowReport]]) -> None:
    """Every flow makes another few attempts, and all are as they should be."""
    before = [report.attempts for report in reports()]
    eventually(
        lambda: all(now.attempts >= b + 5 for now, b in zip(reports(), before, strict=True)),
        "traffic goes on",
    )
    assert_undisturbed(reports())


@pytest.mark.parametrize("process", SUPERVISED)
def test_traffic_does_not_notice_a_killed_process(cloud: Cloud, process: str) -> None:
    target, port = target_of(cloud)
    with cloud.serving(target, port, CLOSED), cloud.traffic("web1", flows(cloud)) as reports:
        assert_goes_on(reports)
        before = cloud.supervisor.process(process)
        cloud.supervisor.kill(process)
        eventually(
            lambda: cloud.supervisor.process(process).pid not in {0, before.pid},
            f"{process} is back",
        )
        assert_goes_on(reports)
        eventually(cloud.api_answers, "Neutron answers")
        eventually(cloud.agents_alive, "all agents are alive")
        assert_goes_on(reports)


@pytest.mark.parametrize("kind", ["bird", "dnsmasq"])
def test_traffic_does_not_notice_a_killed_daemon(cloud: Cloud, kind: str) -> None:
    target, port = target_of(cloud)
    name = f"{kind}@compute-1"
    with cloud.serving(target, port, CLOSED), cloud.traffic("web1", flows(cloud)) as reports:
        assert_goes_on(reports)
        owned = daemon(cloud.lab, name)
        assert owned is not None and owned.processes
        for identity in owned.processes:
            send_signal(identity, signal.SIGKILL)
        eventually(lambda: not any(map(is_running, owned.processes)), f"{name} has ended")

        def is_back() -> bool:
            now = daemon(cloud.lab, name)
            return now is not None and len(now.processes) >= len(owned.processes)

        eventually(is_back, f"{name} is back")
        assert_goes_on(reports)


def test_a_stopped_felix_leaves_its_rules_in_force(cloud: Cloud) -> None:
    target, port = target_of(cloud)
    with cloud.serving(target, port, CLOSED), cloud.traffic("web1", flows(cloud)) as reports:
        cloud.supervisor.stop("felix@compute-1")
        try:
            assert_goes_on(reports)
        finally:
            cloud.supervisor.start("felix@compute-1")
        eventually(cloud.agents_alive, "Felix is alive again")
        assert_goes_on(reports)


GARBAGE = {
    "networkpolicies/openstack/ossg.default.garbage": b"{",
    "networkpolicies/openstack/ossg.default.types": b'{"kind":"NetworkPolicy","spec":[1,2,3]}',
    "workloadendpoints/openstack/compute--1-openstack-x-y": b"\xc3\xa9[[[[[[",
    "hostendpoints/bad": b'{"kind":"HostEndpoint","apiVersion":"projectcalico.org/v3","spec":7}',
    "strangethings/whatever": b"{}",
    "globalnetworkpolicies/" + "a" * 1_000_000: b'{"spec":{"selector":"((("}}',
}


def test_garbage_in_etcd_costs_only_itself(cloud: Cloud) -> None:
    base = "/calico/resources/v3/projectcalico.org/"
    target, port = target_of(cloud)
    starts = {f"{a}@compute-1": 0 for a in ("felix", "bgp", "dhcp")}
    for name in starts:
        starts[name] = cloud.supervisor.process(name).starts
    with cloud.serving(target, port, CLOSED), cloud.traffic("web1", flows(cloud)) as reports:
        try:
            for key, value in GARBAGE.items():
                cloud.put(base + key, value)
            eventually(
                lambda: "ossg.default.garbage" in log_of(cloud.lab, "felix@compute-1"),
                "Felix names the key of the garbage",
            )
            rule = cloud.add_rule("db", protocol="tcp", port_range_min=7, port_range_max=7)
            eventually(lambda: cloud.reaches("client", "db1", 7), "changes still take effect")
            cloud.delete_rule(rule)
            assert_goes_on(reports)
        finally:
            for key in GARBAGE:
                cloud.delete_key(base + key)
    assert starts == {name: cloud.supervisor.process(name).starts for name in starts}


def test_an_endpoint_that_becomes_garbage_is_closed(cloud: Cloud) -> None:
    (key,) = [
        k
        for k in cloud.keys("/calico/resources/v3/projectcalico.org/workloadendpoints/")
        if cloud.workload("db1").port_id.replace("-", "--") in k
    ]
    original = etcd_server.etcdctl(cloud.lab, "get", "--print-value-only", key).rstrip("\n")
    assert cloud.reaches("web1", "db1", 5432)
    etcd_server.put(cloud.lab, key, b'{"spec": "nonsense"}')
    try:
        eventually(lambda: not cloud.reaches("web1", "db1", 5432), "the endpoint is closed")
    finally:
        etcd_server.put(cloud.lab, key, original.encode())
    eventually(lambda: cloud.reaches("web1", "db1", 5432), "the endpoint is open again")
