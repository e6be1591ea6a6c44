"""What somebody else does to the kernel is mended by the running calico-felix. Needs root.

Without an audit where the kernel tells of the change, and by the audit where it does not. Each case
names the damage, and how it shows that the damage was mended.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from calico_openstack.etcd import EtcdClient
from tests.kernel.conftest import NamespaceFactory
from tests.support.etcd import EtcdServer
from tests.support.felix import (
    FelixHost,
    allow,
    declare_ready,
    mac,
    put_endpoint,
    put_group,
    wait_pings,
)
from tests.support.netns import NetworkNamespace, needs_root
from tests.support.processes import eventually

pytestmark = needs_root

INTERVALS = (
    "InterfaceRefreshInterval",
    "IpsetsRefreshInterval",
    "NftablesRefreshInterval",
    "RouteRefreshInterval",
)
FOREIGN = "table inet firewall { chain input { type filter hook input priority 10; counter; }; }"


@dataclass(frozen=True)
class Scene:
    """A host with Felix and two workloads of a group that may ping each other."""

    host: FelixHost
    one: NetworkNamespace

    def nft(self, *arguments: str) -> str:
        return self.host.namespace.run("nft", *arguments).stdout

    def ip(self, *arguments: str) -> str:
        return self.host.namespace.ip(*arguments)

    def table(self, family: str = "ip") -> str:
        return self.host.namespace.run("nft", "list", "table", family, "calico", check=False).stdout

    def sysctl(self, name: str) -> str:
        return self.host.namespace.read_sysctl(name)


def start(host: FelixHost, etcd: EtcdClient, interval: str) -> Scene:
    host.settings |= dict.fromkeys(INTERVALS, interval)
    put_group(etcd, "web", [allow("ICMP", group="web"), allow("ICMPv6", group="web", version=6)])
    one, _two = host.plug(1), host.plug(2)
    for number in (1, 2):
        put_endpoint(etcd, number, "web")
    host.namespace.run("nft", "-f", "-", stdin=FOREIGN)
    host.start()
    wait_pings(one, 2)
    return Scene(host, one)


@pytest.fixture
def host(
    new_namespace: NamespaceFactory, etcd: EtcdClient, etcd_server: EtcdServer, tmp_path: Path
) -> Iterator[FelixHost]:
    declare_ready(etcd)
    host = FelixHost(new_namespace, etcd_server, tmp_path)
    yield host
    host.close()


@pytest.fixture
def scene(host: FelixHost, etcd: EtcdClient) -> Scene:
    """The scene without any audit."""
    return start(host, etcd, "0")


@pytest.fixture
def audited(host: FelixHost, etcd: EtcdClient) -> Scene:
    """The scene with a short audit."""
    return start(host, etcd, "1")


def mended(scene: Scene, look: Callable[[], object], damage: Callable[[], object]) -> None:
    """Do *damage*, which changes what *look* returns, and wait until it looks as before."""
    before = look()
    damage()
    # A strange route over a new interface is let alone for ten seconds.
    eventually(lambda: look() == before, 20, f"mended: {before!r}, found {look()!r}")
    assert "firewall" in scene.nft("list", "tables")


# --- nftables -----------------------------------------------------------------------------------


def first_set(scene: Scene) -> str:
    """Return the name of the set of the group's IPv4 addresses."""
    lines = scene.nft("list", "sets", "ip").splitlines()
    return next(line.split()[1] for line in lines if line.strip().startswith("set cali4"))


def without_counters(text: str) -> str:
    """Return a listing without what traffic changes, and in an order of its own."""
    words = text.split()
    kept = [
        word
        for word, before in zip(words, ["", *words], strict=False)
        if before not in ("packets", "bytes")
    ]
    return " ".join(sorted(kept))


