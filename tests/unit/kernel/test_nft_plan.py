"""From wanted and present to requests: what, and in which order."""

from __future__ import annotations

import re

from calico_openstack.felix.kernel.affected import interfaces_affected
from calico_openstack.felix.kernel.nft_closed import closed_chain
from calico_openstack.felix.kernel.nft_constants import NftMessage
from calico_openstack.felix.kernel.nft_dump import TableImage
from calico_openstack.felix.kernel.nft_messages import encode_rules, parse_rule_hash
from calico_openstack.felix.kernel.nft_plan import Exclusions, plan_table
from calico_openstack.felix.kernel.nft_transaction import (
    ObjectKind,
    ObjectName,
    TablePlan,
    assemble,
    blame,
)
from calico_openstack.felix.render.dataplane import TableDelta
from calico_openstack.felix.render.nft import (
    ACCEPT,
    DROP,
    Chain,
    Compare,
    Counter,
    Expression,
    Family,
    Field,
    Hook,
    InSet,
    KeyType,
    OffloadFlow,
    Range,
    Rule,
    Set,
    Table,
    TableState,
    Verdict,
    VerdictKind,
    VerdictMap,
)
from calico_openstack.netlink.protocol import Refusal

TABLE = Table(Family.IP, "calico")
TAP = b"tap1".ljust(16, b"\0")
FORWARD = Hook("filter", "forward", 0)
GUARD = Compare(Field.IIFNAME, b"tap", prefix=True)


def chain(*rules: tuple[Expression, ...], hook: Hook | None = None) -> Chain:
    return Chain(tuple(Rule(expressions) for expressions in rules), hook)


def jump(name: str) -> Verdict:
    return Verdict(VerdictKind.JUMP, name)


def state() -> TableState:
    return TableState(
        sets={"web": Set((KeyType.IPV4,)), "from": Set((KeyType.IFNAME,), verdicts=True)},
        elements={"web": {bytes(4): None}, "from": {TAP: Verdict(VerdictKind.GOTO, "class")}},
        chains={
            "forward": chain((GUARD, VerdictMap((Field.IIFNAME,), "from")), hook=FORWARD),
            "class": chain((jump("policy"),), (DROP,)),
            "policy": chain((InSet((Field.IP_DADDR,), "web"), ACCEPT)),
        },
    )


def plan(
    desired: TableState | None, image: TableImage | None, changed: TableDelta | None = None
) -> TablePlan:
    return plan_table(TABLE, desired, image, changed, Exclusions())


def steps(made: TablePlan) -> list[str]:
    _, requests = assemble([made])
    return [f"{request.kind.name} {request.subject.name}".strip() for request in requests]


def programmed(desired: TableState) -> TableImage:
    image = plan(desired, None).record(None)
    assert image is not None
    return image


def test_everything_exists_before_it_is_used() -> None:
    assert steps(plan(state(), None)) == [
        "NEWTABLE",
        "NEWSET web",
        "NEWSET from",
        "NEWCHAIN forward",
        "NEWCHAIN class",
        "NEWCHAIN policy",
        "NEWSETELEM web",
        "NEWSETELEM from",
        "NEWRULE forward",
        "NEWRULE class",
        "NEWRULE class",
        "NEWRULE policy",
    ]


def test_nothing_is_left_to_do_after_it_is_done() -> None:
    image = programmed(state())
    assert steps(plan(state(), image)) == []
    everything = TableDelta(
        chains=set(state().chains), sets=set(state().sets), elements={"web": {bytes(4)}}
    )
    assert steps(plan(state(), image, everything)) == []


def test_everything_goes_after_its_last_user() -> None:
    assert steps(plan(TableState(), programmed(state()))) == [
        "DELRULE forward",
        "DELRULE class",
        "DELRULE policy",
        "DELSET web",
        "DELSET from",
        "DELCHAIN forward",
        "DELCHAIN class",
        "DELCHAIN policy",
    ]


def test_unwanted_table_goes_as_a_whole() -> None:
    made = plan(None, programmed(state()))
    assert steps(made) == ["DELTABLE"]
    assert made.record(TableImage()) is None
    assert steps(plan(None, None)) == []


def test_table_that_is_absent_and_unwanted_stays_absent() -> None:
    assert plan(None, None).record(None) is None
    assert "NEWTABLE" in steps(plan(state(), None, TableDelta(elements={"web": {bytes(4)}})))


def test_elements_bring_their_set_where_it_is_missing() -> None:
    image = programmed(state())
    del image.sets["web"]
    delta = TableDelta(elements={"web": {bytes(4)}})
    assert steps(plan(state(), image, delta)) == ["NEWSET web", "NEWSETELEM web"]


def test_only_what_changed_is_looked_at() -> None:
    image = programmed(state())
    wanted = state()
    wanted.elements["web"][b"\1\1\1\1"] = None
    wanted.chains["policy"] = chain((DROP,))
    delta = TableDelta(elements={"web": {b"\1\1\1\1", bytes(4)}})
    made = plan(wanted, image, delta)
    assert steps(made) == ["NEWSETELEM web"]
    made.record(image)
    assert steps(plan(wanted, image)) == ["DELRULE policy", "NEWRULE policy"]


def test_another_type_replaces_the_table() -> None:
    wanted = state()
    wanted.sets["web"] = Set((KeyType.IPV4,), interval=True)
    wanted.elements["web"] = {Range(bytes(4), bytes(4)): None}
    made = steps(plan(wanted, programmed(state()), TableDelta(sets={"web"})))
    assert made[:2] == ["DELTABLE", "NEWTABLE"]
    assert "NEWRULE policy" in made


