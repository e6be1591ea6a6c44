"""Listing and ending tracked flows on a real kernel."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import ip_address

import pytest
from msgspec.structs import replace

from calico_openstack.felix.kernel import conntrack
from calico_openstack.felix.kernel.conntrack import ConntrackTable, Flow, FlowTuple
from calico_openstack.felix.render.dataplane import DataplaneDelta, TableDelta
from calico_openstack.felix.render.nft import (
    ACCEPT,
    Chain,
    CtState,
    CtStateIs,
    Hook,
    Rule,
    TableState,
)
from tests.kernel.conftest import NamespaceFactory
from tests.kernel.host import IPV4, IPV6, Host, eventually, reaches
from tests.support.netns import NetworkNamespace, needs_root

pytestmark = needs_root

TCP, UDP, SCTP, ICMP, ICMPV6 = 6, 17, 132, 1, 58


@pytest.fixture
def table(namespace: NetworkNamespace) -> Iterator[ConntrackTable]:
    with namespace.entered():
        made = ConntrackTable()
    yield made
    made.close()


def insert(
    namespace: NetworkNamespace,
    source: str,
    destination: str,
    protocol: str = "udp",
    ports: tuple[int, int] = (1000, 53),
    *options: str,
) -> None:
    """Make a flow by hand."""
    state: tuple[str, ...] = ()
    if protocol in ("tcp", "sctp"):
        state = ("--state", "ESTABLISHED")
    if protocol == "sctp":
        state += ("--orig-vtag", "1", "--reply-vtag", "2")
    # fmt: off
    namespace.run(
        "conntrack", "-I", "-p", protocol, "-s", source, "-d", destination,
        "--sport", str(ports[0]), "--dport", str(ports[1]), "--timeout", "300",
        *state, *options,
    )
    # fmt: on


def test_flows_are_listed(namespace: NetworkNamespace, table: ConntrackTable) -> None:
    insert(namespace, "10.0.0.1", "10.0.0.2", "tcp", (40000, 80))
    insert(namespace, "10.0.0.1", "10.0.0.2", "udp", (40000, 53))
    insert(namespace, "fd00::1", "fd00::2", "tcp", (40000, 443))
    insert(namespace, "10.0.0.1", "10.0.0.9", "udp", (1, 2), "--dst-nat", "10.0.0.3")
    insert(namespace, "10.0.0.4", "10.0.0.5", "udp", (1, 2), "--zone", "7")
    flows = {
        (str(flow.original.source), flow.original.destination_port): flow for flow in table.flows()
    }
    assert len(list(table.flows())) == 5
    tcp = flows["10.0.0.1", 80]
    assert tcp.original == FlowTuple(
        ip_address("10.0.0.1"), ip_address("10.0.0.2"), TCP, source_port=40000, destination_port=80
    )
    assert tcp.reply == FlowTuple(
        ip_address("10.0.0.2"), ip_address("10.0.0.1"), TCP, source_port=80, destination_port=40000
    )
    assert flows["fd00::1", 443].reply.source == ip_address("fd00::2")
    zoned = flows["10.0.0.4", 2]
    assert (zoned.zone, tcp.zone) == (7, 0)
    translated = next(flow for flow in table.flows() if flow.reply.source == ip_address("10.0.0.3"))
    assert translated.original.destination == ip_address("10.0.0.9")


def test_flows_of_an_address(namespace: NetworkNamespace, table: ConntrackTable) -> None:
    insert(namespace, "10.0.0.1", "10.0.0.2")
    insert(namespace, "10.0.0.3", "10.0.0.4")
    insert(namespace, "fd00::1", "fd00::2")
    found = list(table.flows({ip_address("10.0.0.4")}))
    assert [flow.original.source for flow in found] == [ip_address("10.0.0.3")]
    assert len(list(table.flows({ip_address("fd00::1"), ip_address("10.0.0.2")}))) == 2


def test_exactly_these_flows_are_deleted(
    namespace: NetworkNamespace, table: ConntrackTable
) -> None:
    for zone in ("0", "7"):
        insert(namespace, "10.0.0.1", "10.0.0.2", "udp", (1, 2), "--zone", zone)
    insert(namespace, "10.0.0.1", "10.0.0.2", "tcp", (1, 2))
    insert(namespace, "10.0.0.1", "10.0.0.2", "sctp", (1, 2))
    insert(namespace, "fd00::1", "fd00::2", "udp", (1, 2))
    doomed = [flow for flow in table.flows() if flow.zone == 7 or flow.original.protocol == SCTP]
    doomed += list(table.flows({ip_address("fd00::1")}))
    assert table.delete(doomed) == 3
    assert {(flow.zone, flow.original.protocol) for flow in table.flows()} == {(0, UDP), (0, TCP)}
    # They are gone: that is no error.
    assert table.delete(doomed) == 0
    assert table.deletions == 3


def test_a_flow_with_another_identity_is_spared(
    namespace: NetworkNamespace, table: ConntrackTable
) -> None:
    insert(namespace, "10.0.0.1", "10.0.0.2")
    (flow,) = table.flows()
    assert table.delete([replace(flow, id=flow.id ^ 1)]) == 0
    assert list(table.flows()) == [flow]


def test_flows_of_an_address_are_deleted(
    namespace: NetworkNamespace, table: ConntrackTable
) -> None:
    insert(namespace, "10.0.0.1", "10.0.0.2", "udp", (1, 2))
    insert(namespace, "10.0.0.2", "10.0.0.1", "udp", (3, 4))
    insert(namespace, "10.0.0.3", "10.0.0.9", "udp", (5, 6), "--dst-nat", "10.0.0.1")
    insert(namespace, "10.0.0.3", "10.0.0.4", "udp", (7, 8))
    insert(namespace, "fd00::1", "fd00::2", "udp", (9, 10))
    assert table.delete_of_addresses({ip_address("10.0.0.1"), ip_address("fd00::2")}) == 4
    (left,) = table.flows()
    assert left.original.source_port == 7


def test_many_flows(namespace: NetworkNamespace, table: ConntrackTable) -> None:
    # One process makes them all: each is a packet to nobody, seen by a rule that tracks.
    namespace.run("nft", "add table ip t; add chain ip t c { type filter hook output priority 0; }")
    namespace.run("nft", "add rule ip t c ct state new accept")
    with namespace.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for port in range(1, 20_001):
            sender.sendto(b"x", ("127.0.0.1", port))
    flows: list[Flow] = list(table.flows())
    assert len(flows) == 20_000
    assert table.delete(flows) == 20_000
    assert list(table.flows()) == []


def test_flows_end_when_an_address_leaves(
    namespace: NetworkNamespace, new_namespace: NamespaceFactory
) -> None:
    host = Host(namespace, new_namespace)
    one, two = host.plug(1), host.plug(2)
    host.settle()
    tracking = TableState(
        chains={
            "forward": Chain(
                (Rule((CtStateIs(CtState.NEW), ACCEPT)),), Hook("filter", "forward", 0)
            )
        }
    )
    host.desired.ruleset = {IPV4: tracking, IPV6: tracking}
    delta = DataplaneDelta(tables={IPV4: TableDelta({"forward"}), IPV6: TableDelta({"forward"})})
    delta.merge(host.want(1))
    delta.merge(host.want(2))
    host.apply(delta)
    for source, number in ((one, 2), (two, 1)):
        assert reaches(source, f"10.65.0.{number}")
        assert reaches(source, f"fd00::{number}")
    flows = list(host.dataplane.conntrack.flows())
    assert {flow.original.protocol for flow in flows} == {ICMP, ICMPV6}
    assert all(flow.original.icmp_type in (8, 128) for flow in flows)
    assert all(flow.original.icmp_id for flow in flows)
    host.apply(host.unwant(1))
    assert eventually(lambda: not list(host.dataplane.conntrack.flows()))
    assert not host.dataplane.needs_apply
    host.dataplane.close()


def test_flows_by_their_destination_before_translation(
    namespace: NetworkNamespace, table: ConntrackTable
) -> None:
    insert(namespace, "10.0.0.3", "192.0.2.9", "udp", (1, 2), "--dst-nat", "10.0.0.1")
    insert(namespace, "10.0.0.3", "10.0.0.1", "udp", (3, 4))
    insert(namespace, "fd00::3", "2001:db8::9", "udp", (5, 6), "--dst-nat", "fd00::1")
    insert(namespace, "fd00::3", "fd00::1", "udp", (7, 8))
    for external, internal in (("192.0.2.9", "10.0.0.1"), ("2001:db8::9", "fd00::1")):
        (flow,) = table.flows_to([ip_address(external)])
        assert flow.reply.source == ip_address(internal)


def test_few_and_many_addresses_find_the_same(
    namespace: NetworkNamespace, table: ConntrackTable
) -> None:
    for number in range(1, 13):
        insert(namespace, f"10.0.0.{number}", f"10.0.0.{13 - number}", "udp", (number, 1))
        insert(namespace, f"fd00::{number}", f"fd00::{13 - number}", "udp", (number, 1))
    insert(namespace, "10.0.0.1", "10.0.0.1", "udp", (20, 1))
    insert(namespace, "10.0.1.1", "10.0.1.2", "udp", (21, 1))
    few = [ip_address(text) for text in ("10.0.0.1", "10.0.0.2", "10.0.0.11", "fd00::12")]
    nobody = [ip_address(f"10.9.0.{number}") for number in range(20)]
    assert sorted(flow.original.source_port for flow in table.flows(few)) == [
        *(1, 1, 2, 11, 12, 12, 20)
    ]
    asked, listed = list(table.flows(few)), list(table.flows([*few, *nobody]))
    assert len(asked) == len(set(asked))
    assert {flow.id for flow in asked} == {flow.id for flow in listed}


def test_flows_are_counted(namespace: NetworkNamespace, table: ConntrackTable) -> None:
    assert table.count() == 0
    insert(namespace, "10.0.0.1", "10.0.0.2")
    insert(namespace, "fd00::1", "fd00::2")
    assert table.count() == 2


@pytest.mark.parametrize("per_walk", [0, 1000])
def test_the_same_is_found_however_the_kernel_is_asked(
    namespace: NetworkNamespace,
    table: ConntrackTable,
    monkeypatch: pytest.MonkeyPatch,
    per_walk: int,
) -> None:
    monkeypatch.setattr(conntrack, "_FLOWS_PER_WALK", per_walk)
    insert(namespace, "10.0.0.1", "10.0.0.2")
    insert(namespace, "10.0.0.2", "10.0.0.3")
    insert(namespace, "10.0.0.4", "10.0.0.5")
    one, two = ip_address("10.0.0.1"), ip_address("10.0.0.2")
    assert {str(flow.original.source) for flow in table.flows([one])} == {"10.0.0.1"}
    assert {str(flow.original.source) for flow in table.flows([one, two])} == {
        "10.0.0.1",
        "10.0.0.2",
    }
    assert {str(flow.original.source) for flow in table.flows_to([two])} == {"10.0.0.1"}
