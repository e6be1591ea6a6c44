"""What every host's rules do besides policy; names; what changes when little changes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Address, ip_network

import pytest

from calico_openstack.datamodel.endpoints import QosControls
from calico_openstack.datamodel.invalid import Invalid
from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.datamodel.resource import Resource
from calico_openstack.datamodel.rules import Rule, RuleMetadata
from calico_openstack.felix.calc import CalculationSettings, HostCalculation
from calico_openstack.felix.render import DenyAction, HostAction, Renderer, RenderSettings, names
from calico_openstack.felix.render.dataplane import (
    DataplaneDelta,
    InterfaceSettings,
    NeighbourKey,
    Route,
)
from calico_openstack.felix.render.layout import IpLayout
from calico_openstack.felix.render.nft import (
    ACCEPT,
    CtState,
    Reject,
    TableState,
    Verdict,
    VerdictMap,
)
from calico_openstack.felix.render.policy_chains import log_prefix
from calico_openstack.felix.render.renderer import ARP_TABLE, IP6_TABLE, IP_TABLE
from calico_openstack.felix.render.tables import TableWriter
from calico_openstack.policy.addresses import pack_address
from calico_openstack.policy.packet import Direction
from calico_openstack.policy.rules import Action, PolicyRule, RuleBlock
from tests.support.nft_model import Frame, Machine, Outcome, check, unreachable_chains
from tests.support.resources import allow, group_policy, workload


class Felix:
    """Calculation and renderer of the host ``here``."""

    def __init__(self, *items: tuple[ResourceKey, Resource], **settings: object) -> None:
        self.calculation = HostCalculation("here", CalculationSettings(source_spoofing=True))
        rendering = RenderSettings(**settings)  # type: ignore[arg-type]
        self.renderer = Renderer(rendering, self.calculation.state)
        self.first = self.put(*items)

    def put(self, *items: tuple[ResourceKey, Resource | Invalid | None]) -> DataplaneDelta:
        for key, value in items:
            self.calculation.update(key, value)
        return self.renderer.apply(self.calculation.flush())

    def table(self, version: int = 4) -> TableState:
        return self.renderer.desired.ruleset[IP_TABLE if version == 4 else IP6_TABLE]

    def run(self, chain: str, frame: Frame) -> Outcome:
        return Machine(self.table(4 if len(frame.source) == 4 else 6), frame).run(chain)


@dataclass(frozen=True, slots=True)
class From:
    """Shorthand for frames."""

    interface: str
    source: str

    def to(self, destination: str, protocol: int = 6, **more: object) -> Frame:
        ends = pack_address(self.source), pack_address(destination)
        oifname = str(more.pop("oifname", ""))
        return Frame(self.interface, oifname, *ends, protocol, **more)  # type: ignore[arg-type]


OPEN = group_policy("open", allow())
VM = From("tap1", "10.0.0.1")
VM6 = From("tap1", "fd00::1")
LINK_LOCAL = From("tap1", "fe80::1")
UDP = 17


def ports(source: int, destination: int) -> dict[str, int]:
    return {"source_port": source, "destination_port": destination}


@pytest.mark.parametrize(
    ("sender", "passes"),
    [
        (VM, True),
        (VM6, True),
        (LINK_LOCAL, True),
        (From("tap1", "::"), True),
        (From("tap1", "10.0.0.2"), False),
        (From("tap2", "10.0.0.1"), False),
        (From("tap1", "fd00::2"), False),
        (From("tap1", "10.9.0.7"), True),
        (From("eth0", "10.0.0.1"), True),
    ],
)
def test_anti_spoofing(sender: From, passes: bool) -> None:
    felix = Felix(OPEN, workload(1, "open", allow_spoofed_source_prefixes=("10.9.0.0/16",)))
    to = "2001:db8::1" if ":" in sender.source else "192.0.2.1"
    frame = sender.to(to, UDP, **ports(1, 2))
    assert felix.run("raw-prerouting", frame).accepted is passes


def test_dhcp_comes_from_no_address() -> None:
    felix = Felix(workload(1))
    asking = From("tap1", "0.0.0.0")
    frame = asking.to("255.255.255.255", UDP, **ports(68, 67))
    assert felix.run("raw-prerouting", frame).accepted
    assert felix.run("filter-input", frame).accepted
    assert not felix.run(
        "raw-prerouting", asking.to("255.255.255.255", UDP, **ports(1, 2))
    ).accepted


@pytest.mark.parametrize(
    "frame",
    [
        VM.to("10.0.0.254", UDP, **ports(1, 53)),
        VM.to("127.0.0.1", 6, **ports(1, 8775)),
        VM6.to("fd00::fe", UDP, **ports(1, 53)),
        LINK_LOCAL.to("ff02::1:2", UDP, **ports(546, 547)),
        LINK_LOCAL.to("ff02::2", 58, icmp_type=133, icmp_code=0),
        LINK_LOCAL.to("ff02::1", 58, icmp_type=135, icmp_code=0),
        VM.to("10.0.0.254", 6, state=CtState.ESTABLISHED, **ports(1, 2)),
    ],
)
def test_services_of_the_host(frame: Frame) -> None:
    """They need no policy."""
    assert Felix(workload(1)).run("filter-input", frame).accepted


@pytest.mark.parametrize("action", HostAction)
def test_other_packets_to_the_host(action: HostAction) -> None:
    felix = Felix(OPEN, workload(1, "open"), workload(2), endpoint_to_host_action=action)
    ssh = ports(1, 22)
    allowed = felix.run("filter-input", VM.to("10.0.0.254", 6, **ssh)).accepted
    assert allowed is (action is not HostAction.DROP)
    # Without a policy that allows it, nothing passes; DNS over TCP is no service.
    assert not felix.run("filter-input", From("tap2", "10.0.0.2").to("10.0.0.254", **ssh)).accepted
    # The host's other interfaces are not Felix's.
    assert felix.run("filter-input", From("eth0", "10.0.0.1").to("10.0.0.254", **ssh)).accepted


def test_metadata() -> None:
    frame = VM.to("169.254.169.254", 6, **ports(1, 80))
    service, anybody = bytes((127, 0, 0, 1)), pack_address("10.0.0.1")
    felix = Felix(workload(1))
    outcome = felix.run("raw-prerouting", frame)
    assert outcome.accepted
    assert (outcome.frame.destination, outcome.frame.destination_port) == (service, 8775)
    answer = Frame("", "tap1", service, anybody, 6, **ports(8775, 1))
    shown = felix.run("metadata-output", answer).frame
    assert (shown.source, shown.source_port) == (pack_address("169.254.169.254"), 80)
    # Nothing else is written into, and a forged source gets nowhere.
    for other in (
        VM.to("169.254.169.254", 6, **ports(1, 81)),
        VM.to("169.254.169.254", UDP, **ports(1, 80)),
        VM.to("10.0.0.2", 6, **ports(1, 80)),
    ):
        outcome = felix.run("raw-prerouting", other)
        assert (outcome.accepted, outcome.frame) == (True, other)
    unlike = Frame("", "eth0", service, anybody, 6, **ports(8775, 1))
    assert felix.run("metadata-output", unlike).frame == unlike
    forged = From("tap1", "10.0.0.2").to("169.254.169.254", 6, **ports(1, 80))
    assert not felix.run("raw-prerouting", forged).accepted
    # Others cost the kernel's packets no translation.
    assert not {"nat-prerouting", "nat-output", "nat-postrouting"} & felix.table().chains.keys()


def test_metadata_elsewhere() -> None:
    frame = VM.to("169.254.169.254", 6, **ports(1, 80))
    felix = Felix(workload(1), metadata_address=IPv4Address("10.1.1.1"), metadata_port=99)
    assert felix.run("raw-prerouting", frame).frame == frame
    assert felix.run("nat-prerouting", frame).frame.destination_port == 99
    assert "metadata-output" not in felix.table().chains
    none = Felix(workload(1), metadata_address=None)
    assert not {"nat-prerouting", "metadata", "metadata-output"} & none.table().chains.keys()


def test_unknown_interfaces_are_closed() -> None:
    felix = Felix(OPEN, workload(1, "open"))
    inward = From("eth0", "192.0.2.1").to("10.0.0.9", oifname="tap9", **ports(1, 2))
    outward = From("tap9", "10.0.0.9").to("192.0.2.1", oifname="eth0", **ports(1, 2))
    assert "unknown" in felix.run("filter-forward", inward).comment
    assert "unknown" in felix.run("filter-forward", outward).comment
    transit = From("eth0", "192.0.2.1").to("198.51.100.1", oifname="eth1", **ports(1, 2))
    assert felix.run("filter-forward", transit).accepted


def test_conntrack_states() -> None:
    felix = Felix(workload(1))

    def accepted(state: CtState) -> bool:
        frame = VM.to("192.0.2.1", oifname="eth0", state=state, **ports(1, 2))
        return felix.run("filter-forward", frame).accepted

    assert accepted(CtState.ESTABLISHED)
    assert accepted(CtState.RELATED)
    assert not accepted(CtState.NEW)
    assert not accepted(CtState.INVALID)
    open_felix = Felix(OPEN, workload(1, "open"))
    frame = VM.to("192.0.2.1", oifname="eth0", state=CtState.INVALID, **ports(1, 2))
    assert open_felix.run("filter-forward", frame).comment == "invalid to conntrack"
    lax = Felix(OPEN, workload(1, "open"), drop_invalid=False)
    assert lax.run("filter-forward", frame).accepted


def test_tunnels_from_workloads() -> None:
    vxlan = VM.to("192.0.2.1", UDP, oifname="eth0", **ports(1, 4789))
    ipip = VM.to("192.0.2.1", 4, oifname="eth0")
    strict = Felix(OPEN, workload(1, "open"))
    lax = Felix(
        OPEN,
        workload(1, "open"),
        allow_vxlan_from_workloads=True,
        allow_ipip_from_workloads=True,
    )
    for frame in (vxlan, ipip):
        assert not strict.run("filter-forward", frame).accepted
        assert lax.run("filter-forward", frame).accepted


def test_arp_for_own_addresses_is_not_answered() -> None:
    felix = Felix(workload(1))
    table = felix.renderer.desired.ruleset[ARP_TABLE]

    def answered(interface: str, address: str, operation: int) -> bool:
        packed = pack_address(address)
        frame = Frame("", interface, packed, packed, 0, arp_operation=operation)
        return Machine(table, frame).run("arp-output").accepted

    assert not answered("tap1", "10.0.0.1", 2)
    assert answered("tap1", "10.0.0.2", 2)
    assert answered("tap2", "10.0.0.1", 2)
    assert answered("tap1", "10.0.0.1", 1)


def test_everything_else_of_an_endpoint() -> None:
    felix = Felix(workload(1))
    desired = felix.renderer.desired
    mac = bytes.fromhex("fa163e000001")
    assert desired.routes == {
        ip_network("10.0.0.1/32"): Route("tap1", 1024, 3),
        ip_network("fd00::1/128"): Route("tap1", 1024, 3),
    }
    assert desired.neighbours == {NeighbourKey("tap1", IPv4Address("10.0.0.1")): mac}
    assert desired.interfaces == {"tap1": InterfaceSettings(ipv4=True, ipv6=True)}
    assert felix.first.globals == {
        "net/ipv4/ip_forward",
        "net/ipv6/conf/all/forwarding",
        "net/netfilter/nf_conntrack_acct",
    }


def test_an_address_of_two_endpoints_has_one_route() -> None:
    shared = ("10.0.0.9",)
    one, two = workload(1, ip_networks=shared), workload(2, ip_networks=shared)
    felix = Felix(two)
    route = ip_network("10.0.0.9/32")
    assert felix.renderer.desired.routes[route].interface == "tap2"
    assert felix.put(one).routes == {route}
    assert felix.renderer.desired.routes[route].interface == "tap1"
    felix.put((one[0], None))
    assert felix.renderer.desired.routes[route].interface == "tap2"
    assert felix.put((two[0], None)).routes == {route}
    assert not felix.renderer.desired.routes


def test_without_ipv6() -> None:
    felix = Felix(OPEN, workload(1, "open"), ipv6=False)
    assert not felix.run("raw-prerouting", VM6.to("fd00::2", oifname="eth0")).accepted
    inward = From("eth0", "fd00::2").to("fd00::1", oifname="tap1")
    assert not felix.run("filter-forward", inward).accepted
    assert list(felix.renderer.desired.routes) == [ip_network("10.0.0.1/32")]
    assert felix.renderer.desired.interfaces["tap1"] == InterfaceSettings(ipv4=True, ipv6=False)


def test_same_policy_same_chain() -> None:
    felix = Felix(OPEN, workload(1, "open"), workload(2, "open"), workload(3))
    for name in ("from-workload", "to-workload"):
        one, two, three = (
            felix.table().elements[name][f"tap{n}".encode().ljust(16, b"\0")] for n in (1, 2, 3)
        )
        assert one == two != three


def test_a_member_changes_one_element() -> None:
    felix = Felix(group_policy("db", allow("TCP", 3306, group="web")), workload(1, "db"))
    delta = felix.put(workload(2, "web", node="there"))
    assert {table: (d.chains, d.sets) for table, d in delta.tables.items()} == {
        IP_TABLE: (set(), set()),
        IP6_TABLE: (set(), set()),
    }
    ((elements),) = delta.tables[IP_TABLE].elements.values()
    assert elements == {pack_address("10.0.0.2")}
    assert not (delta.routes or delta.neighbours or delta.interfaces or delta.globals)


def test_an_endpoint_of_a_known_class_changes_elements_only() -> None:
    felix = Felix(OPEN, workload(1, "open"))
    delta = felix.put(workload(2, "open"))
    for table in (IP_TABLE, IP6_TABLE):
        assert not delta.tables[table].chains
        assert not delta.tables[table].sets
        assert set(delta.tables[table].elements) == {
            "from-workload",
            "to-workload",
            "workload-sources",
        }


def test_a_rule_changes_one_chain() -> None:
    felix = Felix(OPEN, workload(1, "open"), workload(2, "open"))
    delta = felix.put(group_policy("open", allow("TCP", 80)))
    for changed in delta.tables.values():
        assert changed.chains == {"in-np/openstack/ossg.default.open"}
        assert not changed.elements


def test_a_group_that_lets_everything_out_has_no_chain_for_it() -> None:
    felix = Felix(OPEN, workload(1, "open"))
    out = [name for name in felix.table().chains if name.startswith("out-")]
    assert [name for name in out if "class" not in name] == []
    leaving = From("tap1", "10.0.0.1").to("192.0.2.1", oifname="eth0")
    assert felix.run("filter-forward", leaving).accepted
    # With a rule that says less there is one, and back again.
    only_web = group_policy("open", allow(), egress=(allow("TCP", 80),))
    for policy, chains in ((only_web, 1), (OPEN, 0)):
        felix.put(policy)
        names = [name for name in felix.table().chains if name.startswith("out-np/")]
        assert len(names) == chains
        check(felix.table())
        assert not unreachable_chains(felix.table()) & set(names)


def test_reject() -> None:
    denying = group_policy("open", allow(action="Deny"))
    felix = Felix(denying, workload(1, "open"), deny_action=DenyAction.REJECT)
    chain = felix.table().chains["in-np/openstack/ossg.default.open"]
    assert chain.rules[0].expressions[-1] == Reject()
    assert chain.rules[0].comment == "np/openstack/ossg.default.open ingress[0]"


def test_log_rules_go_on() -> None:
    logging = group_policy("open", Rule(action="Log"), Rule(action="Allow"), tier="t")
    felix = Felix(logging, workload(1, "open"), log_prefix="%t %k %n")
    frame = From("eth0", "192.0.2.1").to("10.0.0.1", oifname="tap1", **ports(1, 2))
    outcome = felix.run("filter-forward", frame)
    assert outcome.accepted
    assert outcome.logs == ("t np ossg.default.open: ",)


def count_ways(table: TableState, chain: str) -> int:
    """Return how often the kernel comes to a chain when it follows all ways from *chain* on."""
    ways = 1
    for rule in table.chains[chain].rules:
        targets: list[str] = []
        for each in rule.expressions:
            if isinstance(each, VerdictMap):
                verdicts = table.elements[each.map_name].values()
                targets += [one.chain for one in verdicts if isinstance(one, Verdict)]
            elif isinstance(each, Verdict):
                targets.append(each.chain)
        ways += sum(count_ways(table, target) for target in targets if target)
    return ways


@pytest.mark.parametrize("egress", [(allow(),), (allow("TCP", 80),)], ids=["open", "closed"])
@pytest.mark.parametrize("limited", [False, True])
def test_ways_grow_with_the_endpoints_not_their_square(
    egress: tuple[Rule, ...], limited: bool
) -> None:
    """Linux 6.1 follows all of them with every rule and element that leads to a chain."""
    controls = {"qos_controls": QosControls(ingress_max_connections=3)} if limited else {}
    policy = group_policy("web", allow(), egress=egress)

    def ways(number: int) -> int:
        endpoints = (workload(each, "web", **controls) for each in range(1, number + 1))
        table = Felix(policy, *endpoints).table()
        return sum(count_ways(table, name) for name, chain in table.chains.items() if chain.hook)

    per_endpoint = ways(2) - ways(1)
    assert ways(20) == ways(1) + 19 * per_endpoint


def test_the_mark_of_what_may_be_sent_is_nobody_elses() -> None:
    felix = Felix(group_policy("web", allow(), egress=(allow("TCP", 80),)), workload(1, "web"))
    leaving = From("tap1", "10.0.0.1").to("192.0.2.1", oifname="eth0", **ports(1, 81))
    accept_mark = RenderSettings().accept_mark
    marked = replace(leaving, mark=0xFFFFFFFF)
    assert not felix.run("filter-forward", marked).accepted
    allowed = felix.run("filter-forward", replace(marked, destination_port=80))
    assert allowed.accepted
    assert not allowed.frame.mark & accept_mark


def test_maps_of_endpoints_grow_with_them() -> None:
    writer = TableWriter(TableState())
    layout = IpLayout(writer, 4, RenderSettings())
    writer.put_element(names.TO_WORKLOAD, b"tap1", ACCEPT)
    writer.take_delta()
    small = writer.state.sets[names.TO_WORKLOAD].size
    layout.make_room(small)
    assert not writer.take_delta()
    layout.make_room(small + 1)
    assert writer.take_delta().sets == {names.FROM_WORKLOAD, names.TO_WORKLOAD}
    assert writer.state.sets[names.TO_WORKLOAD].size > small
    assert writer.state.elements[names.TO_WORKLOAD] == {b"tap1": ACCEPT}
    layout.make_room(0)
    assert not writer.take_delta()
    layout.make_room(1 << 20)
    writer.take_delta()
    layout.make_room(1 << 20)
    assert not writer.take_delta()


def test_a_log_prefix_tells_the_rule() -> None:
    noted = Rule(action="Log", metadata=RuleMetadata(annotations={"rule": "7"}))
    logging = group_policy("open", Rule(action="Log"), noted, Rule(action="Allow"))
    felix = Felix(logging, workload(1, "open"), log_prefix="%n %r")
    frame = From("eth0", "192.0.2.1").to("10.0.0.1", oifname="tap1", **ports(1, 2))
    assert felix.run("filter-forward", frame).logs == (
        "ossg.default.open ingress[0]: ",
        "ossg.default.open rule=7: ",
    )


def test_long_log_prefix_keeps_its_end() -> None:
    key = ResourceKey("GlobalNetworkPolicy", "n" * 200)
    text = log_prefix("calico %p", RuleBlock(key), PolicyRule(Action.LOG), Direction.INGRESS)
    assert len(text) == 127
    assert text.endswith("n: ")


def test_names() -> None:
    uid = "s:5y5I3VdRZfDU01O--xXAPx2yxCQQqMf0M6IWug"
    assert names.address_set(uid, 4) == "cali40s-5y5I3VdRZfDU01O--xXAPx2"
    odd = ResourceKey("NetworkPolicy", "a b" * 100, "ns")
    assert len(names.block_chain(odd, Direction.INGRESS)) < 40
    assert names.comment('a "b" \u00e9\n') == "a _b_ __"
    assert len(names.comment("x" * 500)) == 120


def test_a_log_prefix_is_one_line_of_whole_characters() -> None:
    block = RuleBlock(ResourceKey("GlobalNetworkPolicy", "p"))

    def prefix_of(note: str) -> str:
        return log_prefix("%r", block, PolicyRule(Action.LOG, note=note), Direction.INGRESS)

    assert prefix_of("reason=x\ny\0z") == "reason=x_y_z: "
    for character in "é", "😀":
        long = prefix_of(character * 100)
        assert 127 - len(character.encode()) < len(long.encode()) <= 127
        assert long == character * (len(long) - 2) + ": "