def test_nftables_are_mended(scene: Scene) -> None:
    group = first_set(scene)
    damages: list[tuple[str, ...]] = [
        ("flush", "table", "ip", "calico"),
        ("delete", "table", "ip", "calico"),
        ("add", "rule", "ip", "calico", "filter-forward", "accept"),
        ("insert", "rule", "ip", "calico", "filter-forward", "accept"),
        ("add", "chain", "ip", "calico", "strange"),
        ("flush", "chain", "ip", "calico", "from-workload"),
        ("flush", "set", "ip", "calico", group),
        ("add", "element", "ip", "calico", group, "{ 192.0.2.77 }"),
        ("delete", "element", "ip", "calico", group, "{ 10.65.0.1 }"),
    ]
    for damage in damages:
        mended(
            scene,
            lambda: without_counters(scene.table()),
            lambda damage=damage: scene.nft(*damage),  # type: ignore[misc]
        )
    wait_pings(scene.one, 2)


@pytest.mark.parametrize("chain", ["filter-forward", "anti-spoofing"])
def test_a_deleted_rule_is_mended(scene: Scene, chain: str) -> None:
    listed = scene.nft("--handle", "list", "chain", "ip", "calico", chain)
    handle = re.findall(r"[^{] # handle (\d+)$", listed, re.MULTILINE)[0]
    mended(
        scene,
        lambda: without_counters(scene.table()),
        lambda: scene.nft("delete", "rule", "ip", "calico", chain, "handle", handle),
    )


def test_elements_of_maps_are_mended(scene: Scene) -> None:
    for damage in (
        ("delete", "element", "ip", "calico", "to-workload", '{ "tap2" }'),
        ("flush", "map", "ip", "calico", "from-workload"),
    ):
        mended(
            scene,
            lambda: without_counters(scene.table()),
            lambda damage=damage: scene.nft(*damage),  # type: ignore[misc]
        )
    wait_pings(scene.one, 2)


def test_a_flushed_ruleset_is_mended_in_all_families(scene: Scene) -> None:
    def look() -> list[str]:
        families = ("ip", "ip6")
        return [without_counters(scene.table(family)) for family in families]

    before = look()
    scene.nft("flush", "ruleset")
    eventually(lambda: look() == before)
    assert "calico-arp" in scene.nft("list", "tables")
    wait_pings(scene.one, 2)


# --- routes and neighbours ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        ("route", "del", "10.65.0.2", "dev", "tap2"),
        ("route", "replace", "10.65.0.2", "dev", "tap1", "scope", "link", "metric", "1024"),
        ("-6", "route", "del", "fd00::2", "dev", "tap2"),
        ("route", "flush", "dev", "tap2"),
        ("route", "add", "10.65.0.2", "dev", "tap2", "proto", "boot", "metric", "7"),
        ("link", "set", "tap2", "down"),
    ],
    ids=" ".join,
)
def test_routes_are_mended(scene: Scene, damage: tuple[str, ...]) -> None:
    def up() -> None:
        scene.ip(*damage)
        if damage[-1] == "down":
            scene.ip("link", "set", "tap2", "up")

    mended(scene, scene.host.routes, up)


@pytest.mark.parametrize(
    "damage",
    [
        ("neigh", "del", "10.65.0.2", "dev", "tap2"),
        ("neigh", "replace", "10.65.0.2", "lladdr", "02:00:00:00:00:99", "dev", "tap2"),
        ("neigh", "flush", "dev", "tap2", "nud", "permanent"),
    ],
    ids=" ".join,
)
def test_neighbours_are_mended(scene: Scene, damage: tuple[str, ...]) -> None:
    expected = f"10.65.0.2 lladdr {mac(2)} PERMANENT"
    assert expected in scene.ip("neigh", "show", "dev", "tap2")
    scene.ip(*damage)
    eventually(lambda: expected in scene.ip("neigh", "show", "dev", "tap2"))


# --- limits -------------------------------------------------------------------------------------


def disciplines(scene: Scene) -> list[str]:
    """Return the queueing disciplines of the limited workload, without what traffic changes."""
    listed = scene.host.namespace.run("tc", "qdisc", "show").stdout
    kinds = ("tap2 ", "bwcali")
    return sorted(line for line in listed.splitlines() if any(kind in line for kind in kinds))


def test_limits_of_bandwidth_are_mended(scene: Scene, etcd: EtcdClient) -> None:
    limits = {"ingressBandwidth": 10**8, "egressBandwidth": 10**8}
    put_endpoint(etcd, 2, "web", qosControls=limits)
    eventually(lambda: sum("tbf" in line for line in disciplines(scene)) == 2)
    delete = ("tc", "qdisc", "del", "dev", "tap2")
    for place in ("root", "ingress"):
        mended(
            scene,
            lambda: disciplines(scene),
            lambda place=place: scene.host.namespace.run(*delete, place),  # type: ignore[misc]
        )


