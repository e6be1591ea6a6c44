"""Room for neighbours."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from calico_openstack.lab.neighbours import make_room, raised
from calico_openstack.lab.progress import Progress

USUAL = {"gc_thresh1": 128, "gc_thresh2": 512, "gc_thresh3": 1024}


def test_small_labs_change_nothing() -> None:
    assert raised(USUAL, 3) == {}
    assert raised(USUAL, 10) == {}


def test_large_labs_get_room() -> None:
    changes = raised(USUAL, 100)
    assert set(changes) == set(USUAL)
    assert set(changes.values()) == {44000}


def test_nothing_is_lowered() -> None:
    assert raised({**USUAL, "gc_thresh3": 10**6}, 100) == {}
    assert raised({**USUAL, "gc_thresh1": 50000}, 100)["gc_thresh1"] == 50000


@pytest.mark.parametrize("hosts", [3, 100])
def test_it_is_said(tmp_path: Path, hosts: int) -> None:
    for family in ("ipv4", "ipv6"):
        folder = tmp_path / family / "neigh" / "default"
        folder.mkdir(parents=True)
        for name, value in USUAL.items():
            (folder / name).write_text(f"{value}\n")
    output = io.StringIO()
    progress = Progress(Console(file=output, width=200))
    make_room(hosts, progress, tmp_path)
    assert ("raised" in output.getvalue()) is (hosts == 100)
    limit = int((tmp_path / "ipv6/neigh/default/gc_thresh3").read_text())
    assert limit == (44000 if hosts == 100 else 1024)
    make_room(hosts, progress, tmp_path)
    assert output.getvalue().count("raised") in (0, 2)


def test_a_machine_that_does_not_let_it(tmp_path: Path) -> None:
    output = io.StringIO()
    make_room(100, Progress(Console(file=output, width=200)), tmp_path)
    assert "cannot be seen to" in output.getvalue()
