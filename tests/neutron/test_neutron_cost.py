"""What the driver costs, in figures that do not depend on the machine: statements and writes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.etcd import EtcdServer

_PORTS = 300


@pytest.fixture
def etcd_server(tmp_path: Path) -> Any:
    server = EtcdServer(tmp_path / "etcd").start()
    yield server
    server.stop()


def measured(driver: str, folder: Path, etcd: EtcdServer, many: int = 0) -> dict[str, Any]:
    """Return what a process of Neutron with this mechanism driver needs, on SQLite."""
    arguments = (driver, f"sqlite:///{folder}/{driver}.db", etcd.endpoint)
    return program("benchmarks.neutron_ports", *arguments, "--ports", "6", "--many", str(many))


def program(module: str, *arguments: str) -> dict[str, Any]:
    """Run a benchmark; return what it prints."""
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", module, *arguments],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.mark.timeout(900)
def test_the_driver_adds_few_statements_and_comparisons_few_for_all(
    tmp_path: Path, etcd_server: EtcdServer
) -> None:
    nothing = measured("test", tmp_path, etcd_server)
    ours = measured("calico", tmp_path, etcd_server, _PORTS)

    def added(action: str) -> float:
        more: float = ours[action]["statements"] - nothing[action]["statements"]
        return more

    # SQLite counts the beginnings of transactions too.
    assert added("create") <= 9
    assert added("update") <= 7
    assert added("delete") <= 7
    # What is there is read, then written: nothing else is asked of etcd.
    assert [ours[action]["requests"] for action in ("create", "update", "delete")] == [2, 2, 2]
    assert nothing["create"]["requests"] == 0
    many = ours["many"]
    assert many["repaired"] == 2 * _PORTS // 3
    assert many["writes"] == 0
    # As many for any number of ports.
    assert many["clean"]["statements"] <= 20
    assert many["rule"]["statements"] <= 40


@pytest.mark.timeout(900)
def test_thousands_of_reports_at_once_are_read_together(
    tmp_path: Path, etcd_server: EtcdServer
) -> None:
    """What is right already costs a share of a few statements, and what is not is written."""
    connection = f"sqlite:///{tmp_path}/neutron.db"
    numbers = ("--ports", "2000", "--changed", "2")
    found = program("benchmarks.neutron_status", connection, etcd_server.endpoint, *numbers)
    assert found["right"] is True
    assert found["failed"] == 0
    assert found["statements"] < 1000
