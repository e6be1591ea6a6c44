"""How the nftables driver behaves on a real kernel: incremental, restartable, self-healing."""

from __future__ import annotations

import select
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from calico_openstack.felix.kernel.nft_driver import NftDriver
from calico_openstack.felix.render.dataplane import TableDelta
from calico_openstack.felix.render.nft import (
    ACCEPT,
    DROP,
    Chain,
    Compare,
    Counter,
    Element,
    Expression,
    Family,
    Field,
    Hook,
    InSet,
    KeyType,
    Range,
    Reject,
    Rule,
    Ruleset,
    Set,
    Table,
    TableState,
    Verdict,
    VerdictKind,
    VerdictMap,
)
from tests.support.netns import NetworkNamespace, needs_root

pytestmark = needs_root

IPV4 = Table(Family.IP, "calico")
IPV6 = Table(Family.IP6, "calico")
ARP = Table(Family.ARP, "calico-arp")
TABLES = (IPV4, IPV6, ARP)
FROM_TAP = Compare(Field.IIFNAME, b"tap", prefix=True)


def ipv4(text: str) -> bytes:
    return IPv4Address(text).packed


def ifname(name: str) -> bytes:
    return name.encode().ljust(16, b"\0")


def goto(chain: str) -> Verdict:
    return Verdict(VerdictKind.GOTO, chain)


def jump(chain: str) -> Verdict:
    return Verdict(VerdictKind.JUMP, chain)


def rule(*expressions: Expression) -> Rule:
    return Rule(expressions)


def small_ruleset() -> Ruleset:
    return {
        IPV4: TableState(
            sets={
                "web": Set((KeyType.IPV4,)),
                "nets": Set((KeyType.IPV4,), interval=True),
                "from": Set((KeyType.IFNAME,), verdicts=True),
            },
            elements={
                "web": {ipv4("10.0.0.1"): None},
                "nets": {Range(ipv4("10.0.0.0"), ipv4("10.0.0.255")): None},
                "from": {ifname("tap1"): goto("class-1")},
            },
            chains={
                "forward": Chain(
                    (rule(FROM_TAP, jump("from-workload")),), Hook("filter", "forward", 0)
                ),
                "from-workload": Chain(
                    (rule(VerdictMap((Field.IIFNAME,), "from")), rule(Counter(), DROP))
                ),
                "class-1": Chain((rule(jump("policy-1")), rule(DROP))),
                "policy-1": Chain(
                    (
                        rule(InSet((Field.IP_DADDR,), "web"), Counter(), ACCEPT),
                        rule(InSet((Field.IP_DADDR,), "nets"), ACCEPT),
                    )
                ),
            },
        ),
        IPV6: TableState(),
        ARP: TableState(),
    }


@pytest.fixture
def driver(namespace: NetworkNamespace) -> Iterator[NftDriver]:
    with namespace.entered():
        made = NftDriver(TABLES)
    yield made
    made.close()


def other_driver(namespace: NetworkNamespace) -> NftDriver:
    with namespace.entered():
        return NftDriver(TABLES)


def listing(namespace: NetworkNamespace) -> str:
    """Return the rule set as nft lists it, in an order that does not depend on the kernel's."""
    text = namespace.run("nft", "-s", "list", "ruleset").stdout
    tables = sorted("table " + table for table in text.split("table ")[1:])
    return "\n".join(_sorted_elements(line) for line in "".join(tables).splitlines())


def _sorted_elements(line: str) -> str:
    head, found, elements = line.partition("elements = {")
    return head + found + ", ".join(sorted(elements.strip(" }").split(", "))) if found else line


def assert_in_place(namespace: NetworkNamespace, ruleset: Ruleset) -> None:
    """A driver that knows nothing finds nothing to write."""
    probe = other_driver(namespace)
    probe.apply(ruleset, {})
    assert (probe.writes, probe.failures) == (0, {})
    probe.close()


def assert_notified(driver: NftDriver) -> None:
    ready, _, _ = select.select([driver], [], [], 5)
    assert ready
    assert driver.read_notifications()


