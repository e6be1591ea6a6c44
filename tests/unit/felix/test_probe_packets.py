"""The packets of probes, and how they and their answers are recognised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.checksum import internet_checksum
from calico_openstack.felix.calc import HostState
from calico_openstack.felix.kernel.arrivals import program
from calico_openstack.felix.kernel.followed_packets import (
    Followed,
    Headers,
    Way,
    followed_in,
    following,
    headers_in,
    kind_of,
)
from calico_openstack.felix.probe_packets import PAYLOAD, Probe
from calico_openstack.felix.probes import ProbeError, prepared
from calico_openstack.felix.render.nft import Family
from calico_openstack.netlink import bpf
from calico_openstack.netlink.bpf import Instruction
from calico_openstack.policy.packet import Packet
from tests.support import frames

_OUTGOING = 4


@st.composite
def probes(draw: Any) -> Probe:
    size = draw(st.sampled_from([4, 16]))
    source, destination = (draw(st.binary(min_size=size, max_size=size)) for _ in range(2))
    icmp = 1 if size == 4 else 58
    protocol = draw(st.sampled_from([6, 17, icmp]))
    port = None if protocol == icmp else draw(st.integers(0, 65535))
    return Probe(source, destination, protocol, port, draw(st.integers(1, 65535)))


def parts(packet: bytes) -> Headers:
    size = 20 if packet[0] >> 4 == 4 else 40
    found = headers_in(packet[:size], packet[size:])
    assert found is not None
    return found


@given(probes())
def test_probes_are_the_packets_that_a_guest_would_send(probe: Probe) -> None:
    packet = parts(probe.packet())
    assert (packet.source, packet.destination) == (probe.source, probe.destination)
    assert packet.protocol == probe.protocol
    if probe.version == 4:
        assert internet_checksum(probe.packet()[:20]) == b"\0\0"
    body = packet.transport
    covered = body
    if probe.protocol != 1:
        covered = probe.source + probe.destination + len(body).to_bytes(4, "big")
        covered += probe.protocol.to_bytes(4, "big") + body
    assert internet_checksum(covered) == b"\0\0"
    assert (PAYLOAD in body) == (probe.protocol != 6)


def test_a_probe_of_udp_is_as_another_implementation_makes_it() -> None:
    probe = Probe(frames.packed("10.0.0.1"), frames.packed("10.0.0.2"), 17, 53, 61000)
    packet = Packet(probe.source, probe.destination, 17, 61000, 53)
    frame = b"\0" * 12 + b"\x08\x00" + probe.packet()
    assert frames.arrived(frame, packet, PAYLOAD)


@given(probes())
def test_a_probe_goes_there_and_its_answer_comes_back(probe: Probe) -> None:
    followed = of(probe)
    packet = parts(probe.packet())
    assert followed.way_of(packet) is Way.THERE
    assert followed.way_of(answer(probe)) in (Way.BACK, Way.THERE)
    unreachable = Headers(b"\1" * len(probe.source), probe.source, icmp(probe), bytes((3, 1)))
    if probe.version == 4:
        assert followed.way_of(unreachable) is Way.BACK
        assert "unreachable" in kind_of(unreachable)


@given(probes(), st.integers(1, 65535))
def test_a_guests_own_packets_are_not_taken_for_a_probe(probe: Probe, token: int) -> None:
    other = Probe(probe.source, probe.destination, probe.protocol, probe.port, token)
    assert (of(probe).way_of(parts(other.packet())) is Way.THERE) == (token == probe.token)


@given(probes())
def test_what_reaches_an_interface_of_a_probe_passes_the_filter(probe: Probe) -> None:
    code = program(of(probe))
    assert run(code, probe.packet(), _OUTGOING)
    assert not run(code, probe.packet(), 0)
    head = probe.packet()[: 20 if probe.version == 4 else 40]
    assert run(code, head + answer(probe).transport, _OUTGOING)


def test_a_filter_passes_nothing_of_other_flows() -> None:
    probe = Probe(bytes(4), bytes(4), 6, 80, 61000)
    other = Probe(bytes(4), bytes(4), 6, 80, 61001)
    assert not run(program(of(probe)), other.packet(), _OUTGOING)


@given(probes())
def test_one_rule_there_and_two_back_in_the_family_of_the_probe(probe: Probe) -> None:
    for table, state in following(of(probe)).items():
        family = Family.IP if probe.version == 4 else Family.IP6
        assert len(state.chains["followed"].rules) == (3 if table.family is family else 0)


def test_what_is_asked_for_is_read_from_a_text() -> None:
    assert followed_in("10.0.0.1 10.0.0.2,10.0.0.3 1").token is None
    found = followed_in("10.0.0.1 10.0.0.2 1 - 61000")
    assert (found.protocol, found.port, found.token) == (1, None, 61000)
    for wrong in (
        "",
        "10.0.0.1 10.0.0.2",
        "a b 6",
        "::1 ::2 6 x",
        "::1 ::2 6 1 70000",
        "::1 ::2 999",
    ):
        with pytest.raises(ValueError, match=r"number|address|sources|literal"):
            followed_in(wrong)


def test_nobody_sends_for_an_endpoint_that_is_not_here() -> None:
    for match in ("tap1 10.0.0.1 10.0.0.2 6 80 61000", "tap1 10.0.0.1 ::1 6 80 61000"):
        with pytest.raises(ProbeError):
            prepared(HostState(), {}, match)


def of(probe: Probe) -> Followed:
    return Followed((probe.source,), (probe.destination,), probe.protocol, probe.port, probe.token)


def icmp(probe: Probe) -> int:
    return 1 if probe.version == 4 else 58


def answer(probe: Probe) -> Headers:
    token, port = probe.token.to_bytes(2, "big"), (probe.port or 0).to_bytes(2, "big")
    transport = port + token + bytes(16)
    if probe.protocol in (1, 58):
        transport = bytes((0 if probe.protocol == 1 else 129, 0, 0, 0)) + token + b"\0\1"
    return Headers(probe.destination, probe.source, probe.protocol, transport)


def run(code: Sequence[Instruction], packet: bytes, kind: int) -> bool:
    """Interpret the few instructions that filters here are made of."""
    sizes = {bpf.LOAD_WORD: 4, bpf.LOAD_HALF: 2, bpf.LOAD_BYTE: 1}
    accumulator = at = 0
    while True:
        each = code[at]
        at += 1
        if each.code == bpf.RETURN:
            return each.operand == bpf.PASS
        if each.code == bpf.JUMP_IF_EQUAL:
            equal = accumulator == each.operand
            at += each.jump_if_true if equal else each.jump_if_false
        elif each.operand == bpf.ANCILLARY_PACKET_TYPE:
            accumulator = kind
        else:
            end = each.operand + sizes[each.code]
            if end > len(packet):
                return False
            accumulator = int.from_bytes(packet[each.operand : end], "big")
