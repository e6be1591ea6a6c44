"""The control socket: its replies, and the client against a server of our own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.bgp.birdc import (
    BirdCommandError,
    BirdControl,
    BirdSilentError,
    BirdUnavailableError,
)
from calico_openstack.bgp.birdstatus import parse_protocols, parse_route_counts, parse_status
from calico_openstack.bgp.replies import (
    ConfigureOutcome,
    Line,
    configure_result,
    is_complete,
    parse_lines,
)
from calico_openstack.bgp.version import BirdVersion, parse_version

STATUS = """1000-BIRD 2.0.12
1011-Router ID is 192.168.100.1
 Hostname is vm
 Current server time is 2026-11-24 05:07:15.767
 Last reboot on 2026-11-24 05:06:30.881
 Last reconfiguration on 2026-11-24 05:06:30.882
0024-Graceful restart recovery in progress
   Waiting for 1 channels to recover
0013 Daemon is up and running
"""
PROTOCOLS = """2002-Name       Proto      Table      State  Since         Info
1002-Mesh_10_0_0_3 BGP     ---        up     2026-11-24T05:07:14  Established
1006-  Description:    node-to-node mesh: n3
   BGP state:          Established
     Neighbor address: 10.0.0.3
     Neighbor AS:      64512
     Local AS:         64512
   Channel ipv4
     State:          UP
     Table:          master4
     Routes:         2 imported, 1 filtered, 3 exported, 4 preferred

1002-calico_device Device  ---        up     2026-11-24T05:07:14
1006-
1002-Global_fd00__9 BGP     ---        start  2026-11-24T05:07:14  Connect       Socket: No route
1006-  BGP state:          Connect
     Neighbor address: fd00::9
     Neighbor AS:      64513
   Last error:       Socket: No route
   Channel ipv6
     State:          DOWN

0000
""".replace("\n0000\n", "\n0000 \n")


def test_status() -> None:
    status = parse_status(parse_lines(STATUS))
    assert status.version == BirdVersion(2, 0, 12)
    assert status.router_id == "192.168.100.1"
    assert status.last_reboot == "2026-11-24 05:06:30.881"
    assert status.last_reconfiguration == "2026-11-24 05:06:30.882"
    assert status.recovering


def test_protocols() -> None:
    by_name = {protocol.name: protocol for protocol in parse_protocols(parse_lines(PROTOCOLS))}
    up, down = by_name["Mesh_10_0_0_3"], by_name["Global_fd00__9"]
    device = by_name["calico_device"]
    assert up.established
    assert (up.neighbor, up.neighbor_as, up.since) == ("10.0.0.3", 64512, "2026-11-24T05:07:14")
    (channel,) = up.channels
    counters = (channel.imported, channel.filtered, channel.exported, channel.preferred)
    assert counters == (2, 1, 3, 4)
    assert not down.established
    assert down.info.startswith("Connect")
    assert down.last_error == "Socket: No route"
    assert device.type == "Device"
    assert device.info == ""


def test_route_counts() -> None:
    text = (
        "1007-4 of 5 routes for 4 networks in table master4\n"
        " 0 of 0 routes for 0 networks in table master6\n"
        "0014 Total: 4 of 5 routes for 4 networks in 2 tables\n"
    )
    assert parse_route_counts(parse_lines(text)) == {"master4": 5, "master6": 0}


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ("0002-Reading configuration from x\n0003 Reconfigured\n", ConfigureOutcome.DONE),
        ("0002-Reading\n0004 Reconfiguration in progress\n", ConfigureOutcome.IN_PROGRESS),
        ("0002-Reading\n0005 Reconfiguration already in progress\n", ConfigureOutcome.QUEUED),
        ("0002-Reading\n8002 x:1:1 syntax error\n", ConfigureOutcome.REFUSED),
        ("0002 Reading\n", ConfigureOutcome.REFUSED),
        ("9001 syntax error\n", ConfigureOutcome.REFUSED),
    ],
)
def test_configure(reply: str, outcome: ConfigureOutcome) -> None:
    result = configure_result(parse_lines(reply))
    assert result.outcome is outcome
    assert result.accepted == (outcome is not ConfigureOutcome.REFUSED)


def test_completeness() -> None:
    assert not is_complete(STATUS[:-1])
    assert not is_complete("1000-BIRD\n")
    assert not is_complete(" 0000 \n")
    assert is_complete(STATUS)


@given(st.text())
def test_any_text_is_taken(text: str) -> None:
    lines = parse_lines(text)
    parse_status(lines)
    parse_protocols(lines)
    parse_route_counts(lines)
    is_complete(text)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("BIRD version 2.0.12\n", BirdVersion(2, 0, 12)),
        ("0001 BIRD 3.2.3 ready.\n", BirdVersion(3, 2, 3)),
        ("BIRD v2.16.1-3-gabc", BirdVersion(2, 16, 1)),
        ("BIRD 2.14", BirdVersion(2, 14, 0)),
        ("nothing", None),
    ],
)
def test_versions(text: str, version: BirdVersion | None) -> None:
    assert parse_version(text) == version


def test_what_versions_can() -> None:
    assert BirdVersion(2, 0, 12).supported
    assert not BirdVersion(2, 0, 11).supported
    assert not BirdVersion(2, 16, 9).wants_authentication
    assert BirdVersion(3, 0, 0).wants_authentication
    assert not BirdVersion(2, 15, 1).safe_route_metric


@contextmanager
def server(path: Path, *answers: str) -> Iterator[None]:
    """Greet, then answer each command in turn; an empty answer closes the connection."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"0001 BIRD 2.0.12 ready.\n")
            for answer in answers:
                connection.recv(4096)
                for byte in answer.encode():
                    connection.sendall(bytes([byte]))
                if not answer:
                    return
            connection.recv(4096)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.close()


def test_client(tmp_path: Path) -> None:
    path = tmp_path / "ctl"
    answers = (STATUS, "9001 syntax error\n", "0002-x\n0003 Reconfigured\n")
    with server(path, *answers), BirdControl(path) as control:
        assert Line(1000, "BIRD 2.0.12") in control.command("show status")
        assert control.version == BirdVersion(2, 0, 12)
        with pytest.raises(BirdCommandError, match="9001"):
            control.command("nonsense")
        assert control.configure().outcome is ConfigureOutcome.DONE
        with pytest.raises(ValueError, match="one line"):
            control.command("a\nb")


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(BirdUnavailableError) as caught:
        BirdControl(tmp_path / "ctl").command("show status")
    assert not isinstance(caught.value, BirdSilentError)


def test_a_server_that_goes_away(tmp_path: Path) -> None:
    path = tmp_path / "ctl"
    with server(path, ""), pytest.raises(BirdUnavailableError, match="closed"):
        BirdControl(path).command("show status")


def test_a_server_that_hangs(tmp_path: Path) -> None:
    path = tmp_path / "ctl"
    with server(path, "1000-BIRD\n"), pytest.raises(BirdSilentError):
        BirdControl(path, timeout=0.2).command("show status")