def test_second_apply_writes_nothing(namespace: NetworkNamespace, driver: NftDriver) -> None:
    ruleset = small_ruleset()
    driver.apply(ruleset, {})
    written = driver.writes
    assert written > 0
    driver.apply(ruleset, {})
    driver.resync()
    driver.apply(ruleset, {})
    assert driver.writes == written


def test_tables_are_made_when_first_wanted(namespace: NetworkNamespace, driver: NftDriver) -> None:
    driver.apply({}, {})
    assert listing(namespace) == ""
    ruleset = small_ruleset()
    # The delta of a late change: everything before it was for nothing.
    driver.apply(ruleset, {IPV4: TableDelta(chains={"policy-1"}), IPV6: TableDelta()})
    assert driver.failures == {}
    driver.apply(ruleset, {ARP: TableDelta()})
    assert_in_place(namespace, ruleset)


def test_restart_writes_nothing(namespace: NetworkNamespace, driver: NftDriver) -> None:
    driver.apply(small_ruleset(), {})
    before = namespace.run("nft", "-a", "list", "ruleset").stdout
    assert_in_place(namespace, small_ruleset())
    assert namespace.run("nft", "-a", "list", "ruleset").stdout == before


def test_own_changes_are_not_notified(namespace: NetworkNamespace, driver: NftDriver) -> None:
    ruleset = small_ruleset()
    driver.apply(ruleset, {})
    many: set[Element] = {(0x0B000000 + i).to_bytes(4, "big") for i in range(5000)}
    ruleset[IPV4].elements["web"].update(dict.fromkeys(many))
    driver.apply(ruleset, {IPV4: TableDelta(elements={"web": many})})
    ready, _, _ = select.select([driver], [], [], 0.2)
    assert not ready
    assert not driver.needs_apply


def test_element_changes(namespace: NetworkNamespace, driver: NftDriver) -> None:
    ruleset = small_ruleset()
    driver.apply(ruleset, {})
    web, nets = ruleset[IPV4].elements["web"], ruleset[IPV4].elements["nets"]
    written = driver.writes

    web[ipv4("10.0.0.2")] = None
    driver.apply(ruleset, {IPV4: TableDelta(elements={"web": {ipv4("10.0.0.2")}})})
    assert driver.writes == written + 1

    del web[ipv4("10.0.0.1")]
    old = Range(ipv4("10.0.0.0"), ipv4("10.0.0.255"))
    # The new range begins where the old one began and another one touches it.
    new, beside = (
        Range(ipv4("10.0.0.0"), ipv4("10.0.0.127")),
        Range(ipv4("10.0.0.128"), b"\xff" * 4),
    )
    del nets[old]
    nets.update({new: None, beside: None})
    delta = TableDelta(elements={"web": {ipv4("10.0.0.1")}, "nets": {old, new, beside}})
    driver.apply(ruleset, {IPV4: delta})
    assert driver.failures == {}
    assert_in_place(namespace, ruleset)
    assert "10.0.0.0/25" in listing(namespace)


def test_verdict_of_an_element_changes(namespace: NetworkNamespace, driver: NftDriver) -> None:
    ruleset = small_ruleset()
    driver.apply(ruleset, {})
    state = ruleset[IPV4]
    state.chains["class-2"] = Chain((rule(ACCEPT),))
    state.elements["from"][ifname("tap1")] = goto("class-2")
    del state.chains["class-1"]
    delta = TableDelta(chains={"class-1", "class-2"}, elements={"from": {ifname("tap1")}})
    driver.apply(ruleset, {IPV4: delta})
    assert driver.failures == {}
    assert '"tap1" : goto class-2' in namespace.run("nft", "list", "ruleset").stdout
    assert_in_place(namespace, ruleset)


