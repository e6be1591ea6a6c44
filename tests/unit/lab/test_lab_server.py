"""Small pure parts: identities, probes on the wire, logs, caches, the demonstration."""

from pathlib import Path
from typing import Any

import pytest

from calico_openstack.lab import demo, identity
from calico_openstack.lab.bgp_layout import resources
from calico_openstack.lab.compute import configuration
from calico_openstack.lab.database import cache_key
from calico_openstack.lab.log_files import last_words, tail
from calico_openstack.lab.probing import echo_request, is_echo_reply
from calico_openstack.lab.settings import Lab
from calico_openstack.lab.status_view import duration
from calico_openstack.lab.supervisor import cap_log
from calico_openstack.lab.topology import plan
from calico_openstack.lab.waiting import NotReadyError, wait_until


def call(environ: dict[str, Any]) -> dict[str, Any]:
    seen: dict[str, Any] = {}

    def application(environ: dict[str, Any], _start: object) -> list[bytes]:
        seen.update(environ)
        return []

    identity.filter_factory({})(application)(environ, lambda *_: None)
    return seen


def test_who_says_nothing_is_the_administrator() -> None:
    assert "admin" in call({})["HTTP_X_ROLES"].split(",")


def test_a_project_token_makes_a_member_and_no_more() -> None:
    seen = call({"HTTP_X_AUTH_TOKEN": "project:red"})
    assert seen["HTTP_X_PROJECT_ID"] == "red"
    assert "admin" not in seen["HTTP_X_ROLES"].split(",")


def test_identity_headers_are_left_alone() -> None:
    given_headers = {"HTTP_X_PROJECT_ID": "blue", "HTTP_X_ROLES": "reader"}
    assert call(dict(given_headers)) == given_headers


def test_the_client_finds_the_api_as_administrator_and_as_project() -> None:
    assert identity.client_environment("http://a:1", None)["OS_AUTH_TYPE"] == "none"
    assert identity.client_environment("http://a:1", "red")["OS_TOKEN"] == "project:red"


def test_an_echo_reply_is_told_from_others() -> None:
    request = echo_request(False, 3)
    header = bytes([0x45]) + bytes(19)
    reply = b"\x00\x00\x00\x00" + request[4:]
    assert is_echo_reply(header + reply, request)
    assert not is_echo_reply(header + request, request)
    other = echo_request(False, 4)
    assert not is_echo_reply(header + b"\x00\x00\x00\x00" + other[4:], request)
    request6 = echo_request(True, 3)
    assert is_echo_reply(b"\x81\x00\x12\x34" + request6[4:], request6)
    assert not is_echo_reply(b"\x81", request6)


def test_a_log_over_its_limit_keeps_its_end_aside(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("abcdefghij")
    cap_log(log, limit=10, kept=4)
    assert log.read_text() == "abcdefghij"
    cap_log(log, limit=9, kept=4)
    assert log.read_text() == ""
    assert (tmp_path / "x.log.1").read_text() == "ghij"


def test_the_last_words_are_those_about_errors(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("one\nValueError: bad\ntwo\nthree\nfour\nfive\n")
    assert last_words(log) == ["ValueError: bad"]
    log.write_text("one\ntwo\nthree\nfour\n")
    assert last_words(log) == ["two", "three", "four"]
    assert tail(tmp_path / "none", 3) == []


def test_a_cache_key_is_for_a_set_of_versions() -> None:
    assert cache_key(["a", "b"]) == cache_key(["b", "a"])
    assert cache_key(["a", "b"]) != cache_key(["a", "c"])


def test_waiting_ends_with_the_reason() -> None:
    assert wait_until(lambda: 5, "it", timeout=0) == 5
    with pytest.raises(NotReadyError, match="the thing did not come within 0 s: no reason"):
        wait_until(lambda: None, "the thing", timeout=0, reason=lambda: "no reason")


@pytest.mark.parametrize(
    ("seconds", "text"), [(5.9, "5 s"), (65, "1 min 5 s"), (7325, "2 h 2 min")]
)
def test_a_duration_has_two_units(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_demonstration_spreads_over_the_hosts() -> None:
    assert [host for _, _, host in demo.placement(["a", "b", "c"])] == ["a", "b", "c", "a"]
    assert {host for _, _, host in demo.placement(["a"])} == {"a"}


def test_a_rule_of_the_demonstration_fits_its_family() -> None:
    rule = demo.rule_attributes(demo.RuleOrder("icmp", remote="web"), 6, {"web": "id"})
    assert rule["protocol"] == "ipv6-icmp"
    assert rule["remote_group_id"] == "id"


def test_every_host_is_told_of_the_router_in_both_families() -> None:
    topology = plan(1)
    peers = [r.spec.peer_ip for r in resources(topology) if r.KIND == "BGPPeer"]  # type: ignore[attr-defined]
    assert peers == [topology.tor.ipv4, topology.tor.ipv6]


def test_each_agent_has_a_configuration_file() -> None:
    topology = plan(2)
    texts = configuration(Lab(), topology, topology.compute[1])
    assert len(texts) == 3
    assert all(f"http://{topology.controller.ipv4}:2379" in text for text in texts.values())
    assert all("compute-2" in text for text in texts.values())