# --- kernel parameters --------------------------------------------------------------------------

NOTIFIED = [
    ("net/ipv4/ip_forward", "0"),
    ("net/ipv6/conf/all/forwarding", "0"),
    ("net/ipv4/conf/tap1/forwarding", "0"),
    ("net/ipv4/conf/tap1/proxy_arp", "0"),
    ("net/ipv4/conf/tap1/rp_filter", "2"),
    ("net/ipv6/conf/tap1/proxy_ndp", "0"),
    ("net/ipv6/conf/tap1/forwarding", "0"),
]
UNHEARD = [
    ("net/ipv4/conf/tap1/route_localnet", "0"),
    ("net/ipv4/neigh/tap1/proxy_delay", "80"),
    ("net/ipv6/conf/tap1/accept_ra", "2"),
    ("net/netfilter/nf_conntrack_acct", "0"),
]


def test_parameters_of_which_the_kernel_tells_are_mended(scene: Scene) -> None:
    for path, wrong in NOTIFIED:
        mended(
            scene,
            lambda path=path: scene.sysctl(path),  # type: ignore[misc]
            lambda path=path, wrong=wrong: scene.host.namespace.write_sysctl(path, wrong),  # type: ignore[misc]
        )
        # What belongs to the whole host takes each interface's along.
        assert scene.sysctl("net/ipv4/conf/tap1/forwarding") == "1"
        eventually(lambda: scene.sysctl("net/ipv6/conf/tap1/forwarding") == "1")
    wait_pings(scene.one, 2)


def test_the_audit_mends_what_nobody_tells(audited: Scene) -> None:
    for path, wrong in UNHEARD:
        mended(
            audited,
            lambda path=path: audited.sysctl(path),  # type: ignore[misc]
            lambda path=path, wrong=wrong: audited.host.namespace.write_sysctl(path, wrong),  # type: ignore[misc]
        )


# --- interfaces ---------------------------------------------------------------------------------


def test_a_renamed_interface_loses_its_routes_and_gets_them_back(scene: Scene) -> None:
    before = scene.host.routes()
    scene.ip("link", "set", "tap2", "down")
    scene.ip("link", "set", "tap2", "name", "tapelse")
    scene.ip("link", "set", "tapelse", "up")
    eventually(lambda: "10.65.0.2" not in scene.host.routes())
    # Under a name that no endpoint has, it may send nothing.
    assert "tapelse" not in scene.table()
    scene.ip("link", "set", "tapelse", "down")
    scene.ip("link", "set", "tapelse", "name", "tap2")
    scene.ip("link", "set", "tap2", "up")
    eventually(lambda: scene.host.routes() == before)
    wait_pings(scene.one, 2)


def test_a_recreated_interface_is_programmed_anew(scene: Scene) -> None:
    before = scene.host.routes()
    scene.host.unplug(2)
    scene.host.plug(2)
    eventually(lambda: scene.host.routes() == before)
    eventually(lambda: scene.sysctl("net/ipv4/conf/tap2/proxy_arp") == "1")
    wait_pings(scene.one, 2)


# --- rest ---------------------------------------------------------------------------------------


def writes(host: FelixHost) -> float:
    fetch = (
        "import urllib.request as u\n"
        "text = u.urlopen('http://localhost:9091/metrics').read().decode()\n"
        "print(*(l.split()[1] for l in text.splitlines() if l.startswith('felix_kernel_writes')))"
    )
    return float(host.namespace.run("python3", "-c", fetch).stdout)


def audits(host: FelixHost) -> int:
    assert host.process is not None
    return host.process.output().count("Audit the kernel")


def test_audits_write_nothing_when_nothing_is_wrong(host: FelixHost, etcd: EtcdClient) -> None:
    host.settings |= {"PrometheusMetricsEnabled": "true", "LogSeverityScreen": "Debug"}
    start(host, etcd, "0.5")
    before = writes(host)
    seen = audits(host)
    eventually(lambda: audits(host) >= seen + 3)
    assert writes(host) == before