def test_a_full_map_changes_and_grows(namespace: NetworkNamespace, driver: NftDriver) -> None:
    """All its verdicts at once; then it needs more room, which only a new table gives."""
    ruleset = small_ruleset()
    state = ruleset[IPV4]
    taps = [ifname(f"tap{number}") for number in range(4)]
    state.sets["from"] = Set((KeyType.IFNAME,), verdicts=True, size=4)
    state.elements["from"] = dict.fromkeys(taps, goto("class-1"))
    driver.apply(ruleset, {})
    state.elements["from"] = dict.fromkeys(taps, DROP)
    driver.apply(ruleset, {IPV4: TableDelta(elements={"from": set(taps)})})
    assert not driver.failures
    assert_in_place(namespace, ruleset)
    created = driver.creations
    state.sets["from"] = Set((KeyType.IFNAME,), verdicts=True, size=16)
    state.elements["from"][ifname("tap4")] = DROP
    driver.apply(ruleset, {IPV4: TableDelta(sets={"from"})})
    assert not driver.failures
    assert driver.creations == created + 1
    assert_in_place(namespace, ruleset)


def test_appended_rules_keep_counters(namespace: NetworkNamespace, driver: NftDriver) -> None:
    ruleset = small_ruleset()
    driver.apply(ruleset, {})
    written = driver.writes
    old = ruleset[IPV4].chains["policy-1"]
    ruleset[IPV4].chains["policy-1"] = Chain((*old.rules, rule(DROP)))
    driver.apply(ruleset, {IPV4: TableDelta(chains={"policy-1"})})
    assert driver.writes == written + 1
    assert_in_place(namespace, ruleset)


def test_chain_is_rewritten(namespace: NetworkNamespace, driver: NftDriver) -> None:
    ruleset = small_ruleset()
    driver.apply(ruleset, {})
    ruleset[IPV4].chains["policy-1"] = Chain((rule(Counter(), DROP),))
    driver.apply(ruleset, {IPV4: TableDelta(chains={"policy-1"})})
    text = namespace.run("nft", "list", "chain", "ip", "calico", "policy-1").stdout
    assert "accept" not in text
    assert_in_place(namespace, ruleset)


def test_everything_is_removed(namespace: NetworkNamespace, driver: NftDriver) -> None:
    driver.apply(small_ruleset(), {})
    driver.apply(
        {IPV4: TableState(), IPV6: TableState()}, {table: TableDelta() for table in TABLES}
    )
    driver.mark_stale()
    driver.apply({IPV4: TableState(), IPV6: TableState()}, {})
    assert driver.failures == {}
    assert listing(namespace) == "table ip calico {\n}\ntable ip6 calico {\n}"


def test_unknown_content_of_our_tables_is_removed(
    namespace: NetworkNamespace, driver: NftDriver
) -> None:
    """What an upstream Felix or an older version left vanishes, whatever refers to what."""
    leftovers = """
    table ip calico {
      set old { type ipv4_addr; elements = { 1.2.3.4 } }
      map dispatch { type ifname : verdict; elements = { "tap9" : goto filter-old } }
      chain filter-old { ip saddr @old jump filter-older
      ip saddr { 1.1.1.1, 2.2.2.2 } drop
      }
      chain filter-older { drop
      }
      chain filter-FORWARD { type filter hook forward priority 0; policy accept;
        iifname vmap @dispatch
      }
      chain from-workload { drop
      }
    }
    table ip6 calico { chain filter-FORWARD { type filter hook forward priority 0; policy accept;
      drop
      }
    }
    """
    namespace.run("nft", "-f", "-", stdin=leftovers)
    driver.apply(small_ruleset(), {})
    assert driver.failures == {}
    text = listing(namespace)
    assert "old" not in text
    assert "filter-FORWARD" not in text
    assert_in_place(namespace, small_ruleset())


