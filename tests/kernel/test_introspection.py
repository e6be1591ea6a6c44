"""Looking into the real calico-felix, on its host and through etcd. Needs root."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from calico_openstack.agent.introspection.protocol import (
    INTROSPECTION_PREFIX,
    Answer,
    Question,
    Row,
    request_key,
)
from calico_openstack.calicoctl.asking import ask_hosts
from calico_openstack.etcd import EtcdClient
from tests.kernel.conftest import NamespaceFactory
from tests.support.etcd import EtcdServer
from tests.support.felix import (
    HOST,
    FelixHost,
    allow,
    connect,
    declare_ready,
    listen,
    put_endpoint,
    put_group,
)
from tests.support.netns import NetworkNamespace, needs_root
from tests.support.processes import eventually

pytestmark = needs_root


@pytest.fixture
def workloads() -> dict[int, NetworkNamespace]:
    """The namespaces of the instances, by their numbers."""
    return {}


@pytest.fixture
def host(
    new_namespace: NamespaceFactory,
    etcd: EtcdClient,
    etcd_server: EtcdServer,
    tmp_path: Path,
    workloads: dict[int, NetworkNamespace],
) -> Iterator[FelixHost]:
    """A compute host with two instances, of one group, and Felix."""
    declare_ready(etcd)
    host = FelixHost(new_namespace, etcd_server, tmp_path)
    put_group(etcd, "web", ingress=[allow("TCP", 80, group="web")])
    for number in (1, 2):
        put_endpoint(etcd, number, "web")
        workloads[number] = host.plug(number)
    host.start()
    yield host
    host.close()


def ask(etcd: EtcdClient, table: str, match: str = "") -> Answer:
    (found,) = ask_hosts(etcd, [(HOST, Question("calico-felix", table, match))], 10.0)
    return found


def rows(etcd: EtcdClient, table: str, match: str = "") -> tuple[Row, ...]:
    found = ask(etcd, table, match)
    assert not found.error
    return found.rows


def test_every_table_can_be_shown(host: FelixHost, etcd: EtcdClient) -> None:
    for row in rows(etcd, ""):
        match = {
            "flows": "10.65.0.1",
            "way": "10.65.0.1",
            "members": "10.65.0.1",
            "trace": "10.65.0.1 10.65.0.2 6 80",
        }
        found = ask(etcd, row["table"], match.get(row["table"], ""))
        assert not found.error, row["table"]
    assert etcd.get_prefix(INTROSPECTION_PREFIX).kvs == []


def test_a_name_for_people_changes_nothing(host: FelixHost, etcd: EtcdClient) -> None:
    statuses = "/calico/felix/v2/no-region/host/compute-1/workload/"
    eventually(lambda: len(etcd.get_prefix(statuses).kvs) == 2, what="both statuses")

    def activity(what: str) -> float:
        return next(float(row["value"]) for row in rows(etcd, "activity") if row["what"] == what)

    def programmed() -> object:
        listed = host.namespace.run("nft", "-a", "list", "ruleset").stdout
        return listed, host.routes(), etcd.get_prefix(statuses).kvs

    before, writes, seen = programmed(), activity("kernel writes"), activity("updates")
    for name in ("front", 'the "old" fr\u00f6nt'):
        put_endpoint(etcd, 1, "web", annotations={"openstack.projectcalico.org/port-name": name})
        seen += 1
        eventually(lambda seen=seen: activity("updates") == seen, what="Felix has read it")
    assert activity("kernel writes") == writes
    assert programmed() == before


def test_an_endpoint_is_programmed_or_it_is_told_why_not(host: FelixHost, etcd: EtcdClient) -> None:
    def faults(number: int) -> list[str]:
        found = rows(etcd, "programming", f"port{number}")
        assert found
        return [row["kernel"] for row in found if row["kernel"] != "ok"]

    eventually(lambda: faults(1) == [], what="the programming of the first endpoint")
    host.unplug(2)
    eventually(
        lambda: any("does not exist" in fault for fault in faults(2)), what="the loss to be told"
    )


def test_routes_are_those_of_the_kernel(host: FelixHost, etcd: EtcdClient) -> None:
    eventually(
        lambda: all(row["kernel"] == "same" for row in rows(etcd, "routes")), what="the routes"
    )
    (way,) = rows(etcd, "way", "10.65.0.1")
    assert way["interface"] == "tap1"
    (out,) = rows(etcd, "way", "203.0.113.1")
    assert out["way"] == "to 192.0.2.254 by eth0"
    (lost,) = rows(etcd, "way", "2001:db8::1")
    assert "nowhere" in lost["way"]


def test_questions_without_a_lease_are_left_alone(host: FelixHost, etcd: EtcdClient) -> None:
    etcd.put(request_key(HOST, "forever"), b'{"program":"calico-felix"}')
    assert rows(etcd, "queues")
    assert etcd.get_prefix(f"{INTROSPECTION_PREFIX}answer/").kvs == []
    etcd.delete(request_key(HOST, "forever"))


def test_who_is_not_there_does_not_keep_the_others_waiting(
    host: FelixHost, etcd: EtcdClient
) -> None:
    question = Question("calico-felix", "queues")
    here, elsewhere = ask_hosts(etcd, [(HOST, question), ("compute-9", question)], 1.5)
    assert here.rows
    assert "no answer" in elsewhere.error


def test_other_agents_are_asked_by_felix(host: FelixHost, etcd: EtcdClient) -> None:
    questions = [(HOST, Question("calico-bgp-agent", "peers")), (HOST, Question("sshd"))]
    absent, stranger = ask_hosts(etcd, questions, 10.0)
    assert absent.error == "calico-bgp-agent does not run on this host"
    assert "is none of" in stranger.error


def test_drops_are_attributed_while_somebody_asks(
    host: FelixHost, etcd: EtcdClient, workloads: dict[int, NetworkNamespace]
) -> None:
    one = workloads[1]
    one.ip("addr", "add", "203.0.113.9/32", "dev", "lo")

    def reasons() -> dict[str, Row]:
        one.run("ping", "-c1", "-W1", "10.65.0.2", check=False)
        one.run("ping", "-c1", "-W1", "-I", "203.0.113.9", "10.65.0.2", check=False)
        return {row["reason"]: row for row in rows(etcd, "drops")}

    eventually(
        lambda: {"default deny", "spoofed"} <= reasons().keys(), what="the drops", timeout=30
    )
    found = reasons()
    denied, spoofed = found["default deny"], found["spoofed"]
    assert (denied["port"], denied["direction"]) == ("port2", "ingress")
    assert denied["packet"] == "ICMP 10.65.0.1 -> 10.65.0.2"
    assert denied["policies"] == "ossg.default.web"
    assert (spoofed["port"], spoofed["packet"]) == ("port1", "ICMP 203.0.113.9 -> 10.65.0.2")
    assert "calico-drops" in host.ruleset()
    eventually(lambda: "calico-drops" not in host.ruleset(), what="the end of tracing", timeout=40)


def test_a_packet_is_followed_rule_by_rule(
    host: FelixHost, etcd: EtcdClient, workloads: dict[int, NetworkNamespace]
) -> None:
    def verdicts(match: str) -> list[tuple[str, str]]:
        workloads[1].run("ping", "-c1", "-W1", "10.65.0.2", check=False)
        found = rows(etcd, "trace", match)
        return [(row["place"].split()[-1], row["verdict"]) for row in found]

    icmp = "10.65.0.1 10.65.0.2 1"
    eventually(lambda: "drop" in dict(verdicts(icmp)).values(), what="the drop", timeout=30)
    steps = verdicts(icmp)
    assert ("raw-prerouting", "accept") in steps
    assert any(
        place == "filter-forward" and verdict.startswith("goto in-class-")
        for place, verdict in steps
    )
    # Another question takes the place of the one before.
    assert verdicts("10.65.0.1 10.65.0.2 6 80") == []
    assert "numbers" in ask(etcd, "trace", "10.65.0.1").error or ask(etcd, "trace", "x").error


def test_established_flows_are_told_by_address(
    host: FelixHost, etcd: EtcdClient, workloads: dict[int, NetworkNamespace], tmp_path: Path
) -> None:
    processes = [listen(workloads[1], 80, tmp_path / "listener")]
    eventually(lambda: ask(etcd, "programming", "port2").rows != (), what="Felix")

    def flows(address: str) -> list[tuple[str, str, str]]:
        cells = ("source", "destination", "destination port")
        return [tuple(row[cell] for cell in cells) for row in rows(etcd, "flows", address)]  # type: ignore[misc]

    assert flows("10.65.0.1") == []
    processes.append(connect(workloads[2], 1, 80, tmp_path / "client"))
    expected = [("10.65.0.2", "10.65.0.1", "80")]
    eventually(lambda: flows("10.65.0.1") == expected, what="the flow")
    assert flows("10.65.0.2,fd00::2") == expected
    assert flows("10.65.0.9") == []
    for process in processes:
        process.kill()
    # Ended by both: it is in the kernel's table for a while, but not established.
    eventually(lambda: flows("10.65.0.1") == [], what="the end of the flow")
    assert "flows" in ask(etcd, "flows", "no address").error
