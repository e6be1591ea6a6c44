"""Routes, neighbours and sysctls of workloads on a real kernel; interfaces come and go."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from calico_openstack.felix.kernel.routes import GRACE_SECONDS
from calico_openstack.felix.render.dataplane import (
    DataplaneDelta,
    InterfaceSettings,
    Route,
    TableDelta,
)
from calico_openstack.felix.render.nft import (
    DROP,
    Chain,
    Compare,
    Field,
    Hook,
    Rule,
    TableState,
    Verdict,
    VerdictKind,
)
from tests.kernel.conftest import NamespaceFactory
from tests.kernel.host import BOOT, IPV4, METRIC, Host, reaches, workload_mac
from tests.support.netns import NetworkNamespace, needs_root

pytestmark = needs_root

V4_1, V6_1 = "10.65.0.1", "fd00::1"
# ip(8) does not mention protocol "boot".
ROUTE_1 = f"{V4_1} scope link metric {METRIC}"
ROUTE6_1 = f"{V6_1} metric {METRIC} pref medium"
NEIGHBOURS_1 = {
    f"{V4_1} lladdr {workload_mac(1)} PERMANENT",
    f"{V6_1} lladdr {workload_mac(1)} PERMANENT",
}


@pytest.fixture
def host(namespace: NetworkNamespace, new_namespace: NamespaceFactory) -> Iterator[Host]:
    made = Host(namespace, new_namespace)
    yield made
    made.dataplane.close()


def assert_programmed(host: Host, interface: str = "tap1") -> None:
    assert host.routes(interface) == [ROUTE_1]
    assert host.routes(interface, "-6") == [ROUTE6_1]
    assert host.neighbours(interface) == NEIGHBOURS_1


def assert_quiet(host: Host) -> None:
    """Nothing is left to do, and doing it writes nothing; also for one that starts afresh."""
    host.settle()
    assert not host.dataplane.needs_apply
    written = host.dataplane.writes
    host.dataplane.audit(host.clock.now)
    host.apply()
    assert host.dataplane.writes == written
    old, host.dataplane = host.dataplane, host.new_dataplane()
    host.apply()
    assert (host.dataplane.writes, host.dataplane.failures) == (0, ())
    host.dataplane.close()
    host.dataplane = old


def test_workloads_reach_each_other(host: Host) -> None:
    one = host.plug(1)
    host.plug(2)
    host.settle()
    delta = host.want(1)
    delta.merge(host.want(2))
    assert host.apply(delta) == {"tap1", "tap2"}
    assert host.dataplane.status("tap1").working
    assert_programmed(host)
    assert reaches(one, "10.65.0.2")
    assert reaches(one, "fd00::2")
    assert_quiet(host)


def test_interface_settings(host: Host) -> None:
    host.plug(1)
    host.settle()
    host.apply(host.want(1))
    read = host.namespace.read_sysctl
    for name, value in {
        "ipv6/conf/tap1/accept_ra": "0",
        "ipv4/conf/tap1/route_localnet": "1",
        "ipv4/neigh/tap1/proxy_delay": "0",
        "ipv4/conf/tap1/proxy_arp": "1",
        "ipv4/conf/tap1/forwarding": "1",
        "ipv6/conf/tap1/proxy_ndp": "1",
        "ipv6/conf/tap1/forwarding": "1",
    }.items():
        assert read(f"net/{name}") == value, name
    # Somebody changes one: no notification tells, the audit finds it.
    host.namespace.write_sysctl("net/ipv4/conf/tap1/proxy_arp", "0")
    host.dataplane.audit(host.clock.now)
    host.apply()
    assert read("net/ipv4/conf/tap1/proxy_arp") == "1"
    assert (host.dataplane.audits.repaired, host.dataplane.audits.at) == (1, host.clock.now)
    host.dataplane.audit(host.clock.now)
    host.apply()
    assert (host.dataplane.audits.repaired, host.dataplane.audits.repaired_in_all) == (0, 1)


@pytest.mark.parametrize(("default", "spoofing", "expected"), [("1", False, "1"), ("1", True, "0")])
def test_reverse_path_filter(host: Host, default: str, spoofing: bool, expected: str) -> None:
    host.namespace.write_sysctl("net/ipv4/conf/default/rp_filter", default)
    host.plug(1)
    host.settle()
    delta = host.want(1)
    host.desired.interfaces["tap1"] = InterfaceSettings(ipv4=True, ipv6=True, spoofing=spoofing)
    host.apply(delta)
    assert host.namespace.read_sysctl("net/ipv4/conf/tap1/rp_filter") == expected


def test_global_settings(host: Host) -> None:
    host.namespace.write_sysctl("net/ipv4/ip_forward", "0")
    host.desired.globals = {"net/ipv4/ip_forward": "1", "net/ipv4/no_such_thing": "1"}
    host.apply(DataplaneDelta(globals=set(host.desired.globals)))
    assert host.namespace.read_sysctl("net/ipv4/ip_forward") == "1"
    (failure,) = host.dataplane.failures
    assert "no_such_thing" in failure


def test_wishes_wait_for_the_interface(host: Host) -> None:
    host.apply(host.want(1))
    status = host.dataplane.status("tap1")
    assert (status.present, status.up, status.working) == (False, False, False)
    assert not host.dataplane.needs_apply
    host.plug(1)
    assert "tap1" in host.wake()
    assert host.dataplane.status("tap1").working
    assert_programmed(host)
    assert_quiet(host)


def test_removal(host: Host) -> None:
    host.plug(1)
    host.settle()
    host.apply(host.want(1))
    assert host.apply(host.unwant(1)) == {"tap1"}
    assert host.routes("tap1") == []
    assert host.routes("tap1", "-6") == []
    assert host.neighbours("tap1") == set()
    assert not host.dataplane.needs_apply


@pytest.mark.parametrize("down", [("tap1", False), ("eth0", True)], ids=["admin", "carrier"])
def test_interface_goes_down_and_up(host: Host, down: tuple[str, bool]) -> None:
    workload = host.plug(1)
    host.settle()
    host.apply(host.want(1))
    where = workload if down[1] else host.namespace
    where.ip("link", "set", down[0], "down")
    host.wake()
    assert not host.dataplane.status("tap1").up
    assert host.routes("tap1") == []
    assert host.routes("tap1", "-6") == []
    where.ip("link", "set", down[0], "up")
    host.wake()
    assert host.dataplane.status("tap1").working
    assert_programmed(host)
    assert_quiet(host)


def test_flap_between_two_looks(host: Host) -> None:
    """Down and up before anybody looked: the kernel dropped everything without a word."""
    host.plug(1)
    host.settle()
    host.apply(host.want(1))
    host.namespace.ip("link", "set", "tap1", "down")
    host.namespace.ip("link", "set", "tap1", "up")
    host.wake()
    assert_programmed(host)
    assert_quiet(host)


def test_interface_is_recreated(host: Host) -> None:
    host.plug(1)
    host.settle()
    host.apply(host.want(1))
    before = host.dataplane.interfaces["tap1"].index
    host.namespace.ip("link", "del", "tap1")
    host.plug(1)
    host.wake()
    assert host.dataplane.interfaces["tap1"].index != before
    assert_programmed(host)
    assert host.namespace.read_sysctl("net/ipv4/conf/tap1/proxy_arp") == "1"
    assert_quiet(host)


def test_interface_is_renamed(host: Host) -> None:
    host.plug(1)
    host.settle()
    host.apply(host.want(1))
    host.namespace.ip("link", "set", "tap1", "name", "tapx")
    host.wake()
    assert not host.dataplane.status("tap1").present
    assert host.routes("tapx") == []
    host.namespace.ip("link", "set", "tapx", "name", "tap1")
    host.wake()
    assert_programmed(host)
    assert_quiet(host)


def test_interface_attributes(host: Host) -> None:
    host.plug(1)
    host.namespace.ip("link", "set", "tap1", "mtu", "1400")
    host.namespace.ip("addr", "add", "192.0.2.9/32", "dev", "tap1")
    host.settle()
    tap = host.dataplane.interfaces["tap1"]
    assert (tap.mtu, tap.mac.hex(":"), tap.up) == (1400, "ee:ee:ee:ee:ee:ee", True)
    assert "192.0.2.9" in {str(address) for address in tap.addresses}
    host.namespace.ip("addr", "del", "192.0.2.9/32", "dev", "tap1")
    host.settle()
    assert "192.0.2.9" not in {str(one) for one in host.dataplane.interfaces["tap1"].addresses}


def test_route_to_another_interface_moves(host: Host) -> None:
    host.plug(1)
    host.plug(2)
    host.settle()
    delta = host.want(1)
    host.apply(delta)
    network = ip_network(f"{V4_1}/32")
    host.desired.routes[network] = Route("tap2", METRIC, BOOT)
    host.apply(DataplaneDelta(routes={network}))
    assert host.routes("tap1") == []
    assert host.routes("tap2") == [ROUTE_1]
    # The same with another metric: no moment without a route is needed for it.
    host.desired.routes[network] = Route("tap2", 512, BOOT)
    host.apply(DataplaneDelta(routes={network}))
    assert host.routes("tap2") == [ROUTE_1.replace("1024", "512")]
    assert_quiet(host)


def test_preferred_source(host: Host) -> None:
    host.plug(1)
    host.settle()
    delta = host.want(1)
    network = ip_network(f"{V4_1}/32")
    source = ip_address("192.0.2.1")
    host.desired.routes[network] = Route("tap1", METRIC, BOOT, source)
    host.apply(delta)
    assert host.routes("tap1") == [ROUTE_1.replace("metric", "src 192.0.2.1 metric")]
    assert_quiet(host)


@pytest.mark.parametrize(
    "damage",
    [
        ("route", "del", V4_1),
        ("-6", "route", "del", V6_1),
        ("route", "flush", "dev", "tap1"),
        ("route", "replace", V4_1, "dev", "tap2", "metric", "1024"),
        ("route", "change", V4_1, "dev", "tap1", "metric", "1024", "proto", "static"),
        ("neigh", "del", V4_1, "dev", "tap1"),
        ("neigh", "replace", V4_1, "dev", "tap1", "lladdr", "02:00:00:00:00:01"),
        ("neigh", "change", V6_1, "dev", "tap1", "lladdr", "02:00:00:00:00:01", "nud", "stale"),
    ],
    ids=" ".join,
)
def test_damage_is_noticed_and_repaired(host: Host, damage: tuple[str, ...]) -> None:
    host.plug(1)
    host.plug(2)
    host.settle()
    host.apply(host.want(1))
    host.clock.now += GRACE_SECONDS + 1
    host.namespace.ip(*damage)
    host.wake()
    assert_programmed(host)
    assert host.routes("tap2") == []
    assert_quiet(host)


# --- which routes are ours ----------------------------------------------------------------------


def test_unknown_routes_go_after_a_grace_period(host: Host) -> None:
    host.plug(1)
    host.namespace.ip("route", "add", "10.9.9.9", "dev", "tap1")
    host.settle()
    host.apply(host.want(1))
    assert any("10.9.9.9" in route for route in host.routes("tap1"))
    deadline = host.dataplane.next_deadline()
    assert deadline == host.dataplane.interfaces["tap1"].since + GRACE_SECONDS
    host.clock.now = deadline
    host.apply()
    assert_programmed(host)
    assert host.dataplane.next_deadline() is None
    # Later ones go at once.
    host.namespace.ip("route", "add", "10.9.9.9", "dev", "tap1")
    host.wake()
    assert_programmed(host)


def test_routes_elsewhere_are_untouched(host: Host, new_namespace: NamespaceFactory) -> None:
    foreign = [
        ("10.1.0.0/16", "dev", "eth0"),
        ("10.2.0.0/16", "dev", "eth0", "proto", "boot"),
        ("10.3.0.0/16", "dev", "eth0", "proto", "bird"),
        ("blackhole", "10.4.0.0/16"),
        ("10.5.0.0/16", "dev", "eth0", "table", "77", "proto", "80"),
    ]
    for route in foreign:
        host.namespace.ip("route", "add", *route)
    host.namespace.ip("route", "add", "10.6.0.0/16", "dev", "eth0", "proto", "80")
    host.plug(1)
    host.settle()
    host.clock.now += GRACE_SECONDS + 1
    before = host.namespace.ip("route", "show", "table", "all")
    host.apply(host.want(1))
    after = host.namespace.ip("route", "show", "table", "all")
    gone = set(before.splitlines()) - set(after.splitlines())
    # Ours by its protocol, wherever it is.
    assert [line.split()[0] for line in gone] == ["10.6.0.0/16"]


def test_external_routes_may_be_tolerated(
    namespace: NetworkNamespace, new_namespace: NamespaceFactory
) -> None:
    host = Host(namespace, new_namespace, remove_external=False)
    host.plug(1)
    for destination, protocol in (("10.7.0.1", "static"), ("10.7.0.2", "boot"), ("10.7.0.3", "80")):
        host.namespace.ip("route", "add", destination, "dev", "tap1", "proto", protocol)
    host.settle()
    host.clock.now += GRACE_SECONDS + 1
    host.apply(host.want(1))
    assert sorted(route.split()[0] for route in host.routes("tap1")) == ["10.65.0.1", "10.7.0.1"]
    host.dataplane.close()


def test_learnt_neighbours_are_untouched(host: Host) -> None:
    host.plug(1)
    host.settle()
    host.namespace.ip(
        "neigh", "add", "10.9.9.9", "dev", "tap1", "lladdr", "02:00:00:00:00:02", "nud", "stale"
    )
    host.namespace.ip("neigh", "add", "10.9.9.8", "dev", "tap1", "lladdr", "02:00:00:00:00:03")
    host.settle()
    host.apply(host.want(1))
    assert host.neighbours("tap1") == NEIGHBOURS_1
    assert "10.9.9.9" in host.namespace.ip("neigh", "show", "dev", "tap1")


def test_of_two_that_claim_an_address_the_newest_has_it(host: Host) -> None:
    host.plug(1)
    host.plug(2)
    host.settle()
    delta = host.want(1)
    delta.merge(host.want(2))
    network = ip_network(f"{V4_1}/32")
    host.desired.routes[network] = Route("tap1", METRIC, BOOT, others=(("tap2", METRIC),))
    host.apply(delta)
    claimed = f"{V4_1} scope link"

    def owners() -> list[str]:
        names = ("tap1", "tap2")
        return [name for name in names if any(claimed in each for each in host.routes(name))]

    assert owners() == ["tap2"]
    host.namespace.ip("link", "set", "tap2", "down")
    host.wake()
    assert owners() == ["tap1"]
    host.namespace.ip("link", "set", "tap2", "up")
    host.wake()
    assert owners() == ["tap2"]
    # A better metric goes before age.
    host.desired.routes[network] = Route("tap1", 512, BOOT, others=(("tap2", METRIC),))
    host.apply(DataplaneDelta(routes={network}))
    assert owners() == ["tap1"]
    host.desired.routes[network] = Route("tap1", METRIC, BOOT)
    host.apply(DataplaneDelta(routes={network}))
    assert owners() == ["tap1"]
    assert_quiet(host)


def test_routes_of_bird_over_a_peers_interface_are_birds(host: Host) -> None:
    for number in (1, 2):
        host.plug(number)
    host.settle()
    delta = host.want(1)
    delta.merge(host.want(2))
    host.desired.peers = {"tap1"}
    delta.merge(DataplaneDelta(peers={"tap1"}))
    host.apply(delta)
    host.clock.now += GRACE_SECONDS + 1
    via = {1: "10.65.0.1", 2: "10.65.0.2"}
    for number in (1, 2):
        network = f"10.9.{number}.0/24"
        host.namespace.ip("route", "add", network, "via", via[number], "proto", "bird")
    host.wake()
    assert any("10.9.1.0/24" in each for each in host.routes("tap1"))
    assert not any("10.9.2.0/24" in each for each in host.routes("tap2"))
    assert_quiet(host)
    host.desired.peers = set()
    host.apply(DataplaneDelta(peers={"tap1"}))
    assert not any("10.9.1.0/24" in each for each in host.routes("tap1"))


def test_routes_may_be_somebody_elses_business(
    namespace: NetworkNamespace, new_namespace: NamespaceFactory
) -> None:
    host = Host(namespace, new_namespace, manages_routes=False)
    host.plug(1)
    host.settle()
    foreign = ("10.9.0.0/24", "dev", "tap1")
    namespace.ip("route", "add", *foreign)
    namespace.ip("route", "add", "10.8.0.0/24", "dev", "eth0", "proto", "80")
    neighbour = ("10.9.9.8", "dev", "tap1", "lladdr", "02:00:00:00:00:03")
    namespace.ip("neigh", "add", *neighbour, "nud", "permanent")
    host.clock.now += GRACE_SECONDS + 1
    host.apply(DataplaneDelta())
    assert any("10.9.0.0/24" in each for each in host.routes("tap1"))
    assert "10.8.0.0/24" in namespace.ip("route", "show", "dev", "eth0")
    assert any("10.9.9.8" in each for each in host.neighbours("tap1"))
    assert not host.dataplane.needs_apply
    host.dataplane.close()


# --- faults -------------------------------------------------------------------------------------


def test_refused_route_is_reported_for_its_interface(host: Host) -> None:
    host.plug(1)
    host.plug(2)
    host.settle()
    delta = host.want(1)
    delta.merge(host.want(2))
    network = ip_network(f"{V4_1}/32")
    # A source address that the host does not have.
    source = ip_address("203.0.113.1")
    host.desired.routes[network] = Route("tap1", METRIC, BOOT, source)
    host.apply(delta)
    status = host.dataplane.status("tap1")
    assert status.up
    assert not status.working
    assert "10.65.0.1/32" in status.problems[0]
    assert host.dataplane.status("tap2").working
    host.desired.routes[network] = Route("tap1", METRIC, BOOT)
    assert host.apply(DataplaneDelta(routes={network})) == {"tap1"}
    assert host.dataplane.status("tap1").working


def test_refused_chain_is_reported_for_what_it_serves(host: Host) -> None:
    host.plug(1)
    host.settle()
    delta = host.want(1)
    guard = Compare(Field.IIFNAME, b"tap", prefix=True)
    host.desired.ruleset[IPV4] = TableState(
        chains={
            "forward": Chain(
                (Rule((guard, Verdict(VerdictKind.JUMP, "broken"))),), Hook("filter", "forward", 0)
            ),
            "broken": Chain((Rule((Verdict(VerdictKind.JUMP, "missing"),)),)),
        }
    )
    delta.tables[IPV4] = TableDelta(chains={"forward", "broken"})
    host.apply(delta)
    assert not host.dataplane.status("tap1").working
    assert "chain ip calico broken" in host.dataplane.failures[0]
    # A base chain leads to it, so it may concern every interface.
    assert host.dataplane.unprotected == {""}
    host.desired.ruleset[IPV4].chains["broken"] = Chain((Rule((DROP,)),))
    host.dataplane.audit(host.clock.now)
    assert host.apply() == {"tap1"}
    assert host.dataplane.failures == ()
    assert not host.dataplane.unprotected


def test_overrun_of_notifications_loses_nothing(host: Host) -> None:
    host.plug(1)
    host.settle()
    host.apply(host.want(1))
    # More changes than the sockets hold, with ours among them.
    for descriptor in host.dataplane.filenos():
        with socket.socket(fileno=os.dup(descriptor)) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    many = "\n".join(
        f"route {verb} 10.{i >> 8}.{i & 255}.0/24 dev eth0"
        for verb in ("add", "del")
        for i in range(1000)
    )
    host.namespace.run("ip", "-batch", "-", stdin=many)
    host.namespace.run("nft", "-f", "-", stdin="add table ip foreign\n" * 1000)
    host.namespace.ip("route", "del", V4_1)
    host.namespace.ip("link", "set", "tap1", "mtu", "1450")
    host.wake()
    assert_programmed(host)
    assert host.dataplane.interfaces["tap1"].mtu == 1450


def test_what_an_interface_on_its_way_down_refuses_is_no_problem_later(host: Host) -> None:
    host.plug(1)
    host.settle()
    host.namespace.ip("link", "set", "tap1", "down")
    # Felix has not heard of it yet.
    host.apply(host.want(1))
    assert host.dataplane.failures
    host.settle()
    assert host.dataplane.failures == ()
    host.namespace.ip("link", "set", "tap1", "up")
    host.settle()
    assert_programmed(host)


def test_an_address_stays_while_it_is_there_with_another_prefix(host: Host) -> None:
    """So a netmask is changed; host endpoints are found by the address."""
    ip = host.namespace.ip
    for change in ("add 192.0.2.1/25", "del 192.0.2.1/24", "add 192.0.2.1 peer 198.51.100.1/25"):
        ip("addr", *change.split(), "dev", "eth0")
        host.wake()
        assert ip_address("192.0.2.1") in host.dataplane.interfaces["eth0"].addresses, change
    for change in ("del 192.0.2.1/25", "del 192.0.2.1 peer 198.51.100.1/25"):
        ip("addr", *change.split(), "dev", "eth0")
        host.wake()
    left = {each for each in host.dataplane.interfaces["eth0"].addresses if each.version == 4}
    assert left == set()


def test_no_descriptor_is_left_open(host: Host) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    host.new_dataplane().close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_interfaces_are_found_by_the_metric_of_their_routes(host: Host) -> None:
    for number in (1, 2):
        host.plug(number)
        host.apply(host.want(number))
    host.settle()
    ip = host.namespace.ip
    ip("route", "add", "10.65.0.9", "dev", "tap1", "proto", str(BOOT), "metric", "7")
    ip("route", "add", "fd00::9", "dev", "tap2", "proto", str(BOOT), "metric", "8")
    # Another protocol's, and one that is not on a workload's interface.
    ip("route", "add", "10.65.0.8", "dev", "tap2", "proto", "12", "metric", "7")
    ip("route", "add", "10.65.0.7", "dev", "eth0", "proto", str(BOOT), "metric", "7")
    with host.namespace.entered():
        assert host.dataplane.interfaces_with_metric({4: 7, 6: 8}) == {"tap1", "tap2"}
        assert host.dataplane.interfaces_with_metric({4: 7}) == {"tap1"}
        assert host.dataplane.interfaces_with_metric({}) == set()