@pytest.mark.parametrize(
    "leftovers",
    [
        "table ip calico { set web { type ipv4_addr; flags interval; } }",
        "table ip calico { set web { type inet_service; } }",
        "table ip calico { map web { type ipv4_addr : ipv4_addr; } }",
        "table ip calico { chain forward { type filter hook forward priority -5; } }",
        "table ip calico { chain policy-1 { type filter hook input priority 0; } }",
        "table ip calico { chain forward { } }",
        "table ip calico { counter c { } }",
    ],
)
def test_incompatible_leftovers_are_replaced(
    namespace: NetworkNamespace, driver: NftDriver, leftovers: str
) -> None:
    namespace.run("nft", "-f", "-", stdin=leftovers.replace("; }", ";\n}").replace("} }", "}\n}"))
    driver.apply(small_ruleset(), {})
    assert driver.failures == {}
    assert_in_place(namespace, small_ruleset())
    assert "counter c" not in listing(namespace)


def test_audit_reads_only_after_transactions_of_others(
    namespace: NetworkNamespace, driver: NftDriver
) -> None:
    ruleset = small_ruleset()
    driver.apply(ruleset, {})
    listings = driver.statistics.list_calls
    driver.audit()
    assert not driver.needs_apply
    ruleset[IPV4].elements["web"][ipv4("10.0.0.2")] = None
    driver.apply(ruleset, {IPV4: TableDelta(elements={"web": {ipv4("10.0.0.2")}})})
    driver.audit()
    driver.apply(ruleset, {})
    assert driver.statistics.list_calls == listings
    namespace.run("nft", "flush", "chain", "ip", "calico", "policy-1")
    # Although no notification was taken in.
    driver.audit()
    assert driver.needs_apply
    driver.apply(ruleset, {})
    assert_in_place(namespace, ruleset)
    assert driver.statistics.list_calls == listings + len(TABLES)
    driver.read_notifications()
    driver.apply(ruleset, {})
    listings = driver.statistics.list_calls
    driver.audit()
    driver.apply(ruleset, {})
    assert driver.statistics.list_calls == listings


def test_foreign_tables_are_untouched(namespace: NetworkNamespace, driver: NftDriver) -> None:
    foreign = (
        """
    table inet docker { chain c { type filter hook forward priority 0; counter; } }
    table ip other { set calico { type ipv4_addr; elements = { 9.9.9.9 } } }
    table ip6 calico-arp { chain calico { } }
    """.replace("; } }", ";\n}\n}")
        .replace("} } }", "}\n}\n}")
        .replace("{ } }", "{\n}\n}")
    )
    namespace.run("nft", "-f", "-", stdin=foreign)
    before = [
        namespace.run("nft", "-a", "list", "table", *table).stdout
        for table in (("inet", "docker"), ("ip", "other"), ("ip6", "calico-arp"))
    ]
    driver.apply(small_ruleset(), {})
    driver.apply({}, {table: TableDelta() for table in TABLES})
    after = [
        namespace.run("nft", "-a", "list", "table", *table).stdout
        for table in (("inet", "docker"), ("ip", "other"), ("ip6", "calico-arp"))
    ]
    assert after == before


@pytest.mark.parametrize(
    "damage",
    [
        ("insert", "rule", "ip", "calico", "policy-1", "accept"),
        ("add", "rule", "ip", "calico", "from-workload", "accept"),
        ("flush", "chain", "ip", "calico", "policy-1"),
        ("delete", "element", "ip", "calico", "web", "{ 10.0.0.1 }"),
        ("add", "element", "ip", "calico", "web", "{ 10.9.9.9 }"),
        ("delete", "element", "ip", "calico", "nets", "{ 10.0.0.0/24 }"),
        ("add", "element", "ip", "calico", "nets", "{ 172.16.0.0/12 }"),
        ("delete", "element", "ip", "calico", "from", "{ tap1 }"),
        ("flush", "set", "ip", "calico", "nets"),
        ("add", "chain", "ip", "calico", "foreign"),
        ("add", "set", "ip", "calico", "foreign", "{ type ipv4_addr; }"),
        ("add", "counter", "ip", "calico", "foreign"),
        ("flush", "table", "ip", "calico"),
        ("delete", "table", "ip", "calico"),
        ("flush", "ruleset"),
    ],
    ids=" ".join,
)
def test_damage_is_noticed_and_repaired(
    namespace: NetworkNamespace, driver: NftDriver, damage: tuple[str, ...]
) -> None:
    ruleset = small_ruleset()
    driver.apply(ruleset, {})
    before = listing(namespace)
    namespace.run("nft", *damage)
    assert listing(namespace) != before
    assert_notified(driver)
    assert driver.needs_apply
    driver.apply(ruleset, {})
    assert driver.failures == {}
    assert listing(namespace) == before
    assert not driver.needs_apply


