"""What the doctor finds wrong, in data, and what it advises."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from calico_openstack.agent.introspection.protocol import Answer, Row
from calico_openstack.calicoctl.doctor import datastore, hosts, neutron, objects
from calico_openstack.calicoctl.doctor.findings import Finding, Severity, lines, worst
from calico_openstack.datamodel import (
    ClusterInformation,
    ClusterInformationSpec,
    Invalid,
    Metadata,
    Node,
    Resource,
    ResourceKey,
)
from calico_openstack.datamodel.comparison import LastComparison
from calico_openstack.datamodel.invalid import Reason
from calico_openstack.etcd.records import Status
from tests.support.resources import group_policy, workload

CRITICAL, WARNING = Severity.CRITICAL, Severity.WARNING
GROUP = "sg.projectcalico.org/openstack-"


def told(found: Iterable[Finding]) -> list[tuple[Severity, str]]:
    findings = list(found)
    assert all(finding.remedy for finding in findings), "a fault without a remedy"
    return [(each.severity, f"{each.subject}: {each.text}") for each in findings]


def one(found: Iterable[Finding]) -> tuple[Severity, str]:
    (single,) = told(found)
    return single


# --- etcd -----------------------------------------------------------------------------------------

STATUS = Status(1, 1, "3.5.9", 100 << 20, 1, 5, 2, 10)


def member(name: str = "a", **changes: Any) -> datastore.Member:
    return datastore.Member(name, msgspec.structs.replace(STATUS, **changes), 0.01)


def test_a_healthy_etcd_is_without_faults() -> None:
    assert told(datastore.judge([member("a"), member("b"), member("c")])) == []


@pytest.mark.parametrize(
    ("changes", "severity", "text"),
    [
        ({"leader": 0}, CRITICAL, "no leader"),
        ({"errors": ("memberID:1 alarm:NOSPACE ",)}, CRITICAL, "out of space"),
        ({"errors": ("memberID:1 alarm:CORRUPT ",)}, CRITICAL, "corrupt"),
        ({"errors": ("something",)}, WARNING, "something"),
        ({"db_size": 1900 << 20}, WARNING, "nearly full: 1900 MiB of 2048 MiB"),
        ({"db_size": 7 << 30, "db_size_quota": 8 << 30}, WARNING, "of 8192 MiB"),
        ({"db_size": 1 << 30, "db_size_in_use": 1 << 20}, WARNING, "uses 1 MiB of the 1024 MiB"),
    ],
)
def test_what_ails_a_member(changes: dict[str, Any], severity: Severity, text: str) -> None:
    found = one(datastore.judge([member(**changes)]))
    assert found[0] is severity
    assert text in found[1]


def test_members_that_are_lost_matter_by_their_number() -> None:
    lost = datastore.Member("b", error="refused")
    assert one(datastore.judge([member("a"), lost, member("c")]))[0] is WARNING
    severities = [severity for severity, _ in told(datastore.judge([member("a"), lost, lost]))]
    assert severities == [CRITICAL, CRITICAL]


def test_members_are_compared_with_each_other() -> None:
    assert "behind" in one(datastore.judge([member("a"), member("b", raft_applied_index=9999)]))[1]
    assert "2 clusters" in one(datastore.judge([member("a"), member("b", cluster_id=2)]))[1]
    assert "3.4.1, 3.5.9" in one(datastore.judge([member("a"), member("b", version="3.4.1")]))[1]
    slow = datastore.Member("a", STATUS, 2.0)
    assert one(datastore.judge([slow]))[0] is CRITICAL


# --- objects --------------------------------------------------------------------------------------

READY = ResourceKey("ClusterInformation", "default")


def cloud(*more: tuple[ResourceKey, Resource | Invalid]) -> dict[ResourceKey, Resource | Invalid]:
    """Return one port in one group on a host that is called "here"."""
    ready = ClusterInformation(
        metadata=Metadata(name="default"), spec=ClusterInformationSpec(datastore_ready=True)
    )
    return {READY: ready, **dict([_port(1), group_policy("web"), *more])}


def _port(number: int, group: str = "web", **spec: Any) -> tuple[ResourceKey, Resource]:
    key, value = workload(number, **spec)
    labels = {**value.metadata.labels, **({f"{GROUP}{group}": f"{group}-servers"} if group else {})}
    metadata = msgspec.structs.replace(value.metadata, labels=labels)
    return key, msgspec.structs.replace(value, metadata=metadata)


def judged(resources: dict[ResourceKey, Resource | Invalid], *alive: str) -> list[Any]:
    return told(objects.judge(objects.Stored(resources, frozenset(alive or ("here",)))))


def test_a_cloud_in_order_is_without_faults() -> None:
    assert judged(cloud()) == []


def test_a_datastore_that_is_not_ready_is_critical() -> None:
    locked = ClusterInformation(
        metadata=Metadata(name="default"), spec=ClusterInformationSpec(datastore_ready=False)
    )
    assert judged(cloud((READY, locked)))[0][1] == (
        "datastore: is locked: the hosts leave everything as it is"
    )
    resources = cloud()
    del resources[READY]
    assert "missing" in judged(resources)[0][1]


def test_an_invalid_object_is_named_with_field_and_reason() -> None:
    key = ResourceKey("Tier", "gold")
    broken = Invalid(key.path, key, (Reason("spec.order", "is no number"),))
    ((severity, text),) = judged(cloud((key, broken)))
    assert severity is CRITICAL
    assert text.startswith("tiers/gold")
    assert "spec.order" in text


@pytest.mark.parametrize(
    ("felix", "text"),
    [
        ("Here", "Felix there calls itself 'Here'"),
        ("here.example.org", "Felix there calls itself 'here.example.org'"),
        ("elsewhere", "where no Felix was ever seen"),
    ],
)
def test_names_that_do_not_match(felix: str, text: str) -> None:
    ((severity, found),) = judged(cloud(), felix)
    assert severity is CRITICAL
    assert text in found


def test_a_felix_without_a_sign_of_life_is_critical() -> None:
    stored = objects.Stored(cloud(), frozenset({"here"}), {"there": "2026-01-01T00:00:00Z"})
    assert one(objects.judge(stored)) == (
        CRITICAL,
        "there: calico-felix gives no sign of life since 2026-01-01T00:00:00Z: new ports are not "
        "served",
    )


def test_a_group_without_a_policy_is_critical() -> None:
    ((severity, text),) = judged(cloud(_port(2, "db")))
    assert severity is CRITICAL
    assert text.startswith("security group db-servers: has no NetworkPolicy in etcd")


def test_a_port_without_a_group_is_worth_a_look() -> None:
    assert "1 port(s) have neither" in judged(cloud(_port(2, "")))[0][1]


def test_addresses_of_several_ports_are_found_unless_they_are_shared_on_purpose() -> None:
    twice = ("10.0.0.1/32", "10.0.0.2/32")
    ((severity, text),) = judged(cloud(_port(2, ip_networks=twice)))
    assert severity is WARNING
    assert text == "10.0.0.1: is the address of 2 ports: port1, port2"
    shared = _port(2, ip_networks=twice, allowed_ips=("10.0.0.1/32",))
    assert judged(cloud(shared)) == []


def test_hosts_without_a_node_are_found_where_there_are_nodes() -> None:
    node = (ResourceKey("Node", "other"), Node(metadata=Metadata(name="other")))
    assert "1 host(s) with ports have no Node" in judged(cloud(node))[0][1]


# --- Neutron --------------------------------------------------------------------------------------

COMPARED = LastComparison(time=1000.0, interval=600.0)


@pytest.mark.parametrize(
    ("changes", "now", "severity", "text"),
    [
        ({"differing": 2, "keys": ("/a", "/b")}, 1000.0, WARNING, "2 key(s) in etcd were not as"),
        ({"contested": 1, "keys": ("/a",)}, 1000.0, CRITICAL, "written by others too: /a"),
        ({"error": "OperationalError"}, 1000.0, CRITICAL, "cannot be compared"),
        ({}, 1000.0 + 3 * 3600, WARNING, "last compared with its database at 1970-01-01 00:16"),
    ],
)
def test_what_neutron_s_driver_has_found_is_told(
    changes: dict[str, Any], now: float, severity: Severity, text: str
) -> None:
    last = {"no-region": msgspec.structs.replace(COMPARED, **changes)}
    found = one(neutron.judge(last, now))
    assert found[0] is severity
    assert text in found[1]


def test_comparisons_that_find_nothing_or_what_was_to_be_expected_are_no_fault() -> None:
    upgraded = msgspec.structs.replace(COMPARED, differing=9, reason="the version has changed")
    never = msgspec.structs.replace(COMPARED, interval=0.0)
    last = {"a": COMPARED, "b": upgraded}
    assert told(neutron.judge(last, 1600.0)) == told(neutron.judge({"c": never}, 1e9)) == []


def test_a_comparison_of_the_moment_is_told() -> None:
    prefix = "/calico/resources/v3/projectcalico.org/"
    keys = {f"{prefix}workloadendpoints/openstack/{name}": "created" for name in "abcd"}
    endpoints = {"keys": keys, "problems": ["port 1: fixed_ips: none", "port 1: fixed_ips: none"]}
    shown = ", ".join(f"workloadendpoints/openstack/{name}" for name in "abc")
    assert told(neutron.judge_audit({"writes": 4, "phases": {"endpoints": endpoints}})) == [
        (CRITICAL, f"neutron: 4 key(s) in etcd are not as in its database: {shown} and 1 more"),
        (WARNING, "neutron: cannot be honoured: port 1: fixed_ips: none"),
    ]
    assert told(neutron.judge_audit({"writes": 0, "phases": {}, "error": None})) == []
    found = one(neutron.judge_audit({"error": "no database"}))
    assert found == (CRITICAL, "neutron: etcd cannot be compared with its database: no database")


# --- hosts ----------------------------------------------------------------------------------------

HEALTHY: dict[str, tuple[Row, ...]] = {
    "host": (
        {"what": "time", "value": "1000.0"},
        {"what": "net/ipv4/ip_forward", "value": "1"},
        {"what": "net/ipv6/conf/all/forwarding", "value": "1"},
        {"what": "net/netfilter/nf_conntrack_count", "value": "10"},
        {"what": "net/netfilter/nf_conntrack_max", "value": "1000"},
    ),
    "features": (
        {"feature": "rules", "kernel": "ok", "used": "yes", "for": "all", "modules": "nf_tables"},
        {"feature": "more", "kernel": "no", "used": "optional", "for": "x", "modules": "y"},
    ),
    "audits": (
        {"what": "seconds since the last audit", "value": ""},
        {"what": "repaired by the last audit", "value": "0"},
    ),
    "queues": ({"queue": "batches", "waiting": "0"},),
    "peers": (
        {"peer": "192.0.2.1", "state": "Established", "because of": "mesh", "last error": ""},
    ),
    "processes": ({"network": "n", "role": "dhcp4", "process": "12"},),
}


def host(time: float = 1000.0, **changes: Answer | tuple[Row, ...]) -> list[Any]:
    answers = {name: Answer(rows=rows) for name, rows in HEALTHY.items()}
    for name, change in changes.items():
        answer = change if isinstance(change, Answer) else Answer(rows=change)
        answers[name.replace("_", " ")] = answer
    return told(hosts.judge(hosts.HostAnswers("h", answers, time)))


def fact(name: str, value: str) -> tuple[Row, ...]:
    rest = tuple(row for row in HEALTHY["host"] if row["what"] != name)
    return (*rest, {"what": name, "value": value})


FEATURE = {"feature": "queueing", "used": "no", "for": "limits of bandwidth", "modules": "ifb,a"}
FORWARD = {"table": "ip filter", "chain": "FORWARD", "hook": "forward", "rules": "3"}
ROUTE = {"destination": "10.0.0.1/32", "interface": "tap1", "kernel": "nowhere"}
DOWN = {"interface": "tap1", "status": "down", "addresses": "10.0.0.1", "why": "w", "endpoint": "e"}


def test_a_healthy_host_is_without_faults() -> None:
    assert host() == []


@pytest.mark.parametrize(
    ("changes", "severity", "text"),
    [
        ({"time": 1010.0}, WARNING, "differs from this host's by -10.0 s"),
        ({"time": 900.0}, CRITICAL, "+100.0 s"),
        ({"host": fact("net/ipv4/ip_forward", "0")}, CRITICAL, "forwarding of IPv4 is off"),
        ({"host": fact("net/netfilter/nf_conntrack_count", "1000")}, CRITICAL, "1000 of 1000"),
        ({"host": fact("net/netfilter/nf_conntrack_count", "900")}, WARNING, "900 of 1000"),
        ({"queues": ({"queue": "batches", "waiting": "5000"},)}, WARNING, "5000 batches wait"),
        ({"foreign": ({**FORWARD, "policy": "drop"},)}, CRITICAL, "FORWARD of table ip filter"),
        ({"foreign": ({**FORWARD, "policy": "accept"},)}, WARNING, "has rules for forwarding"),
        (
            {"features": ({**FEATURE, "kernel": "no module ifb"},)},
            WARNING,
            "lacks queueing (no module ifb), needed for limits of bandwidth; not used there now",
        ),
        ({"features": ({**FEATURE, "kernel": "gone", "used": "yes"},)}, CRITICAL, "(gone)"),
        (
            {
                "audits": (
                    {"what": "seconds since the last audit", "value": "7"},
                    {"what": "repaired by the last audit", "value": "3"},
                )
            },
            WARNING,
            "the last audit, 7 s ago, repaired 3 thing(s)",
        ),
        ({"missing": ({"chain": "in-class-1"},)}, CRITICAL, "in-class-1"),
        ({"routes": (ROUTE,)}, CRITICAL, "10.0.0.1/32 (leads to nowhere)"),
        (
            {"routes": (ROUTE,), "down": (DOWN,)},
            WARNING,
            "the port of tap1, with 10.0.0.1, is down",
        ),
        (
            {"problems": ({"kind": "refused by the kernel", "what": "", "why": "EBUSY"},)},
            CRITICAL,
            "its kernel refuses: EBUSY",
        ),
        (
            {"problems": ({"kind": "refused endpoint", "what": "e", "why": "no MAC"},)},
            CRITICAL,
            "endpoint e is not served",
        ),
        (
            {"peers": ({**HEALTHY["peers"][0], "state": "Active"},)},
            CRITICAL,
            "BGP session to 192.0.2.1 (mesh) is Active",
        ),
        ({"peers": Answer(error="does not run")}, CRITICAL, "no routes are announced"),
        ({"processes": Answer(error="does not run")}, CRITICAL, "instances get no addresses"),
        (
            {"processes": ({"network": "n", "role": "dhcp4", "process": "does not run"},)},
            CRITICAL,
            "dnsmasq (dhcp4) of network n does not run",
        ),
        ({"bgp_problems": ({"what": "BGPPeer a", "why": "b"},)}, WARNING, "BGPPeer a: b"),
        ({"dhcp_problems": ({"problem": "no subnet"},)}, WARNING, "no subnet"),
        ({"host": Answer(error="silent")}, WARNING, "does not answer questions: silent"),
    ],
)
def test_what_ails_a_host(changes: dict[str, Any], severity: Severity, text: str) -> None:
    ((found, words),) = host(**changes)
    assert found is severity
    assert text in words


def test_the_worst_comes_first_and_decides_the_exit_status() -> None:
    found = [Finding(WARNING, "b", "y", "z"), Finding(CRITICAL, "a", "x")]
    assert list(lines(found)) == ["CRITICAL a: x", "WARNING  b: y", "         -> z"]
    assert (worst(found), worst([])) == (2, 0)
