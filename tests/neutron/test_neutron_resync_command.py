"""``calico-resync`` audits and repairs, all or a part, beside a running Neutron."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from calico_openstack.lab.neutron_config import ML2_CONF, NEUTRON_CONF
from tests.neutron.conftest import Cloud


def resync(cloud: Cloud, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run the command; return its exit status and its result."""
    folder = cloud.neutron.settings.config_dir
    files = [f"--config-file={folder / name}" for name in (NEUTRON_CONF, ML2_CONF)]
    command = [str(Path(sys.prefix, "bin", "calico-resync")), *files, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert run.stdout, run.stderr
    return run.returncode, json.loads(run.stdout)


def test_audit_repair_and_scopes(cloud: Cloud) -> None:
    cloud.felix()
    network, other = cloud.network(), cloud.network()
    cloud.subnet(network)
    cloud.subnet(other)
    port, bystander = cloud.port(network), cloud.port(other)
    resync(cloud)
    for lost in (port, bystander):
        cloud.etcd.delete(cloud.endpoint_path(lost))
    stale = cloud.endpoint_path(port, "elsewhere")
    cloud.etcd.put(stale, b"{}")

    status, audit = resync(cloud, "--audit")
    assert status == 3
    assert audit["ok"] is True
    assert audit["writes"] == 3
    keys = audit["phases"]["endpoints"]["keys"]
    assert keys[cloud.endpoint_path(port)] == "created"
    assert keys[stale] == "deleted"
    assert cloud.endpoint(port) is None
    assert cloud.etcd.get(stale) is not None

    status, part = resync(cloud, "--network", network["id"])
    assert (status, part["writes"]) == (0, 2)
    assert cloud.endpoint(port) is not None
    assert cloud.etcd.get(stale) is None
    assert cloud.endpoint(bystander) is None

    (group_id,) = bystander["security_groups"]
    cloud.etcd.delete(
        f"/calico/resources/v3/projectcalico.org/networkpolicies/openstack/ossg.default.{group_id}"
    )
    status, part = resync(cloud, "--port", bystander["id"], "--include-sgs-for-ports")
    assert (status, part["writes"]) == (0, 2)
    assert cloud.endpoint(bystander) is not None
    assert cloud.policy(group_id) is not None

    status, clean = resync(cloud, "--audit")
    assert (status, clean["writes"]) == (0, 0)


def test_wrong_usage() -> None:
    command = [str(Path(sys.prefix, "bin", "calico-resync")), "--no-such-option"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2