def test_change_meets_unnoticed_damage(namespace: NetworkNamespace, driver: NftDriver) -> None:
    """A change that fails because the table is gone puts everything back with itself."""
    ruleset = small_ruleset()
    driver.apply(ruleset, {})
    namespace.run("nft", "flush", "ruleset")
    ruleset[IPV4].elements["web"][ipv4("10.0.0.2")] = None
    driver.apply(ruleset, {IPV4: TableDelta(elements={"web": {ipv4("10.0.0.2")}})})
    assert driver.failures == {}
    assert_in_place(namespace, ruleset)


def test_large_sets(namespace: NetworkNamespace, driver: NftDriver) -> None:
    ruleset = small_ruleset()
    state = ruleset[IPV4]
    state.elements["web"] = {(0x0A000000 + i).to_bytes(4, "big"): None for i in range(120_000)}
    state.elements["nets"] = {
        Range(
            (0x0B000000 + i * 512).to_bytes(4, "big"), (0x0B0000FF + i * 512).to_bytes(4, "big")
        ): None
        for i in range(10_000)
    }
    state.elements["from"] = {ifname(f"tap{i}"): goto("class-1") for i in range(10_000)}
    driver.apply(ruleset, {})
    assert driver.failures == {}
    assert_in_place(namespace, ruleset)
    one = ipv4("10.200.0.1")
    state.elements["web"][one] = None
    written = driver.writes
    driver.apply(ruleset, {IPV4: TableDelta(elements={"web": {one}})})
    assert driver.writes == written + 1


# --- what the kernel refuses --------------------------------------------------------------------


def failed(driver: NftDriver) -> dict[str, str]:
    return {str(subject): reason for subject, reason in driver.failures.items()}


def test_chain_that_jumps_nowhere_is_closed(namespace: NetworkNamespace, driver: NftDriver) -> None:
    ruleset = small_ruleset()
    state = ruleset[IPV4]
    state.chains["class-2"] = Chain((rule(jump("missing")), rule(ACCEPT)))
    state.elements["from"][ifname("tap2")] = goto("class-2")
    state.elements["web"][ipv4("10.0.0.7")] = None
    driver.apply(ruleset, {})
    (subject,) = failed(driver)
    assert subject == "chain ip calico class-2"
    assert "ENOENT" in failed(driver)[subject]
    text = listing(namespace)
    closed = namespace.run("nft", "list", "chain", "ip", "calico", "class-2").stdout
    assert "accept" not in closed
    assert "drop" in closed
    assert "10.0.0.7" in text
    assert "goto class-2" in text

    # What it lacked appears: the next change repairs it.
    state.chains["missing"] = Chain((rule(Counter(), ACCEPT),))
    driver.apply(ruleset, {IPV4: TableDelta(chains={"missing"})})
    assert driver.failures == {}
    assert_in_place(namespace, ruleset)


def test_refused_base_chain_closes_workloads_only(
    namespace: NetworkNamespace, driver: NftDriver
) -> None:
    ruleset = small_ruleset()
    state = ruleset[IPV4]
    state.chains["forward"] = Chain(
        (rule(FROM_TAP, jump("missing")), rule(ACCEPT)), Hook("filter", "forward", 0)
    )
    driver.apply(ruleset, {})
    assert list(failed(driver)) == ["chain ip calico forward"]
    text = namespace.run("nft", "list", "chain", "ip", "calico", "forward").stdout
    assert 'iifname "tap*" counter packets 0 bytes 0 drop' in text
    assert "accept;" in text
    assert "\taccept" not in text


