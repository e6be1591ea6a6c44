"""Translations of addresses as nft(8) lists them, and as they are read back."""

from __future__ import annotations

import re
from ipaddress import ip_address

import pytest

from calico_openstack.felix.kernel.nft_driver import NftDriver
from calico_openstack.felix.render.nft import (
    Chain,
    Compare,
    Element,
    ElementValue,
    Expression,
    Family,
    Field,
    Hook,
    InSet,
    KeyType,
    NatKind,
    NatMap,
    Range,
    Rule,
    Set,
    SourceNat,
    Table,
    TableState,
)
from tests.support.netns import NetworkNamespace, needs_root

pytestmark = needs_root

TCP = Compare(Field.L4PROTO, b"\x06")
UDP = Compare(Field.L4PROTO, b"\x11")


def packed(text: str) -> bytes:
    return ip_address(text).packed


def rulesets(family: Family) -> TableState:
    four = family is Family.IP
    address = KeyType.IPV4 if four else KeyType.IPV6
    source = Field.IP_SADDR if four else Field.IP6_SADDR
    destination = Field.IP_DADDR if four else Field.IP6_DADDR
    one, two = map(packed, ("10.0.0.1", "192.0.2.2") if four else ("fd00::1", "2001:db8::2"))
    floating: dict[Element, ElementValue] = {two: one}
    hairpin: dict[Element, ElementValue] = {one + one: two}
    pools: dict[Element, ElementValue] = {Range(bytes(len(one)), one): None}
    pool = InSet((source,), "pools")
    rules: tuple[tuple[Expression, ...], ...] = (
        (NatMap(NatKind.SOURCE, (source, destination), "hairpin"),),
        (pool, TCP, SourceNat(ports=(1024, 2000))),
        (pool, SourceNat()),
        (UDP, SourceNat(two, (1024, 2000))),
        (SourceNat(two),),
    )
    return TableState(
        sets={
            "floating": Set((address,), data=address),
            "hairpin": Set((address, address), data=address),
            "pools": Set((address,), interval=True),
        },
        elements={"floating": floating, "hairpin": hairpin, "pools": pools},
        chains={
            "prerouting": Chain(
                (Rule((NatMap(NatKind.DESTINATION, (destination,), "floating"),)),),
                Hook("nat", "prerouting", -100),
            ),
            "postrouting": Chain(tuple(map(Rule, rules)), Hook("nat", "postrouting", 100)),
        },
    )


LISTED = {
    Family.IP: """
        ip saddr . ip daddr map @hairpin
        ip saddr @pools meta l4proto tcp masquerade to :1024-2000 fully-random
        ip saddr @pools masquerade fully-random
        meta l4proto udp snat to 192.0.2.2:1024-2000 fully-random
        snat to 192.0.2.2 fully-random
        """,
    Family.IP6: """
        ip6 saddr . ip6 daddr map @hairpin
        ip6 saddr @pools meta l4proto tcp masquerade to :1024-2000 fully-random
        ip6 saddr @pools masquerade fully-random
        meta l4proto udp snat to [2001:db8::2]:1024-2000 fully-random
        snat to 2001:db8::2 fully-random
        """,
}


@pytest.mark.parametrize("family", [Family.IP, Family.IP6])
def test_translations_are_listed_and_read_back(namespace: NetworkNamespace, family: Family) -> None:
    table = Table(family, "calico")
    ruleset = {table: rulesets(family)}
    with namespace.entered():
        driver = NftDriver([table])
        driver.apply(ruleset, {})
    assert driver.failures == {}
    text = namespace.run("nft", "list", "table", family.value, "calico").stdout
    text = re.sub(r' comment "[^"]*"', "", text)
    lines = [line.strip() for line in text.splitlines()]
    wanted = [line.strip() for line in LISTED[family].strip().splitlines()]
    wanted[0] = f"snat to {wanted[0]}"
    start = lines.index(wanted[0])
    assert lines[start : start + len(wanted)] == wanted
    name = family.value
    assert f"dnat to {name} daddr map @floating" in lines
    two = "192.0.2.2" if family is Family.IP else "2001:db8::2"
    one = "10.0.0.1" if family is Family.IP else "fd00::1"
    assert f"elements = {{ {two} : {one} }}" in lines
    assert f"elements = {{ {one} . {one} : {two} }}" in lines
    # A driver that knows nothing finds everything as it should be.
    with namespace.entered():
        again = NftDriver([table])
        again.apply(ruleset, {})
    assert (again.failures, again.writes) == ({}, 0)
    # What an element leads to is part of it.
    state = ruleset[table]
    state.elements["floating"] = {packed(two): packed(two)}
    with namespace.entered():
        again.mark_stale()
        again.apply(ruleset, {})
    assert f"{two} : {two}" in namespace.run("nft", "list", "table", name, "calico").stdout
    for each in (driver, again):
        each.close()
