"""BGPFilters compiled to BIRD's filter language."""

from __future__ import annotations

import pytest

from calico_openstack.bgp.filters import (
    Direction,
    FilterError,
    function_lines,
    function_name,
)
from calico_openstack.datamodel.bgp import (
    AddCommunity,
    BGPFilterOperation,
    BGPFilterRule,
    CommunityMatch,
    PrefixLength,
    PrependASPath,
    SetPriority,
)
from tests.unit.bgp.builders import bgp_filter

ACCEPT = BGPFilterRule(action="Accept")
OPERATIONS = (
    BGPFilterOperation(add_community=AddCommunity(value="65000:512")),
    BGPFilterOperation(add_community=AddCommunity(value="1:2:3")),
    BGPFilterOperation(prepend_as_path=PrependASPath(prefix=(65001, "1.1"))),
    BGPFilterOperation(set_priority=SetPriority(value=512)),
)
RULES_V4 = (
    BGPFilterRule(action="Reject", cidr="10.0.0.0/8", match_operator="Equal"),
    BGPFilterRule(action="Reject", cidr="10.0.0.0/8", match_operator="NotEqual", peer_type="eBGP"),
    BGPFilterRule(
        action="Accept",
        cidr="10.0.0.0/8",
        match_operator="In",
        prefix_length=PrefixLength(min=4, max=30),
        operations=OPERATIONS,
    ),
    BGPFilterRule(
        action="Reject",
        cidr="10.0.0.0/8",
        match_operator="NotIn",
        prefix_length=PrefixLength(max=4),
        source="RemotePeers",
    ),
    BGPFilterRule(
        action="Reject",
        interface="tap*",
        communities=CommunityMatch(values=("1:2",)),
        as_path_prefix=(65000, 65001),
        priority=512,
        peer_type="iBGP",
    ),
    ACCEPT,
)
RULES_V6 = (
    BGPFilterRule(
        action="Accept",
        cidr="fd00::/8",
        match_operator="Equal",
        prefix_length=PrefixLength(min=64),
        communities=CommunityMatch(values=("1:2:3",)),
    ),
    BGPFilterRule(action="Reject", cidr="::/0", match_operator="In"),
)
EVERYTHING = bgp_filter(
    "every.thing",
    import_v4=RULES_V4,
    export_v4=RULES_V4,
    import_v6=RULES_V6,
    export_v6=RULES_V6,
)


def body(*rules: BGPFilterRule, direction: Direction = Direction.EXPORT) -> str:
    family = 6 if any(":" in rule.cidr for rule in rules) else 4
    lines = function_lines("f", rules, direction, family)  # type: ignore[arg-type]
    return "\n".join(line.strip() for line in lines[2:-1])


def test_names() -> None:
    assert function_name("a.b-c", Direction.IMPORT, 4) == "'bgp_a.b-c_importFilterV4'"
    long = "a" * 45
    assert function_name(long, Direction.EXPORT, 6) == f"'bgp_{long}_exportFilterV6'"
    cut = function_name(long + "b", Direction.EXPORT, 6)
    assert len(cut) - 2 <= 64
    assert cut.startswith("'bgp_" + "a" * 28 + "_")


def test_unconditional() -> None:
    assert body(ACCEPT) == "accept;"
    assert body(BGPFilterRule(action="Reject")) == "reject;"


def test_an_accepted_import_settles_the_preference_first() -> None:
    assert body(ACCEPT, direction=Direction.IMPORT) == "calico_prefer4();\naccept;"


@pytest.mark.parametrize(
    ("operator", "condition"),
    [
        ("Equal", "net = 10.0.0.0/8"),
        ("NotEqual", "net != 10.0.0.0/8"),
        ("In", "net ~ 10.0.0.0/8"),
        ("NotIn", "net !~ 10.0.0.0/8"),
    ],
)
def test_prefix(operator: str, condition: str) -> None:
    rule = BGPFilterRule(action="Reject", cidr="10.0.0.0/8", match_operator=operator)
    assert body(rule).splitlines()[0] == f"if ({condition}) then {{"


@pytest.mark.parametrize(
    ("length", "condition"),
    [
        (PrefixLength(min=4, max=40), "net ~ [ 10.0.0.0/8{8,32} ]"),
        (PrefixLength(min=16), "net ~ [ 10.0.0.0/8{16,32} ]"),
        (PrefixLength(max=24), "net ~ [ 10.0.0.0/8{8,24} ]"),
        (PrefixLength(max=4), "false"),
    ],
)
def test_prefix_length(length: PrefixLength, condition: str) -> None:
    rule = BGPFilterRule(
        action="Reject", cidr="10.0.0.0/8", match_operator="In", prefix_length=length
    )
    assert body(rule).splitlines()[0] == f"if ({condition}) then {{"


def test_all_conditions_must_hold() -> None:
    head = body(RULES_V4[4]).splitlines()[0]
    assert head == (
        'if (ifname ~ "tap*" && !other_as && (1, 2) ~ bgp_community'
        " && bgp_path ~ [= 65000 65001 * =]"
        " && defined(bgp_local_pref) && bgp_local_pref = 2147483135) then {"
    )


def test_operations_prepend_in_reverse() -> None:
    assert body(BGPFilterRule(action="Accept", operations=OPERATIONS)).splitlines() == [
        "bgp_community.add((65000, 512));",
        "bgp_large_community.add((1, 2, 3));",
        "bgp_path.prepend(65537);",
        "bgp_path.prepend(65001);",
        "bgp_local_pref = 2147483135;",
        "accept;",
    ]


@pytest.mark.parametrize(
    "rule",
    [
        BGPFilterRule(action="Perhaps"),
        BGPFilterRule(action="Accept", cidr="fd00::/8", match_operator="In"),
        BGPFilterRule(action="Accept", interface='x" || true'),
        BGPFilterRule(action="Accept", source="Anywhere"),
        BGPFilterRule(action="Accept", communities=CommunityMatch(values=("70000:1",))),
    ],
)
def test_what_cannot_be_said(rule: BGPFilterRule) -> None:
    with pytest.raises(FilterError, match=r"exportV4\[1\]"):
        function_lines("f", (ACCEPT, rule), Direction.EXPORT, 4)