def test_loop_of_chains_is_isolated(namespace: NetworkNamespace, driver: NftDriver) -> None:
    ruleset = small_ruleset()
    driver.apply(ruleset, {})
    state = ruleset[IPV4]
    state.chains["policy-1"] = Chain((rule(jump("class-1")),))
    state.chains["policy-2"] = Chain((rule(Counter(), ACCEPT),))
    driver.apply(ruleset, {IPV4: TableDelta(chains={"policy-1", "policy-2"})})
    assert len(failed(driver)) == 1
    assert set(failed(driver)) <= {"chain ip calico policy-1", "chain ip calico class-1"}
    assert "policy-2" in listing(namespace)


def test_refused_elements_are_left_out(namespace: NetworkNamespace, driver: NftDriver) -> None:
    ruleset = small_ruleset()
    state = ruleset[IPV4]
    state.elements["from"].update(
        {ifname(f"tap{i}"): goto("missing" if i == 500 else "class-1") for i in range(2, 1000)}
    )
    inside = Range(ipv4("10.0.0.64"), ipv4("10.0.0.65"))
    state.elements["nets"][inside] = None
    wrong = b"\x0a\0\0"
    state.elements["web"][wrong] = None
    driver.apply(ruleset, {})
    subjects = {(name.name, name.element) for name in driver.failures}
    assert ("from", ifname("tap500")) in subjects
    assert ("web", wrong) in subjects
    assert len(subjects) == 3
    text = namespace.run("nft", "list", "map", "ip", "calico", "from").stdout
    assert text.count("goto class-1") == 998


def test_unstatable_rules_close_their_chain(namespace: NetworkNamespace, driver: NftDriver) -> None:
    ruleset = small_ruleset()
    ruleset[IPV4].chains["policy-1"] = Chain((rule(Compare(Field.TH_DPORT, b"\x50")), rule(ACCEPT)))
    ruleset[ARP].chains["output"] = Chain((rule(Reject()),), Hook("filter", "output", 0))
    ruleset[IPV6].chains["never"] = Chain((), Hook("filter", "nowhere", 0))
    driver.apply(ruleset, {})
    assert set(failed(driver)) == {
        "chain ip calico policy-1",
        "chain arp calico-arp output",
        "chain ip6 calico never",
    }
    assert "takes 2 bytes" in failed(driver)["chain ip calico policy-1"]
    closed = namespace.run("nft", "list", "chain", "ip", "calico", "policy-1").stdout
    assert "accept" not in closed


def test_names_that_are_too_long_cost_only_themselves(
    namespace: NetworkNamespace, driver: NftDriver
) -> None:
    ruleset = small_ruleset()
    long = "x" * 300
    ruleset[IPV4].chains[long] = Chain((rule(ACCEPT),))
    ruleset[IPV4].chains["class-1"] = Chain((rule(jump(long)), rule(DROP)))
    ruleset[IPV4].sets[long] = Set((KeyType.IPV4,))
    ruleset[IPV4].elements[long] = {ipv4("10.0.0.1"): None}
    driver.apply(ruleset, {})
    names = {subject.name for subject in driver.failures}
    assert names == {long, "class-1"}
    assert "policy-1" in listing(namespace)


def test_refusals_do_not_repeat_writes(namespace: NetworkNamespace, driver: NftDriver) -> None:
    """A failure that stays costs no writes while nothing changes, also after a restart."""
    ruleset = small_ruleset()
    ruleset[IPV4].chains["class-1"] = Chain((rule(jump("missing")),))
    driver.apply(ruleset, {})
    written = driver.writes
    driver.apply(ruleset, {})
    driver.resync()
    driver.apply(ruleset, {})
    assert driver.writes == written
    probe = other_driver(namespace)
    probe.apply(ruleset, {})
    assert probe.writes == 0
    assert list(failed(probe)) == ["chain ip calico class-1"]
    probe.close()