def test_rules_are_appended_where_the_beginning_is_right() -> None:
    image = programmed(state())
    wanted = state()
    wanted.chains["policy"] = Chain((*wanted.chains["policy"].rules, Rule((DROP,))))
    assert steps(plan(wanted, image)) == ["NEWRULE policy"]


def test_refused_chain_is_closed() -> None:
    subject = ObjectName(TABLE, ObjectKind.CHAIN, "policy")
    made = plan_table(TABLE, state(), None, None, Exclusions(closed={subject}))
    image = made.record(None)
    assert image is not None
    assert len(image.chains["policy"].hashes) == 1
    # What is closed is not programmed again and again, and is replaced once it may be.
    again = plan_table(TABLE, state(), image, None, Exclusions(closed={subject}))
    assert steps(again) == []
    assert steps(plan(state(), image)) == ["DELRULE policy", "NEWRULE policy"]


def test_closed_chains() -> None:
    closed, hashes = closed_chain(chain((ACCEPT,)))
    assert [rule.expressions for rule in closed.rules] == [(Counter(), DROP)]
    assert not set(hashes) & set(closed.rule_hashes("x"))
    out = Compare(Field.OIFNAME, b"tap", prefix=True)
    base = chain((ACCEPT,), (GUARD, jump("x")), (GUARD, ACCEPT), (out, jump("y")), hook=FORWARD)
    closed, _ = closed_chain(base)
    assert [rule.expressions[0] for rule in closed.rules] == [GUARD, out]
    assert closed.hook == FORWARD
    # What is forwarded is not let out because the chain asks for names on one side only.
    assert closed_chain(chain((out, DROP), hook=FORWARD))[0] == closed
    assert closed_chain(chain((DROP,), hook=Hook("nat", "prerouting", -100)))[0].rules == ()


def test_the_element_that_is_refused_is_named() -> None:
    nets = Set((KeyType.IPV4,), interval=True)
    ranges = [Range(bytes([10, i, 0, 0]), bytes([10, i, 0, 9])) for i in range(10)]
    wanted = TableState(sets={"nets": nets}, elements={"nets": dict.fromkeys(ranges)})
    transaction, requests = assemble([plan(wanted, None)])
    (request,) = [one for one in requests if one.kind is NftMessage.NEWSETELEM]
    start = transaction.index(request.body) - 20
    offset = transaction.index(ranges[7].first) - start
    named = blame(request, Refusal(requests.index(request) + 1, 17, offset=offset))
    assert named == ObjectName(TABLE, ObjectKind.ELEMENT, "nets", ranges[7])
    end = transaction.index(bytes([10, 7, 0, 10])) - start
    assert blame(request, Refusal(1, 17, offset=end)).element == ranges[7]
    assert blame(request, Refusal(1, 17)).kind is ObjectKind.SET


def test_comment_carries_hash_and_provenance() -> None:
    long = Rule((ACCEPT,), 'says "yes"\n' + "ä" * 200)
    one = Chain((long,))
    (body,) = encode_rules(TABLE, "x", one, one.rule_hashes("x"))
    match = re.search(rb"\0(.)(cali:[^\0]*)\0", body)
    assert match
    assert match[1][0] == len(match[2]) + 1 <= 128
    text = match[2].decode()
    assert text.startswith(f"cali:{one.rule_hashes('x')[0]}; says 'yes' ää")
    userdata = b"\0" + match[1] + match[2] + b"\0"
    assert parse_rule_hash(userdata) == one.rule_hashes("x")[0]


def test_foreign_rules_have_no_hash() -> None:
    for userdata in (b"", b"\0", b"\0\x06hello\0", b"\1\x16cali:0123456789abcdef;\0"):
        assert parse_rule_hash(userdata) == ""


def test_interfaces_affected_by_refusals() -> None:
    ruleset = {TABLE: state()}

    def affected(subject: ObjectName) -> dict[str, str]:
        return interfaces_affected(ruleset, {subject: "because"})

    policy = ObjectName(TABLE, ObjectKind.CHAIN, "policy")
    assert affected(policy) == {"tap1": "chain ip calico policy: because"}
    assert list(affected(ObjectName(TABLE, ObjectKind.CHAIN, "forward"))) == [""]
    assert list(affected(ObjectName(TABLE, ObjectKind.SET, "web"))) == ["tap1"]
    assert list(affected(ObjectName(TABLE, ObjectKind.SET, "from"))) == [""]
    assert list(affected(ObjectName(TABLE, ObjectKind.ELEMENT, "from", TAP))) == ["tap1"]
    assert affected(ObjectName(TABLE, ObjectKind.ELEMENT, "web", bytes(4))) == {}
    assert list(affected(ObjectName(TABLE, ObjectKind.TABLE))) == [""]


def offloading() -> TableState:
    wanted = state()
    wanted.flowtables = {"fast"}
    wanted.chains["forward"] = chain((OffloadFlow("fast"),), hook=FORWARD)
    return wanted


def test_a_flowtable_is_there_before_the_rule_that_fills_it() -> None:
    made = plan(offloading(), TableImage())
    order = steps(made)
    assert order.index("NEWFLOWTABLE fast") < order.index("NEWRULE forward")
    image = made.record(TableImage())
    assert image is not None
    assert image.flowtables == {"fast"}
    assert steps(plan(offloading(), image)) == []


def test_a_flowtable_goes_after_the_rule_that_filled_it() -> None:
    image = plan(offloading(), TableImage()).record(TableImage())
    order = steps(plan(state(), image))
    assert order.index("DELRULE forward") < order.index("DELFLOWTABLE fast")


def test_only_flowtables_that_changed_are_looked_at() -> None:
    made = plan(offloading(), TableImage(), TableDelta(flowtables={"fast"}))
    assert steps(made) == ["NEWFLOWTABLE fast"]
