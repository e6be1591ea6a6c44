"""The status of ports and agents follows from the reports in etcd, and from nothing else."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.datamodel.keys import DhcpStatusKey, EndpointStatusKey, FelixStatusKey
from calico_openstack.datamodel.status import AgentStatus, EndpointStatus
from calico_openstack.etcd import Update
from calico_openstack.neutron.status import (
    Agent,
    AgentKind,
    PortState,
    ReportBook,
    floating_ip_status,
    is_target_up,
    port_status,
)

FELIX = Agent(AgentKind.FELIX, "h1")
PORT = PortState("p1", "DOWN", True, "vm", "h1", "tap")


def report(
    status: str | None,
    host: str = "h1",
    *,
    port: str = "p1",
    workload: str = "openstack/vm",
    floating: tuple[str, ...] | None = None,
) -> Update:
    key = EndpointStatusKey("no-region", host, "openstack", workload, port)
    said = None if status is None else EndpointStatus(status=status, floating_ips=floating)
    value = None if said is None else said.encode()
    return Update(key.path, value, 1)


def alive(host: str, uptime: float = 1.0) -> Update:
    value = AgentStatus(time="2026-01-01T00:00:00Z", uptime=uptime, first_update=True).encode()
    return Update(FelixStatusKey("no-region", host).path, value, 1)


def gone(host: str) -> Update:
    return Update(FelixStatusKey("no-region", host).path, None, 1)


def book_of(*updates: Update) -> ReportBook:
    book = ReportBook("openstack")
    book.apply(updates)
    return book


@pytest.mark.parametrize(
    ("reported", "now", "wanted"),
    [
        ("up", "DOWN", "ACTIVE"),
        ("up", "BUILD", "ACTIVE"),
        ("up", "ERROR", "ACTIVE"),
        ("up", "ACTIVE", None),
        ("down", "ACTIVE", "DOWN"),
        ("down", "DOWN", None),
        ("error", "ACTIVE", "ERROR"),
        ("error", "ERROR", None),
        (None, "ACTIVE", "DOWN"),
        (None, "ERROR", "DOWN"),
        (None, "DOWN", None),
        (None, "BUILD", None),
    ],
)
def test_what_the_host_of_a_port_says(reported: str | None, now: str, wanted: str | None) -> None:
    book = book_of(alive("h1"), report(reported))
    assert port_status(dataclasses.replace(PORT, status=now), book) == wanted


@pytest.mark.parametrize(
    "update",
    [
        report("up", "h2"),
        report("up", port="p2"),
        report("up", workload="openstack/other-vm"),
        report("up", workload="openstack-region-x/vm"),
        report("sideways"),
        Update("/calico/felix/v2/no-region/host/round-trip-check", b"12.5", 1),
    ],
)
def test_what_has_no_say(update: Update) -> None:
    assert port_status(PORT, book_of(alive("h1"), update)) is None


@pytest.mark.parametrize(
    "change",
    [
        {"host": ""},
        {"vif_type": "unbound"},
        {"vif_type": "binding_failed"},
        {"vif_type": "ovs"},
        {"admin_state_up": False},
    ],
)
def test_ports_that_do_not_become_active(change: dict[str, object]) -> None:
    port = dataclasses.replace(PORT, **change)  # type: ignore[arg-type]
    assert port_status(port, book_of(alive("h1"), report("up"))) is None


def test_a_dead_felix_says_nothing_about_its_ports() -> None:
    active = dataclasses.replace(PORT, status="ACTIVE")
    assert port_status(active, book_of()) is None
    assert port_status(active, book_of(alive("h1"))) == "DOWN"
    assert port_status(active, book_of(alive("h1"), gone("h1"))) is None


def test_agents_start_and_go() -> None:
    book = ReportBook("openstack")
    assert book.apply([alive("h1", 5)]).started == {FELIX}
    assert book.apply([alive("h1", 35)]).started == set()
    assert book.apply([alive("h1", 1)]).started == {FELIX}
    changes = book.apply([gone("h1"), gone("never-there")])
    assert (changes.started, changes.gone) == (set(), {FELIX})
    assert book.agents == set()


def test_what_cannot_be_read_is_named() -> None:
    path = FelixStatusKey("no-region", "h1").path
    changes = ReportBook("openstack").apply([Update(path, b"{", 1), report("sideways")])
    assert len(changes.refused) == 2
    assert path in changes.refused[0]


updates = st.lists(
    st.one_of(
        st.builds(report, st.sampled_from(["up", "down", "error", "x", None])),
        st.builds(report, st.sampled_from(["up", None]), st.sampled_from(["h1", "h2"])),
        st.builds(alive, st.sampled_from(["h1", "h2"])),
        st.builds(gone, st.sampled_from(["h1", "h2"])),
    ),
    max_size=12,
)


@given(updates, st.sampled_from(["ACTIVE", "DOWN", "ERROR", "BUILD"]))
def test_only_the_last_report_of_each_key_counts(history: list[Update], status: str) -> None:
    """However updates were merged or repeated on the way, the answer is the same."""
    last = {update.key: update for update in history}
    port = dataclasses.replace(PORT, status=status)
    assert port_status(port, book_of(*history)) == port_status(port, book_of(*last.values()))


@given(updates)
def test_a_status_that_was_given_needs_no_other(history: list[Update]) -> None:
    book = book_of(*history)
    given_status = port_status(PORT, book) or PORT.status
    assert port_status(dataclasses.replace(PORT, status=given_status), book) is None


@pytest.mark.parametrize(
    ("reports", "ready"),
    [
        ([], False),
        ([report("up")], False),
        ([report("up"), report("down", "h2")], False),
        ([report("up"), report("up", "h2")], True),
        ([report("up", "h2", workload="openstack/other")], False),
        ([report("up", "h3")], False),
    ],
)
def test_the_target_of_a_migration_is_ready_when_it_says_so(
    reports: list[Update], ready: bool
) -> None:
    migrating = dataclasses.replace(PORT, targets=("h2",))
    assert is_target_up(migrating, book_of(*reports)) is ready
    assert not is_target_up(PORT, book_of(*reports))


def test_the_target_of_a_migration_decides_nothing_about_the_status() -> None:
    migrating = dataclasses.replace(PORT, status="ACTIVE", targets=("h2",))
    assert port_status(migrating, book_of(report("up"), report("down", "h2"))) is None


@pytest.mark.parametrize(
    ("updates", "now", "wanted"),
    [
        ([alive("h1"), report("up")], "DOWN", "ACTIVE"),
        ([alive("h1"), report("up")], "ACTIVE", None),
        ([alive("h1"), report("error")], "ACTIVE", "DOWN"),
        ([alive("h1")], "ACTIVE", "DOWN"),
        ([alive("h1"), report("up", "h2")], "ACTIVE", "DOWN"),
        ([], "ACTIVE", None),
        ([report("up")], "DOWN", "ACTIVE"),
        ([report("up", floating=())], "ACTIVE", "DOWN"),
        ([report("up", floating=("203.0.113.8",))], "ACTIVE", "DOWN"),
        ([report("up", floating=("203.0.113.7", "203.0.113.8"))], "DOWN", "ACTIVE"),
        ([report("down", floating=("203.0.113.7",))], "ACTIVE", "DOWN"),
    ],
)
def test_a_floating_ip_follows_its_port(
    updates: list[Update], now: str, wanted: str | None
) -> None:
    assert floating_ip_status(now, "203.0.113.7", PORT, book_of(*updates)) == wanted


def test_a_floating_ip_of_a_port_that_is_nowhere_is_down() -> None:
    book = book_of(report("up"))
    assert floating_ip_status("ACTIVE", "203.0.113.7", None, book) == "DOWN"
    assert floating_ip_status("DOWN", "203.0.113.7", None, book) is None


def test_a_dhcp_agent_is_an_agent_and_no_felix() -> None:
    key = DhcpStatusKey("no-region", "h1").path
    value = AgentStatus(time="2026-01-01T00:00:00Z", uptime=1.0, first_update=True).encode()
    book = ReportBook("openstack")
    dhcp = Agent(AgentKind.DHCP, "h1")

    assert book.apply([Update(key, value, 1)]).started == {dhcp}
    assert book.agents == {dhcp}
    assert not book.is_alive("h1")
    assert book.apply([Update(key, b"{}", 2)]).refused
    assert book.apply([Update(key, None, 3)]).gone == {dhcp}
