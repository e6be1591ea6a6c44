"""The agent's settings, the file of a configuration, passwords, and when to act."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from calico_openstack.agent.configuration import ConfigurationError, LocalSettings
from calico_openstack.bgp.birdstatus import ChannelStatus, DaemonStatus, ProtocolStatus
from calico_openstack.bgp.debounce import Debounce
from calico_openstack.bgp.detection import ByInterface, FirstFound
from calico_openstack.bgp.install import ConfigurationFile, ConfigurationRejectedError
from calico_openstack.bgp.options import ENVIRONMENT_PREFIX, AgentOptions, read_options
from calico_openstack.bgp.passwords import read_passwords
from calico_openstack.bgp.render import render
from calico_openstack.bgp.settings import SecretRef
from calico_openstack.bgp.stanza import HostOptions
from calico_openstack.bgp.status import (
    AgentReport,
    BirdReport,
    SessionLog,
    as_document,
    write_document,
)
from tests.unit.bgp.birdcheck import needs_bird
from tests.unit.bgp.builders import nodes, state_of


def options(file: str = "", **environment: str) -> AgentOptions:
    path = Path("/nowhere")
    settings = LocalSettings.load(path, ENVIRONMENT_PREFIX, environment)
    if file:
        values = dict(line.split("=", 1) for line in file.splitlines())
        settings = LocalSettings({k.lower(): v for k, v in values.items()}, settings.environment)
    return read_options(settings)


class TestOptions:
    def test_defaults(self) -> None:
        chosen = options()
        assert chosen.host
        assert chosen.registration.sources[4].setting == "autodetect"
        assert chosen.registration.sources[6].method == FirstFound()
        assert chosen.control_socket == Path("/run/calico/bird.ctl")
        assert chosen.registration_interval == 60

    def test_a_region_is_a_label(self) -> None:
        chosen = options(CALICO_OpenstackRegion="north", CALICO_NodeLabels="rack=r1")
        assert chosen.region == "north"
        assert chosen.registration.labels == {"openstack-region": "north", "rack": "r1"}
        assert not chosen.like_kubernetes
        assert options(CALICO_Compatibility="Kubernetes").like_kubernetes

    def test_both_ways_to_write_a_name(self) -> None:
        for text in (
            "IpAutodetectionMethod=interface=eth1",
            "ip_autodetection_method=interface=eth1",
        ):
            assert isinstance(options(text).registration.sources[4].method, ByInterface)
        chosen = options(
            CALICO_IP="10.0.0.1/24",
            CALICO_IP6="none",
            CALICO_AS="1.10",
            CALICO_IP6_AUTODETECTION_METHOD="interface=eth1",
            CALICO_DISABLE_NODE_IP_CHECK="true",
            CALICO_ROUTER_ID="hash",
            CALICO_HOSTNAME="h1",
            CALICO_NODELABELS="rack=r1, zone=z",
            CALICO_AUTODETECT_POLL_INTERVAL="5",
        )
        assert chosen.registration.sources[4].setting == "10.0.0.1/24"
        assert chosen.registration.sources[6].setting == "none"
        assert isinstance(chosen.registration.sources[6].method, ByInterface)
        assert chosen.registration.as_number == 65546
        assert not chosen.registration.check_conflicts
        assert chosen.registration.labels == {"rack": "r1", "zone": "z"}
        assert (chosen.host, chosen.router_id) == ("h1", "hash")
        assert chosen.registration_interval == 5

    @pytest.mark.parametrize(
        "text",
        [
            "IP=nonsense",
            "IP=fd00::1",
            "AS=x",
            "RouterId=x",
            "NodeLabels=x",
            "IpAutodetectionMethod=x",
        ],
    )
    def test_what_cannot_be_used(self, text: str) -> None:
        with pytest.raises(ConfigurationError, match=text.partition("=")[0]):
            options(text)


@needs_bird
class TestConfigurationFile:
    GOOD = render(state_of(), "h", {}, HostOptions(log_file="/dev/null")).text

    def test_install(self, tmp_path: Path) -> None:
        file = ConfigurationFile(tmp_path / "new" / "bird.conf")
        assert file.read() is None
        file.install(self.GOOD)
        assert file.read() == self.GOOD
        assert stat.S_IMODE(file.path.stat().st_mode) == 0o640
        assert [entry.name for entry in file.path.parent.iterdir()] == ["bird.conf"]

    def test_a_refused_text_leaves_the_file(self, tmp_path: Path) -> None:
        file = ConfigurationFile(tmp_path / "bird.conf")
        file.install(self.GOOD)
        with pytest.raises(ConfigurationRejectedError, match="syntax error"):
            file.install(self.GOOD + "nonsense")
        assert file.read() == self.GOOD
        assert (tmp_path / "bird.conf.rejected").exists()

    def test_check(self, tmp_path: Path) -> None:
        file = ConfigurationFile(tmp_path / "bird.conf")
        assert file.fault_of(self.GOOD) == ""
        assert "syntax error" in file.fault_of("nonsense")
        assert list(tmp_path.iterdir()) == []


def test_passwords(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "k").write_text("secret\n")
    (tmp_path / "s" / "bytes").write_bytes(b"\xff")
    wanted = [SecretRef(*pair) for pair in (("s", "k"), ("s", "bytes"), ("s", "no"), ("..", "s"))]
    passwords = read_passwords(tmp_path, wanted)
    assert passwords.found == {SecretRef("s", "k"): "secret"}
    assert set(passwords.faults) == set(wanted[1:])


class TestDebounce:
    def test_waits_for_quiet(self) -> None:
        debounce = Debounce(0.2, 2.0)
        assert debounce.due_at is None
        debounce.touch(10.0)
        assert not debounce.take(10.1)
        debounce.touch(10.1)
        assert not debounce.take(10.25)
        assert debounce.take(10.4)
        assert debounce.due_at is None

    def test_never_waits_too_long(self) -> None:
        debounce = Debounce(0.2, 2.0)
        for step in range(20):
            debounce.touch(10 + step / 10)
        assert debounce.take(12.0)


class TestStatus:
    RENDERED = render(state_of(*nodes(2)), "n2", {}, HostOptions())
    UP = ProtocolStatus(
        name="Mesh_10_0_0_3",
        type="BGP",
        state="up",
        since="then",
        bgp_state="Established",
        channels=(ChannelStatus("ipv4", imported=3, exported=2, preferred=1),),
    )
    DOWN = ProtocolStatus("Mesh_10_0_0_3", "BGP", "start", "now", bgp_state="Active")

    def test_document(self, tmp_path: Path) -> None:
        bird = BirdReport(
            DaemonStatus(router_id="10.0.0.2"), {self.UP.name: self.UP}, {"master4": 1}
        )
        agent = AgentReport("n2", self.RENDERED, in_sync=True, alarm="a", faults=("f",))
        path = tmp_path / "new" / "status.json"
        write_document(path, as_document(agent, bird, datetime(2026, 1, 2, tzinfo=UTC)))
        document = json.loads(path.read_text())
        assert document["time"] == "2026-01-02T00:00:00Z"
        assert document["bird"]["routes"] == {"master4": 1}
        first, second = document["sessions"]
        assert (first["state"], first["imported"], first["exported"]) == ("Established", 3, 2)
        assert (first["peer"], first["peerAs"], first["scope"]) == ("10.0.0.3", 64512, "mesh")
        assert second["state"] == ""

    def test_without_bird(self) -> None:
        assert as_document(AgentReport("n2"), None, datetime.now(UTC))["bird"] is None

    def test_sessions_are_logged_once(self, caplog: pytest.LogCaptureFixture) -> None:
        down: list[str] = []
        log = SessionLog(down.append)
        with caplog.at_level("INFO"):
            for protocol in (self.DOWN, self.UP, self.UP, self.DOWN, self.DOWN):
                log.take({protocol.name: protocol})
            log.take({})
        words = [record.message.removeprefix("BGP session is ") for record in caplog.records]
        assert words == ["new", "up", "down", "gone"]
