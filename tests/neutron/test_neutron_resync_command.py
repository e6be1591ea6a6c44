"""``calico-resync`` audits and repairs, all or a part, beside a running Neutron."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from calico_openstack.datamodel.comparison import decode_last_comparison, last_comparison_path
from calico_openstack.lab.neutron_config import ML2_CONF, NEUTRON_CONF
from calico_openstack.neutron.markers import comparison_path
from tests.neutron.conftest import REGION, Cloud
from tests.support.processes import eventually


def resync(cloud: Cloud, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Run the command; return its exit status and its result."""
    folder = cloud.neutron.settings.config_dir
    files = [f"--config-file={folder / name}" for name in (NEUTRON_CONF, ML2_CONF)]
    command = [str(Path(sys.prefix, "bin", "calico-resync")), *files, *arguments]
    run = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
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


def doctor(cloud: Cloud, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """Return the exit status of calicoctl doctor, and what it says of Neutron."""
    command = [str(Path(sys.prefix, "bin", "calicoctl")), "doctor", "-o", "json", *arguments]
    environment = {**os.environ, "ETCD_ENDPOINTS": ",".join(cloud.etcd.config.endpoints)}
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, env=environment
    )
    assert run.stdout, run.stderr
    found = json.loads(run.stdout)
    return run.returncode, [each for each in found if each["subject"].startswith("neutron")]


def test_doctor_compares_where_neutron_s_configuration_is(cloud: Cloud) -> None:
    cloud.felix()
    network = cloud.network()
    cloud.subnet(network)
    port = cloud.port(network, name="lost-one")
    folder = cloud.neutron.settings.config_dir
    files = [f"--neutron-config={folder / name}" for name in (NEUTRON_CONF, ML2_CONF)]
    resync(cloud)
    # Other tests have left rules that cannot be honoured in the Neutron that they share.
    before = doctor(cloud, *files)[1]
    assert [each for each in before if "cannot be honoured" not in each["text"]] == []
    cloud.etcd.delete(cloud.endpoint_path(port))
    status, told = doctor(cloud, *files)
    (found,) = [each for each in told if each not in before]
    assert (status, found["severity"]) == (2, "CRITICAL")
    assert "1 key(s) in etcd are not as in its database: workloadendpoints/" in found["text"]
    assert doctor(cloud, "--no-neutron")[1] == []
    resync(cloud)


def test_doctor_tells_elsewhere_what_the_driver_has_found(cloud: Cloud) -> None:
    cloud.felix()
    network = cloud.network()
    cloud.subnet(network)
    port = cloud.port(network)
    cloud.etcd.delete(cloud.endpoint_path(port))
    path = last_comparison_path(REGION)
    cloud.etcd.delete(path)
    cloud.etcd.delete(comparison_path(REGION))
    cloud.neutron.restart_workers()
    eventually(lambda: cloud.etcd.get(path) is not None, 120, "resynchronisation")
    assert cloud.endpoint(port) is not None
    stored = cloud.etcd.get(path)
    told = decode_last_comparison(stored.value) if stored else None
    assert told is not None
    assert (told.differing, told.keys) == (1, (cloud.endpoint_path(port),))
    # Nobody knows what was lost when etcd was never compared before: that is no fault.
    assert "never" in told.reason
    assert doctor(cloud, "--no-neutron")[1] == []
    cloud.etcd.put(path, msgspec.structs.replace(told, reason="").encode())
    _, (found,) = doctor(cloud, "--no-neutron")
    assert found["severity"] == "WARNING"
    assert "1 key(s) in etcd were not as in its database and were repaired" in found["text"]
    cloud.etcd.delete(path)


def test_wrong_usage() -> None:
    command = [str(Path(sys.prefix, "bin", "calico-resync")), "--no-such-option"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 2
