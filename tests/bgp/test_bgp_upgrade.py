"""A BIRD that is replaced by a newer version. Needs root, and another version than the usual one:
``scripts/test-bird-versions.sh`` provides it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.bgp.fabric import Fabric
from tests.bgp.test_bgp_mesh import mesh
from tests.support.netns import needs_root
from tests.support.processes import eventually

OLDER = os.environ.get("CALICO_OLDER_BIRD", "")

pytestmark = [needs_root, pytest.mark.skipif(not OLDER, reason="needs two versions of BIRD")]


def test_an_upgrade_loses_no_packet(fabric: Fabric, tmp_path: Path) -> None:
    one, other = fabric.add_hosts(2)
    program = one.directory / "bin" / "bird"
    program.parent.mkdir()
    shutil.copy2(OLDER, program)
    one.settings["BirdBinary"] = str(program)
    for host in (one, other):
        host.start_agent()
    one.wait_for_sessions(*mesh(other))
    here, there = fabric.workload(one, 1), fabric.workload(other, 2)
    for address in (there.ipv4, there.ipv6):
        eventually(lambda a=address: here.ping(a, 1).returncode == 0, 30)
    eventually(lambda: bool(one.status()["bird"]), 10)
    before = one.status()["bird"]["version"]
    streams = [here.ping_stream(address, 400, tmp_path) for address in (there.ipv4, there.ipv6)]
    newer = program.with_name("bird.new")
    newer.write_bytes(Path(str(shutil.which("bird"))).read_bytes())
    newer.chmod(0o755)
    newer.replace(program)
    one.kill_bird()
    eventually(lambda: (one.status()["bird"] or {}).get("version", before) != before, 20)
    one.wait_for_sessions(*mesh(other))
    for stream in streams:
        stream.wait(60)
        assert " 0% packet loss" in stream.output()
    assert one.status()["alarm"] == ""
