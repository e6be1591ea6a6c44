"""How drops are told."""

from __future__ import annotations

from calico_openstack.agent.introspection.protocol import Answer, Row
from calico_openstack.calicoctl.dropping import fresh, line
from calico_openstack.calicoctl.naming import Directory, Naming, naming_as

ROW: Row = {
    "number": "1",
    "time": "0.5",
    "count": "1",
    "reason": "default deny",
    "packet": "TCP 10.0.0.1 -> 10.0.0.2 port 5432",
    "direction": "ingress",
    "interface": "tap2",
    "port": "port2",
    "rule": "end of tier default",
    "policies": "ossg.default.75fccd0a-ef3d-44cd-91ec-ef22941f50f5,others",
}
WEB = "75fccd0a-ef3d-44cd-91ec-ef22941f50f5"
NAMES = Directory(groups={WEB: "web"}, ports={"port2": "db1"})


def test_a_drop_is_new_until_it_was_seen_and_when_it_happens_again() -> None:
    seen: dict[tuple[str, str], int] = {}
    answers = {"h": Answer(rows=(ROW,)), "silent": Answer(error="gone")}
    assert list(fresh(answers, seen, set())) == [("h", ROW)]
    assert list(fresh(answers, seen, set())) == []
    again = {**ROW, "number": "2", "count": "2"}
    assert list(fresh({"h": Answer(rows=(again,))}, seen, set())) == [("h", again)]


def test_drops_of_other_ports_are_left_out() -> None:
    answers = {"h": Answer(rows=(ROW, {**ROW, "interface": "tap3"}))}
    assert [row["interface"] for _, row in fresh(answers, {}, {"tap3"})] == ["tap3"]


def test_a_line_tells_who_refused_what_and_why() -> None:
    assert line("h", ROW, NAMES) == (
        "00:00:00 h: default deny: TCP 10.0.0.1 -> 10.0.0.2 port 5432, ingress of port db1: "
        "no rule of security group web, others allows it (end of tier default)"
    )
    denied = {
        **ROW,
        "reason": "explicit deny",
        "rule": f"np/openstack/ossg.default.{WEB} ingress[0]",
    }
    assert "security group web ingress[0]" in line("h", {**denied, "count": "3"}, NAMES)
    with naming_as(Naming.IDS):
        assert f"of security group {WEB}, others allows" in line("h", ROW, NAMES)
        assert "of port port2" in line("h", ROW, NAMES)
    assert "(3 times)" in line("h", {**denied, "count": "3"}, NAMES)
