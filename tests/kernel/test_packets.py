"""Packets through rules that the driver programmed: what they say is what happens."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv6Network, ip_address

import pytest

from calico_openstack.felix.render.dataplane import DataplaneDelta, TableDelta
from calico_openstack.felix.render.nft import (
    ACCEPT,
    DROP,
    RETURN,
    Chain,
    Compare,
    Counter,
    CtState,
    CtStateIs,
    Element,
    Expression,
    Field,
    Hook,
    InNetwork,
    InSet,
    KeyType,
    Range,
    Rule,
    Set,
    Table,
    TableState,
    Verdict,
    VerdictKind,
    VerdictMap,
)
from tests.kernel.conftest import NamespaceFactory
from tests.kernel.host import IPV4, IPV6, Host, eventually
from tests.support.netns import NetworkNamespace, needs_root

pytestmark = needs_root

FROM_TAP = Compare(Field.IIFNAME, b"tap", prefix=True)
TO_TAP = Compare(Field.OIFNAME, b"tap", prefix=True)
TCP = Compare(Field.L4PROTO, b"\x06")
WEB, DATABASE = 80, 3306


def ifname(name: str) -> bytes:
    return name.encode().ljust(16, b"\0")


def packed(text: str) -> bytes:
    return ip_address(text).packed


def jump(chain: str) -> Verdict:
    return Verdict(VerdictKind.JUMP, chain)


def goto(chain: str) -> Verdict:
    return Verdict(VerdictKind.GOTO, chain)


def rules(*each: tuple[Expression, ...]) -> tuple[Rule, ...]:
    return tuple(Rule(expressions) for expressions in each)


@dataclass(frozen=True)
class FamilyUnderTest:
    table: Table
    address: str  # of a workload, by its number
    key: KeyType
    source: Field

    def of(self, number: int) -> str:
        return self.address.format(number)


FAMILIES = (
    FamilyUnderTest(IPV4, "10.65.0.{}", KeyType.IPV4, Field.IP_SADDR),
    FamilyUnderTest(IPV6, "fd00::{}", KeyType.IPV6, Field.IP6_SADDR),
)


def policy(family: FamilyUnderTest, numbers: tuple[int, ...]) -> TableState:
    """Anti-spoofing, and web for all, the database for the members of a group."""
    local: tuple[tuple[Expression, ...], ...] = ()
    if family.table == IPV6:
        local = ((InNetwork(Field.IP6_SADDR, IPv6Network("fe80::/10")), RETURN),)
    return TableState(
        sets={
            "sources": Set((KeyType.IFNAME, family.key)),
            "clients": Set((family.key,)),
            "networks": Set((family.key,), interval=True),
            "to": Set((KeyType.IFNAME,), verdicts=True),
        },
        elements={
            "sources": {ifname(f"tap{n}") + packed(family.of(n)): None for n in numbers},
            "clients": {},
            "networks": {},
            "to": {ifname(f"tap{n}"): goto("class") for n in numbers},
        },
        chains={
            "raw": Chain(
                rules((FROM_TAP, jump("anti-spoofing"))), Hook("filter", "prerouting", -300)
            ),
            "anti-spoofing": Chain(
                rules(
                    (InSet((Field.IIFNAME, family.source), "sources"), RETURN),
                    *local,
                    (Counter(), DROP),
                )
            ),
            "forward": Chain(
                rules(
                    (CtStateIs(CtState.ESTABLISHED | CtState.RELATED), ACCEPT),
                    (TO_TAP, goto("to-workload")),
                ),
                Hook("filter", "forward", 0),
            ),
            "to-workload": Chain(rules((VerdictMap((Field.OIFNAME,), "to"),), (Counter(), DROP))),
            "class": Chain(rules((jump("web"),), (jump("database"),), (Counter(), DROP))),
            "web": Chain(rules((TCP, Compare(Field.TH_DPORT, WEB.to_bytes(2, "big")), ACCEPT))),
            "database": Chain(
                rules(
                    *(
                        (
                            TCP,
                            Compare(Field.TH_DPORT, DATABASE.to_bytes(2, "big")),
                            InSet((family.source,), name),
                            ACCEPT,
                        )
                        for name in ("clients", "networks")
                    )
                )
            ),
        },
    )


@pytest.fixture
def cloud(
    namespace: NetworkNamespace, new_namespace: NamespaceFactory
) -> Iterator[tuple[Host, dict[int, NetworkNamespace]]]:
    host = Host(namespace, new_namespace)
    workloads = {number: host.plug(number) for number in (1, 2)}
    host.settle()
    delta = DataplaneDelta()
    for number in workloads:
        delta.merge(host.want(number))
    for family in FAMILIES:
        host.desired.ruleset[family.table] = policy(family, tuple(workloads))
        state = host.desired.ruleset[family.table]
        delta.tables[family.table] = TableDelta(chains=set(state.chains), sets=set(state.sets))
    host.apply(delta)
    assert host.dataplane.failures == ()
    yield host, workloads
    host.dataplane.close()


@contextmanager
def listening(namespace: NetworkNamespace, *ports: int) -> Iterator[None]:
    servers = []
    with namespace.entered():
        for port in ports:
            server = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
            servers.append(server)
    yield
    for server in servers:
        server.close()


def connects(
    namespace: NetworkNamespace, target: str, port: int, source: str | None = None
) -> bool:
    """Return whether a TCP connection comes about; a dropped first packet is given up soon."""
    origin = (source, 0) if source else None
    with namespace.entered():
        try:
            socket.create_connection((target, port), timeout=0.4, source_address=origin).close()
        except OSError:
            return False
    return True


def gets_through(
    namespace: NetworkNamespace, target: str, port: int, source: str | None = None
) -> bool:
    """Return whether a TCP connection comes about, giving neighbour discovery time to settle."""
    return eventually(lambda: connects(namespace, target, port, source))


def change(host: Host, family: FamilyUnderTest, name: str, element: Element, present: bool) -> None:
    elements = host.desired.ruleset[family.table].elements[name]
    if present:
        elements[element] = None
    else:
        del elements[element]
    host.apply(DataplaneDelta(tables={family.table: TableDelta(elements={name: {element}})}))


@pytest.mark.parametrize("family", FAMILIES, ids=["ipv4", "ipv6"])
def test_policy(cloud: tuple[Host, dict[int, NetworkNamespace]], family: FamilyUnderTest) -> None:
    host, workloads = cloud
    target = family.of(2)
    with listening(workloads[2], WEB, DATABASE):
        assert gets_through(workloads[1], target, WEB)
        assert not connects(workloads[1], target, DATABASE)
        client: Element = packed(family.of(1))
        change(host, family, "clients", client, present=True)
        assert gets_through(workloads[1], target, DATABASE)
        change(host, family, "clients", client, present=False)
        assert not connects(workloads[1], target, DATABASE)
        # A network that contains the client, up to the last address there is.
        network = Range(packed(family.of(0)), b"\xff" * len(packed(family.of(0))))
        change(host, family, "networks", network, present=True)
        assert gets_through(workloads[1], target, DATABASE)
        change(host, family, "networks", network, present=False)
        assert not connects(workloads[1], target, DATABASE)


@pytest.mark.parametrize("family", FAMILIES, ids=["ipv4", "ipv6"])
def test_spoofed_sources_are_dropped(
    cloud: tuple[Host, dict[int, NetworkNamespace]], family: FamilyUnderTest
) -> None:
    _, workloads = cloud
    forged = family.of(77)
    workloads[1].ip(
        "addr", "add", forged, "dev", "eth0", *(("nodad",) if family.table == IPV6 else ())
    )
    with listening(workloads[2], WEB):
        assert gets_through(workloads[1], family.of(2), WEB, source=family.of(1))
        assert not connects(workloads[1], family.of(2), WEB, source=forged)


@pytest.mark.parametrize("family", FAMILIES, ids=["ipv4", "ipv6"])
def test_unknown_workloads_get_nothing(
    cloud: tuple[Host, dict[int, NetworkNamespace]], family: FamilyUnderTest
) -> None:
    host, workloads = cloud
    element: Element = ifname("tap2")
    del host.desired.ruleset[family.table].elements["to"][element]
    host.apply(DataplaneDelta(tables={family.table: TableDelta(elements={"to": {element}})}))
    with listening(workloads[2], WEB):
        # The other direction shows that everything else is in place.
        with listening(workloads[1], WEB):
            assert gets_through(workloads[2], family.of(1), WEB)
        assert not connects(workloads[1], family.of(2), WEB)


def test_established_flows_live_through_a_restart(
    cloud: tuple[Host, dict[int, NetworkNamespace]],
) -> None:
    host, workloads = cloud
    with workloads[2].entered():
        server = socket.create_server(("10.65.0.2", WEB))
    with workloads[1].entered():
        client = socket.create_connection(("10.65.0.2", WEB), timeout=2)
    accepted, _ = server.accept()
    accepted.settimeout(2)
    with server, client, accepted:
        host.dataplane.close()
        host.dataplane = host.new_dataplane()
        host.apply()
        assert host.dataplane.writes == 0
        client.sendall(b"still here")
        assert accepted.recv(100) == b"still here"
