"""Rules that change, and packets that lie about where they come from."""

from __future__ import annotations

import time

from calico_openstack.lab.traffic import Flow, FlowKind
from tests.scenario.cloud import Cloud, eventually

PORT = 8443


def test_traffic_follows_a_rule_that_comes_and_goes(cloud: Cloud) -> None:
    assert not cloud.reaches("client", "db1", PORT)
    rule = cloud.add_rule("db", protocol="tcp", port_range_min=PORT, port_range_max=PORT)
    eventually(lambda: cloud.reaches("client", "db1", PORT), "the new rule lets packets in")
    assert not cloud.reaches("client", "db1", PORT, family=6)
    cloud.delete_rule(rule)
    eventually(lambda: not cloud.reaches("client", "db1", PORT), "the deleted rule lets none in")


def test_a_withdrawn_rule_ends_the_connections_that_it_allowed(cloud: Cloud) -> None:
    rule = cloud.add_rule("db", protocol="tcp", port_range_min=PORT, port_range_max=PORT)
    eventually(lambda: cloud.reaches("web1", "db2", PORT), "the new rule lets packets in")
    flow = Flow(FlowKind.STREAM, cloud.address("db2", 4), PORT)
    with cloud.serving("db2", PORT), cloud.traffic("web1", [flow]) as reports:
        eventually(lambda: reports()[0].answered > 3, "the connection works")
        cloud.delete_rule(rule)
        eventually(lambda: reports()[0].failures, "the connection is cut")


def test_a_new_member_of_a_remote_group_is_let_in(cloud: Cloud) -> None:
    assert not cloud.reaches("db2", "db1", 5432)
    db2 = cloud.workload("db2")
    groups = [cloud.neutron.find("security-groups", name)["id"] for name in ("web", "db")]
    cloud.neutron.update("ports", db2.port_id, security_groups=groups)
    for family in (4, 6):
        eventually(
            lambda family=family: cloud.reaches("db2", "db1", 5432, family=family),  # type: ignore[misc]
            "the new member is let in",
        )
    cloud.neutron.update("ports", db2.port_id, security_groups=groups[1:])
    eventually(lambda: not cloud.reaches("db2", "db1", 5432), "the former member is not")


def test_a_packet_with_a_false_source_goes_nowhere(cloud: Cloud) -> None:
    # Only the packets count, so the answer need not find its way back: the client listens.
    false4, false6 = "10.65.0.253", "2001:db8:65::fffd"
    capture = ["tcpdump", "-n", "-l", "-i", "eth0", "udp", "port", "9999"]
    log = cloud.log_of("client", "capture")
    try:
        cloud.run("web1", f"ip address add {false4}/32 dev lo")
        cloud.run("web1", f"ip address add {false6}/128 dev lo")
        with cloud.program("client", capture, "capture"):
            eventually(lambda: "listening on" in log.read_text(), "tcpdump listens")

            def send(source: str, target: str) -> None:
                cloud.run("web1", f"{SENDER} {source} {target}")

            true4, true6 = (cloud.address("web1", family) for family in (4, 6))
            send(false4, "192.0.2.10")
            send(false6, "2001:db8:c::10")
            # What is sent last arrives last, so after these the false ones would be there.
            send(true4, "192.0.2.10")
            send(true6, "2001:db8:c::10")
            eventually(lambda: true4 in log.read_text(), "the true IPv4 packet arrives")
            eventually(lambda: true6 in log.read_text(), "the true IPv6 packet arrives")
            time.sleep(0.2)
            assert false4 not in log.read_text()
            assert false6 not in log.read_text()
    finally:
        cloud.run("web1", "ip address flush dev lo", check=False)
        cloud.run("web1", "ip address add 127.0.0.1/8 dev lo", check=False)


SENDER = (
    'python3 -c \'import socket,sys; f=socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET;'
    " s=socket.socket(f,socket.SOCK_DGRAM); s.bind((sys.argv[1],0));"
    ' s.sendto(b"x",(sys.argv[2],9999))\''
)
