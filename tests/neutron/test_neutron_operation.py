"""What operators see: upgrade checks, metrics, sample configuration, migrations."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from pathlib import Path

from calico_openstack.lab.neutron_config import ML2_CONF, NEUTRON_CONF
from tests.neutron.conftest import METRICS_PORT, Cloud
from tests.support.processes import eventually


def run(cloud: Cloud, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    folder = cloud.neutron.settings.config_dir
    files = [f"--config-file={folder / name}" for name in (NEUTRON_CONF, ML2_CONF)]
    command = [str(Path(sys.prefix, "bin", program)), *files, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_the_upgrade_check_is_content_with_a_sound_installation(cloud: Cloud) -> None:
    result = run(cloud, "neutron-status", "upgrade", "check")
    rows = result.stdout.splitlines()
    found = {row: rows[n + 1] for n, row in enumerate(rows) if "Calico" in row}
    assert len(found) == 3, result.stdout + result.stderr
    assert all("Success" in verdict for verdict in found.values()), found


def test_migrations_are_at_their_heads(cloud: Cloud) -> None:
    result = run(cloud, "neutron-db-manage", "--subproject=calico-openstack", "current")
    assert result.stdout.count("(head)") == 2, result.stdout + result.stderr
    offline = run(
        cloud, "neutron-db-manage", "--subproject=calico-openstack", "has_offline_migrations"
    )
    assert offline.returncode == 0, offline.stdout


def test_metrics_tell_the_lag_of_status(cloud: Cloud) -> None:
    cloud.felix()
    network = cloud.network()
    cloud.subnet(network)
    port = cloud.port(network)
    cloud.report(port, "up")
    eventually(lambda: cloud.status(port) == "ACTIVE", 60, "port ACTIVE")
    url = f"http://127.0.0.1:{METRICS_PORT}/metrics"

    def count() -> float:
        text = urllib.request.urlopen(url, timeout=10).read().decode()
        assert "calico_neutron_changes_waiting" in text
        values = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
        return float(values["calico_neutron_port_status_lag_seconds_count"])

    eventually(lambda: count() >= 1, 30, "an observation")


def test_networks_are_not_adjacent(cloud: Cloud) -> None:
    network = cloud.network()
    assert cloud.admin.show("network", network["id"])["l2_adjacency"] is False


def test_every_option_is_in_the_sample_configuration() -> None:
    command = [
        str(Path(sys.prefix, "bin", "oslo-config-generator")),
        "--namespace=calico_openstack",
    ]
    sample = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for name in ("etcd_endpoints", "egress_burst_bits", "metrics_port", "startup_resync"):
        assert f"#{name} =" in sample
