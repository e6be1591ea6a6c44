"""Which frames announce a workload."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.felix.kernel.announcements import Announcement, announcement
from tests.support.announcements import advertisement, arp, mac_address, rarp

MAC = mac_address("fa:16:3e:00:00:01")
FOREIGN = mac_address("fa:16:3e:00:00:02")
GARP, RARP = Announcement.GRATUITOUS_ARP, Announcement.RARP
NA = Announcement.NEIGHBOUR_ADVERTISEMENT


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        (rarp(MAC), RARP),
        (arp(MAC, "10.65.0.1", "10.65.0.1"), GARP),
        (arp(MAC, "10.65.0.1", "10.65.0.1", reply=True), GARP),
        # A question, a probe for duplicates (RFC 5227), and nothing.
        (arp(MAC, "10.65.0.1", "169.254.1.1"), None),
        (arp(MAC, "0.0.0.0", "10.65.0.1"), None),
        (arp(MAC, "0.0.0.0", "0.0.0.0"), None),
        (advertisement(MAC, "fd00::1"), NA),
        # An answer to somebody who asked, one that is not to replace what is known, one to one.
        (advertisement(MAC, "fd00::1", solicited=True), None),
        (advertisement(MAC, "fd00::1", override=False), None),
        (advertisement(MAC, "fd00::1", to="fe80::1"), None),
        # A solicitation.
        (advertisement(MAC, "fd00::1", kind=135), None),
        # From others.
        (rarp(FOREIGN), None),
        (arp(FOREIGN, "10.65.0.1", "10.65.0.1"), None),
        (advertisement(FOREIGN, "fd00::1"), None),
        # Something else altogether.
        (b"\xff" * 6 + MAC + b"\x88\xcc" + bytes(50), None),
    ],
)
def test_announcements(frame: bytes, expected: Announcement | None) -> None:
    assert announcement(frame, MAC) is expected


def test_without_a_mac_any_will_do() -> None:
    assert announcement(rarp(FOREIGN), b"") is RARP


@pytest.mark.parametrize(
    "frame", [arp(MAC, "10.65.0.1", "10.65.0.1"), advertisement(MAC, "fd00::1")]
)
def test_what_is_cut_off_is_nothing(frame: bytes) -> None:
    whole = 42 if frame[12:14] == b"\x08\x06" else 78
    for length in range(whole):
        assert announcement(frame[:length], MAC) is None


@given(st.binary(max_size=100))
def test_any_bytes_can_be_looked_at(frame: bytes) -> None:
    announcement(frame, MAC)
    announcement(frame, b"")
