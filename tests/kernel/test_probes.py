"""Probes through the kernels of two hosts, as calicoctl trace sends and tells them. Needs root."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from calico_openstack.agent.introspection.protocol import Question
from calico_openstack.calicoctl.asking import ask_hosts
from calico_openstack.calicoctl.main import cli
from calico_openstack.etcd import EtcdClient
from calico_openstack.felix.kernel.injection import RECEIVER, SENDER
from tests.kernel.conftest import NamespaceFactory
from tests.support.etcd import EtcdServer
from tests.support.felix import FelixHost, allow, declare_ready, listen, put_endpoint, put_group
from tests.support.netns import NetworkNamespace, needs_root, veth
from tests.support.processes import eventually

pytestmark = needs_root

FIRST, SECOND = "compute-1", "compute-2"
Trace = Callable[..., Result]


class Pair:
    """Two hosts with a link between their uplinks, and an instance on each: 1 and 2."""

    def __init__(self, make: NamespaceFactory, server: EtcdServer, directory: Path) -> None:
        self.hosts: dict[str, FelixHost] = {}
        for name in (FIRST, SECOND):
            (directory / name).mkdir()
            self.hosts[name] = FelixHost(make, server, directory / name, name)
        first, second = (self.hosts[name].namespace for name in (FIRST, SECOND))
        veth(first, "uplink", second, "uplink")
        self.workloads: dict[int, NetworkNamespace] = {}
        for number, (name, host) in enumerate(self.hosts.items(), 1):
            other = 3 - number
            host.namespace.ip("addr", "add", f"198.51.100.{number}/24", "dev", "uplink")
            host.namespace.ip("addr", "add", f"fd01::{number}/64", "dev", "uplink", "nodad")
            self.route(name, other)
            self.workloads[number] = host.plug(number)

    def route(self, name: str, number: int, verb: str = "replace") -> None:
        """Change the routes of a host to the instance of the other one."""
        namespace = self.hosts[name].namespace
        namespace.ip("route", verb, f"10.65.0.{number}", "via", f"198.51.100.{number}")
        namespace.ip("-6", "route", verb, f"fd00::{number}", "via", f"fd01::{number}")

    def close(self) -> None:
        for host in self.hosts.values():
            host.close()


@pytest.fixture
def pair(
    new_namespace: NamespaceFactory, etcd: EtcdClient, etcd_server: EtcdServer, tmp_path: Path
) -> Iterator[Pair]:
    declare_ready(etcd)
    put_group(etcd, "web", [allow("TCP", 80), allow("ICMPv6", version=6), allow("UDP", 53)])
    for number, name in enumerate((FIRST, SECOND), 1):
        put_endpoint(etcd, number, "web", host=name)
    made = Pair(new_namespace, etcd_server, tmp_path)
    try:
        for host in made.hosts.values():
            host.start()
        yield made
    finally:
        made.close()


@pytest.fixture
def trace(etcd: EtcdClient) -> Trace:
    environment = {"ETCD_ENDPOINTS": ",".join(etcd.config.endpoints), "CALICO_ETCD_ENDPOINTS": ""}

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(cli, ["trace", *arguments], env=environment)

    return run


def told(result: Result) -> Any:
    return json.loads(result.stdout)


def rules(found: Any, host: str, way: str = "there") -> list[str]:
    return [step["rule"] for step in found["hosts"][host][way]]


def test_a_probe_is_followed_to_the_instance_and_its_answer_back(
    pair: Pair, trace: Trace, tmp_path: Path
) -> None:
    listener = listen(pair.workloads[2], 80, tmp_path / "listener.log")
    try:
        found = told(trace("10.65.0.1", "10.65.0.2", "tcp/80", "-o", "json"))
    finally:
        listener.stop()
    assert (found["arrived"], found["answered"]) == (True, True)
    assert "SYN+ACK" in found["words"][-1]
    assert any("lets everything out" in rule for rule in rules(found, FIRST))
    assert any("np/openstack/ossg.default.web ingress[0]" in rule for rule in rules(found, SECOND))
    assert "ct state established,related accept" in rules(found, SECOND, "back")
    for host in pair.hosts.values():
        eventually(lambda host=host: SENDER not in host.namespace.ip("link"), what="no devices")


def test_the_text_says_what_became_of_probe_and_answer(pair: Pair, trace: Trace) -> None:
    result = trace("10.65.0.1", "port2", "tcp/80", "--fail-if-lost")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert "It arrived: it was handed to tap2 of compute-2" in lines
    assert "ACK+RST" in lines[-1]
    assert "refuses" in lines[-1]
    assert "  arrived at tap2" in lines
    assert "The answer:" in lines


def test_both_families_and_protocols(pair: Pair, trace: Trace) -> None:
    echo = told(trace("fd00::1", "fd00::2", "-o", "json"))
    assert (echo["arrived"], echo["answered"]) == (True, True)
    assert "echo reply" in echo["words"][-1]
    datagram = told(trace("10.65.0.2", "10.65.0.1", "udp/53", "-o", "json"))
    assert (datagram["arrived"], datagram["answered"]) == (True, True)
    assert "destination unreachable, code 3" in datagram["words"][-1]


def test_a_denial_at_either_host_is_told(pair: Pair, trace: Trace, etcd: EtcdClient) -> None:
    for ends in (("10.65.0.1", "10.65.0.2"), ("fd00::1", "fd00::2")):
        refused = told(trace(*ends, "tcp/81", "-o", "json"))
        assert refused["arrived"] is False
        assert refused["words"] == ["DROPPED on compute-2: counter drop # end of tier default"]
    put_group(etcd, "web", [allow("TCP", 80)], egress=False)
    host = pair.hosts[FIRST]
    eventually(lambda: "lets everything out" not in host.ruleset(), what="the new egress rules")
    kept = told(trace("10.65.0.1", "10.65.0.2", "tcp/80", "-o", "json"))
    assert kept["words"][0].startswith("DROPPED on compute-1")
    assert kept["hosts"][SECOND]["there"] == []
    assert trace("10.65.0.1", "10.65.0.2", "tcp/80", "--fail-if-lost").exit_code == 2


def test_others_rules_and_what_lies_between_are_told(pair: Pair, trace: Trace) -> None:
    second = pair.hosts[SECOND].namespace
    chain = "chain in { type filter hook forward priority 10; }"
    drop = 'ip daddr 10.65.0.2 drop comment "the firewall of others"'
    rules = f"table inet other {{ {chain}; }}\nadd rule inet other in {drop}\n"
    second.run("nft", "-f", "-", stdin=rules)
    found = told(trace("10.65.0.1", "10.65.0.2", "tcp/80", "-o", "json"))
    assert "the firewall of others" in found["words"][0]
    assert found["hosts"][SECOND]["there"][-1]["place"] == "inet other in"
    second.run("nft", "delete", "table", "inet", "other")
    pair.hosts[SECOND].namespace.ip("link", "set", "uplink", "down")
    result = trace("10.65.0.1", "10.65.0.2", "tcp/80")
    assert "was not forwarded: no route" in result.output or "not seen on" in result.output


def test_only_an_endpoint_of_the_host_sends_and_only_from_its_own_address(
    pair: Pair, etcd: EtcdClient
) -> None:
    def result(match: str) -> str:
        (answer,) = ask_hosts(etcd, [(FIRST, Question("calico-felix", "probe", match))], 10.0)
        return answer.error or answer.rows[0]["result"]

    assert "no endpoint of this host" in result("tap1 10.65.0.9 10.65.0.2 6 80 61000")
    assert "no endpoint of this host" in result("tap2 10.65.0.2 10.65.0.1 6 80 61000")
    assert "have a token" in result("tap1 10.65.0.1 10.65.0.2 6 80")
    assert "TCP, UDP and ICMP" in result("tap1 10.65.0.1 10.65.0.2 89 - 61000")
    assert result("nonsense").startswith("not sent")
    assert result("tap1 10.65.0.1 10.65.0.2 6 80 61000") == "sent"
    pair.hosts[FIRST].unplug(1)
    eventually(
        lambda: "is missing" in result("tap1 10.65.0.1 10.65.0.2 6 80 61000"), what="the refusal"
    )


def test_what_a_killed_agent_leaves_goes_at_the_next_start(pair: Pair) -> None:
    host = pair.hosts[FIRST]
    assert host.process is not None
    host.process.kill()
    host.namespace.ip("link", "add", SENDER, "type", "veth", "peer", "name", RECEIVER)
    host.start()
    assert SENDER not in host.namespace.ip("link")
