"""What a host reports into the datastore, and how routes are read for it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from calico_openstack.bgp.birdroutes import NextHop, Route, parse_routes
from calico_openstack.bgp.birdstatus import DaemonStatus, ProtocolStatus, parse_bfd_sessions
from calico_openstack.bgp.metrics import metrics_of
from calico_openstack.bgp.nodestatus import (
    AGENT,
    BGP,
    REASONS_ANNOTATION,
    ROUTES,
    Answers,
    Request,
    new_object,
    reasons_of,
    request_of,
    with_status,
)
from calico_openstack.bgp.replies import parse_lines
from calico_openstack.bgp.version import BirdVersion

SHOW_ROUTE = (
    "1007-Table master4:\n"
    " 10.65.0.0/16         blackhole [calico_aggregates4 05:52:32.057] * (200)\n"
    "                      unicast [calico_kernel4 05:52:32.076] (10)\n"
    " \tvia 10.67.0.3 on eth1\n"
    " 10.65.0.7/32         unicast [Mesh_10_0_0_3 2026-01-02] * (100/?) [i]\n"
    " \tvia 10.0.0.3 on eth0 weight 1\n"
    " \tvia 10.0.0.4 on eth0 weight 1\n"
    " 10.65.0.8/32         unicast [Node_10_0_0_9 05:52 from 10.0.0.9] (100) [AS1i]\n"
    " \tvia 10.0.0.9 on eth0\n"
    " \n"
    " Table master6:\n"
    " fd66::1/128          unicast [calico_direct 05:52:33.567] * (240)\n"
    " \tdev dummy1\n"
    "0000 \n"
)
ROUTE_LIST = [
    Route(4, "10.65.0.0/16", "blackhole", "calico_aggregates4", best=True),
    Route(4, "10.65.0.0/16", "unicast", "calico_kernel4", False, (NextHop("10.67.0.3", "eth1"),)),
    Route(
        4,
        "10.65.0.7/32",
        "unicast",
        "Mesh_10_0_0_3",
        best=True,
        hops=(NextHop("10.0.0.3", "eth0"), NextHop("10.0.0.4", "eth0")),
    ),
    Route(4, "10.65.0.8/32", "unicast", "Node_10_0_0_9", False, (NextHop("10.0.0.9", "eth0"),)),
    Route(6, "fd66::1/128", "unicast", "calico_direct", True, (NextHop("", "dummy1"),)),
]
UP = ProtocolStatus(
    "Mesh_10_0_0_3", "BGP", "up", "2026-01-02T03:04:05", "Established", "Established", "10.0.0.3"
)
DOWN = ProtocolStatus(
    "Global_fd00__9", "BGP", "start", "2026-01-02T03:04:06", "Active", "Active", "fd00::9"
)
NODE = ProtocolStatus("Node_10_0_0_9", "BGP", "start", "then", "", "OpenSent", "10.0.0.9")
DAEMON = DaemonStatus(BirdVersion(2, 0, 12), "10.0.0.2", "boot", "reconfigured")
EVERYTHING = Request("n2", frozenset({AGENT, BGP, ROUTES}), 10)
STORED: dict[str, Any] = {
    "kind": "CalicoNodeStatus",
    "metadata": {"name": "s", "annotations": {"other": "x"}},
    "spec": {"node": "n2", "classes": [AGENT, BGP, ROUTES], "updatePeriodSeconds": 10, "more": 1},
}


def filled(request: Request, answers: Answers) -> dict[str, Any]:
    result = with_status(STORED, request, answers, "now")
    assert result is not None
    return result


def test_routes_are_read() -> None:
    assert list(parse_routes(parse_lines(SHOW_ROUTE))) == ROUTE_LIST


def test_bfd_is_read() -> None:
    text = (
        "1020-calico_bfd:\n"
        " IP address                Interface  State      Since         Interval  Timeout\n"
        " 127.0.0.2                 ---        Down       2026-11-24T05:52:15    1.000    0.000\n"
        " fd99::2                   eth0       Up         05:52:15.100    1.000    0.000\n"
        "0000 \n"
    )
    assert parse_bfd_sessions(parse_lines(text)) == {"127.0.0.2": "Down", "fd99::2": "Up"}
    assert parse_bfd_sessions(parse_lines("8003 No protocols match\n")) == {}


def test_what_is_asked_for() -> None:
    assert request_of(STORED) == EVERYTHING
    spec = {"node": "n2", "classes": ["BGP", "Weather"], "updatePeriodSeconds": 10**9}
    assert request_of({"spec": spec}) == Request("n2", frozenset({BGP}), 86400)
    assert request_of(new_object("n2", 30, "u", "now")) == Request(
        "n2", frozenset({AGENT, BGP}), 30
    )


@pytest.mark.parametrize(
    "stored",
    [
        None,
        [],
        {},
        {"spec": []},
        {"spec": {"node": 1, "classes": [], "updatePeriodSeconds": 1}},
        {"spec": {"node": "n", "classes": "BGP", "updatePeriodSeconds": 1}},
        {"spec": {"node": "n", "classes": [], "updatePeriodSeconds": True}},
        {"spec": {"node": "n", "classes": []}},
    ],
)
def test_what_cannot_be_understood_asks_for_nothing(stored: object) -> None:
    assert request_of(stored) is None


def test_a_full_report() -> None:
    answers = Answers(DAEMON, (UP, DOWN, NODE), tuple(ROUTE_LIST))
    result = filled(EVERYTHING, answers)
    assert {m: result[m] for m in STORED} == STORED
    status = result["status"]
    assert status["lastUpdated"] == "now"
    assert status["agent"]["birdV4"] == status["agent"]["birdV6"]
    assert status["agent"]["birdV4"] == {
        "state": "Ready",
        "version": "2.0.12",
        "routerID": "10.0.0.2",
        "lastBootTime": "boot",
        "lastReconfigurationTime": "reconfigured",
    }
    bgp = status["bgp"]
    assert (bgp["numberEstablishedV4"], bgp["numberNotEstablishedV4"]) == (1, 1)
    assert (bgp["numberEstablishedV6"], bgp["numberNotEstablishedV6"]) == (0, 1)
    assert bgp["peersV4"] == [
        {
            "peerIP": "10.0.0.3",
            "type": "NodeMesh",
            "state": "Established",
            "since": "2026-01-02T03:04:05",
        },
        {"peerIP": "10.0.0.9", "type": "NodePeer", "state": "OpenSent", "since": "then"},
    ]
    assert bgp["peersV6"][0]["type"] == "GlobalPeer"
    routes = status["routes"]
    assert [(r["type"], r["gateway"], r["interface"]) for r in routes["routesV4"]] == [
        ("FIB", "N/A", "blackhole"),
        ("RIB", "10.67.0.3", "eth1"),
        ("FIB", "10.0.0.3", "eth0"),
        ("RIB", "10.0.0.9", "eth0"),
    ]
    assert [r["learnedFrom"] for r in routes["routesV4"]] == [
        {"sourceType": "Static"},
        {"sourceType": "Kernel"},
        {"sourceType": "NodeMesh", "peerIP": "10.0.0.3"},
        {"sourceType": "BGPPeer", "peerIP": "10.0.0.9"},
    ]
    assert routes["routesV6"][0]["learnedFrom"] == {"sourceType": "Direct"}


def test_only_the_classes_asked_for() -> None:
    status = filled(Request("n2", frozenset({BGP}), 10), Answers(DAEMON, (UP,)))["status"]
    assert set(status) == {"lastUpdated", "bgp"}


def test_a_bird_that_does_not_answer() -> None:
    silent = Answers(None)
    assert with_status(STORED, Request("n2", frozenset({BGP}), 10), silent, "now") is None
    assert filled(EVERYTHING, silent)["status"] == {
        "lastUpdated": "now",
        "agent": {"birdV4": {"state": "NotReady"}, "birdV6": {"state": "NotReady"}},
    }


def test_reasons_come_and_go() -> None:
    once = filled(EVERYTHING, Answers(DAEMON, reasons=("ä is wrong",)))
    assert json.loads(once["metadata"]["annotations"][REASONS_ANNOTATION]) == ["ä is wrong"]
    again = with_status(once, EVERYTHING, Answers(DAEMON), "now")
    assert again is not None
    assert again["metadata"] == STORED["metadata"]


DOCUMENT: dict[str, Any] = {
    "host": "n2",
    "inSync": True,
    "etcdConnected": False,
    "alarm": "old",
    "draining": True,
    "reloads": 2,
    "lastReload": 7.5,
    "birdStarts": 1,
    "registrationFaults": ["fault"],
    "problems": [{"resource": "BGPPeer p", "field": "spec.x", "reason": "bad"}],
    "sessions": [
        {
            "name": "A",
            "peer": "10.0.0.3",
            "node": "n3",
            "family": 4,
            "state": "Established",
            "disabled": "",
            "imported": 3,
            "exported": 2,
        },
        {"name": "B", "peer": "::9", "node": "", "family": 6, "state": "", "disabled": "password"},
        {
            "name": "C",
            "peer": "::7",
            "node": "",
            "family": 6,
            "state": "Active",
            "disabled": "",
            "lastError": "Socket: refused",
        },
    ],
    "bird": {"routes": {"master4": 9}},
}


def test_reasons() -> None:
    assert reasons_of(DOCUMENT) == (
        "old",
        "fault",
        "B is disabled: password",
        "C is Active Socket: refused",
        "BGPPeer p spec.x: bad",
    )


def test_metrics() -> None:
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for metric in metrics_of(DOCUMENT)
        for sample in metric.samples
    }
    assert samples["calico_bgp_config_refused",] == 1
    assert samples["calico_bgp_etcd_connected",] == 0
    assert samples["calico_bgp_bird_up",] == 1
    assert samples["calico_bgp_last_reload_timestamp_seconds",] == 7.5
    assert samples["calico_bgp_sessions", "4", "Established"] == 1
    assert samples["calico_bgp_sessions", "6", "Unknown"] == 1
    assert samples["calico_bgp_session_up", "10.0.0.3", "4", "A", "n3"] == 1
    assert samples["calico_bgp_session_routes", "A", "imported"] == 3
    assert samples["calico_bgp_routes", "master4"] == 9
