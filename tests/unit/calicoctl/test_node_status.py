"""What ``node status`` says, in upstream's layout."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from calico_openstack.calicoctl import node_status
from calico_openstack.calicoctl.main import cli
from calico_openstack.calicoctl.store import StoreError

NOW = datetime(2026, 1, 2, 3, 4, 30, tzinfo=UTC)


def _document(**changes: Any) -> dict[str, Any]:
    session = {
        "name": "Mesh_192_0_2_2",
        "scope": "mesh",
        "family": 4,
        "peer": "192.0.2.2",
        "state": "Established",
        "since": "03:00:01",
        "peerAs": 64512,
        "imported": 3,
    }
    other = {**session, "peer": "192.0.2.9", "scope": "node", "state": "Active",
             "lastError": "Socket: Connection refused"}  # fmt: skip
    base = {"time": "2026-01-02T03:04:05Z", "bird": {}, "sessions": [session, other]}
    return {**base, **changes}


def test_sessions_are_shown_as_upstream_shows_them() -> None:
    assert "\n".join(node_status.report(_document(), NOW)) == """
IPv4 BGP status
+--------------+-------------------+-------+----------+-----------------------------------+
| PEER ADDRESS | PEER TYPE         | STATE | SINCE    | INFO                              |
+--------------+-------------------+-------+----------+-----------------------------------+
| 192.0.2.2    | node-to-node mesh | up    | 03:00:01 | Established                       |
| 192.0.2.9    | node specific     | start | 03:00:01 | Active Socket: Connection refused |
+--------------+-------------------+-------+----------+-----------------------------------+

IPv6 BGP status
No IPv6 peers found.
"""  # fmt: skip


def test_wide_has_the_counts_too() -> None:
    lines = list(node_status.report(_document(), NOW, wide=True))
    assert "PEER AS" in lines[3]
    assert "| 64512   | 3 " in lines[5]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bird": None}, "(BIRD) is not running"),
        ({"time": "2026-01-02T02:00:00Z"}, "hangs or is not running"),
        ({"time": "?"}, "hangs or is not running"),
        ({"alarm": "bird -p failed"}, "bird -p failed"),
        ({"etcdConnected": False}, "cannot reach etcd"),
        ({"problems": [{"resource": "BGPPeer(x)", "field": "f", "reason": "r"}]},
         "BGPPeer(x): f: r"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_first(changes: dict[str, Any], said: str) -> None:
    assert said in next(node_status.report(_document(**changes), NOW))


def test_a_script_can_ask_whether_all_is_up(tmp_path: Path) -> None:
    file = tmp_path / "status.json"
    file.write_text(json.dumps(_document()))
    command = ["node", "status", "-o", "json", "--fail-if-down", "--status-file", str(file)]
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 2
    assert "192.0.2.9" in result.stderr
    file.write_text(json.dumps(_document(sessions=[])))
    assert CliRunner().invoke(cli, command).exit_code == 0


@pytest.mark.parametrize("text", [None, "{", "[]", "{}"])
def test_a_file_that_cannot_be_used_says_so(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "status.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(StoreError, match=r"status\.json"):
        node_status.read_document(file)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["/usr/bin/python3", "/usr/bin/calico-felix", "-c", "x"], True),
        (["calico-felix"], True),
        (["calico-node", "-felix"], True),
        (["vi", "x", "calico-felix"], False),
        ([""], False),
    ],
)
def test_felix_is_known_by_its_command_line(words: list[str], found: bool) -> None:
    assert node_status.runs_felix([words]) is found


def test_the_agents_files_may_be_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "bgp-status.json").write_text(json.dumps(_document()))
    command = ["node", "status", "-o", "json"]
    found = CliRunner().invoke(cli, command, env={"CALICO_RUN_DIRECTORY": str(tmp_path)})
    assert json.loads(found.output) == _document()
    missing = CliRunner().invoke(cli, command, env={"CALICO_RUN_DIRECTORY": str(tmp_path / "no")})
    assert "CALICO_RUN_DIRECTORY" in missing.output
