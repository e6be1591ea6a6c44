"""Processes that live but do not work."""

from __future__ import annotations

import pytest

from calico_openstack.dhcp.stalls import Activity, hangs, parse_ticks, parse_waiting


@pytest.mark.parametrize(
    ("before", "now", "verdict"),
    [
        (None, Activity(5, waiting=True), False),
        (Activity(5, waiting=True), Activity(5, waiting=True), True),
        (Activity(5, waiting=True), Activity(6, waiting=True), False),
        (Activity(5, waiting=False), Activity(5, waiting=True), False),
        (Activity(5, waiting=True), Activity(5, waiting=False), False),
    ],
)
def test_a_process_hangs_when_it_leaves_requests_unread_and_does_nothing(
    before: Activity | None, now: Activity, verdict: bool
) -> None:
    assert hangs(before, now) is verdict


def test_processor_time_is_that_of_user_and_system() -> None:
    line = "42 (a) b) S 1 42 42 0 -1 4194560 100 0 0 0 17 4 0 0 20 0 1 0 12345 1000 10"

    assert parse_ticks(line) == 21
    with pytest.raises(ValueError, match="not a line"):
        parse_ticks("42 (a")


def test_sockets_with_unread_data_are_found() -> None:
    table = (
        "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid"
        "  timeout inode ref pointer drops\n"
        "  100: 00000000:0043 00000000:0000 07 00000000:00000300 00:00000000 00000000     0"
        "        0 4711 2 0000000000000000 0\n"
        "  101: 00000000:0043 00000000:0000 07 00000000:00000000 00:00000000 00000000     0"
        "        0 4712 2 0000000000000000 0\n"
    )

    assert parse_waiting(table) == {"4711"}
