"""Ports are bound where a Felix lives, and refused with a reason elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from calico_openstack.neutron.binding import refusal, tap_mac

AGENT = {"host": "compute-1", "alive": True, "heartbeat_timestamp": "2026-01-01 00:00:00"}


@pytest.mark.parametrize(
    ("mac", "tap"),
    [
        ("fa:16:3e:aa:bb:cc", "fe:16:3e:aa:bb:cc"),
        ("FA:16:3E:AA:BB:CC", "fe:16:3e:aa:bb:cc"),
        ("fa:16:3e:aa:bb", "00:61:fe:ed:ca:fe"),
        ("fa:16:3e:aa:bb:cc:dd", "00:61:fe:ed:ca:fe"),
        (None, "00:61:fe:ed:ca:fe"),
    ],
)
def test_the_host_s_end_of_the_device(mac: object, tap: str) -> None:
    assert tap_mac(mac) == tap


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"network_types": ["vlan", "flat"]}, None),
        ({"is_trunk": True}, "carries no VLANs"),
        ({"vnic_type": "direct"}, "vnic type 'direct'"),
        ({"network_types": ["vxlan"]}, "local or flat, it is: vxlan"),
        ({"network_types": []}, "it is: none"),
        ({"agents": []}, "no Felix has reported"),
        ({"host": "Compute-1"}, "letter case"),
        ({"agents": [AGENT | {"alive": False}]}, "last reported at 2026-01-01"),
        ({"agents": [AGENT | {"host": "COMPUTE-1"}, AGENT]}, None),
    ],
)
def test_why_a_port_is_refused(change: dict[str, Any], reason: str | None) -> None:
    found = refusal(
        **{
            "host": "compute-1",
            "vnic_type": "normal",
            "network_types": ["local"],
            "agents": [AGENT],
        }
        | change
    )
    if reason is None:
        assert found is None
    else:
        assert found is not None
        assert reason in found
