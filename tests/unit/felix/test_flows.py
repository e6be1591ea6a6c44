"""Which established flows are ended when permissions are withdrawn."""

from __future__ import annotations

from ipaddress import ip_address

from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.felix.calc import Withdrawal
from calico_openstack.felix.flows import (
    PendingWithdrawals,
    concerned,
    named_addresses,
    no_longer_allowed,
    packet_of,
)
from calico_openstack.felix.kernel.conntrack import Flow, FlowTuple
from calico_openstack.policy.evaluation import EndpointVerdict, Judgement, Verdict
from calico_openstack.policy.packet import Direction, Packet


def packed(text: str) -> bytes:
    return ip_address(text).packed


def flow(source: str, destination: str, port: int = 80, translated: str = "") -> Flow:
    first = FlowTuple(ip_address(source), ip_address(destination), 6, 5000, port)
    real = ip_address(translated or destination)
    return Flow(first, FlowTuple(real, ip_address(source), 6, port + 1, 5000), 0, 0, 1)


def judge(packet: Packet) -> Judgement:
    """Refuse everything to 10.0.0.1."""
    allowed = packet.destination != packed("10.0.0.1")
    verdict = EndpointVerdict(
        ResourceKey("WorkloadEndpoint", "x"), Direction.INGRESS, Verdict(allowed, ())
    )
    return Judgement((verdict,))


LOCAL = Withdrawal(frozenset({packed("10.0.0.1"), packed("10.0.0.2")}))


def test_only_flows_that_are_refused_now_end() -> None:
    flows = [flow("10.9.0.1", "10.0.0.1"), flow("10.9.0.1", "10.0.0.2")]
    assert list(no_longer_allowed(flows, frozenset(), judge)) == flows[:1]


def test_only_flows_that_a_withdrawal_concerns_are_judged() -> None:
    only = Withdrawal(LOCAL.local, frozenset({packed("10.9.0.2")}))
    flows = [flow("10.9.0.1", "10.0.0.1"), flow("10.9.0.2", "10.0.0.1")]
    assert list(concerned(flows, [only])) == flows[1:]
    assert list(concerned(flows, [LOCAL])) == flows


def test_a_search_names_as_few_addresses_as_possible() -> None:
    other = Withdrawal(LOCAL.local, frozenset({packed("10.9.0.2")}))
    assert named_addresses([other]) == {ip_address("10.9.0.2")}
    assert named_addresses([LOCAL]) == {ip_address("10.0.0.1"), ip_address("10.0.0.2")}


def test_flows_with_the_host_itself_are_left_alone() -> None:
    flows = [flow("10.9.0.1", "10.0.0.1")]
    assert not list(no_longer_allowed(flows, frozenset({packed("10.9.0.1")}), judge))


def test_policy_sees_the_translated_destination() -> None:
    floating = flow("10.9.0.1", "192.0.2.1", translated="10.0.0.1")
    packet = packet_of(floating)
    assert packet.destination == packed("10.0.0.1")
    assert packet.destination_port == 81
    assert list(no_longer_allowed([floating], frozenset(), judge)) == [floating]


def test_protocols_without_ports_have_none() -> None:
    tuples = FlowTuple(ip_address("::1"), ip_address("::2"), 58, 0, 0, 128, 0, 7)
    packet = packet_of(Flow(tuples, FlowTuple(ip_address("::2"), ip_address("::1"), 58), 0, 0, 1))
    assert (packet.source_port, packet.destination_port) == (None, None)
    assert (packet.icmp_type, packet.icmp_code) == (128, 0)


def test_searches_that_take_long_are_made_together() -> None:
    now = 100.0
    pending = PendingWithdrawals(lambda: now)
    assert pending.wait() is None
    pending.add([LOCAL])
    # The first one is not held up.
    assert pending.wait() == 0
    assert pending.take() == (LOCAL,)
    assert pending.wait() is None
    now += 0.5
    pending.searched(0.5)
    many = [Withdrawal(frozenset({bytes((1, 1, 1, n))})) for n in range(150)]
    pending.add(many)
    assert pending.wait() == 2.0
    now += 2.0
    assert pending.wait() == 0
    # Many are one search for everything that they concern.
    (whole,) = pending.take()
    assert whole == Withdrawal(frozenset[bytes]().union(*(each.local for each in many)))


def test_a_search_that_failed_is_not_repeated_at_once() -> None:
    pending = PendingWithdrawals(lambda: 7.0)
    pending.searched(0.0, 1.0)
    pending.add([LOCAL])
    assert pending.wait() == 1.0
