"""One lab for all scenario tests, of its own name and folder, beside whatever lab is running."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from calico_openstack.lab import bring_up, demo, teardown
from calico_openstack.lab.bgp_layout import BgpLayout
from calico_openstack.lab.progress import Progress
from calico_openstack.lab.settings import DEFAULT_CACHE, Lab
from tests.scenario.cloud import Cloud
from tests.support.netns import needs_root

HOSTS = 2


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(needs_root)


@contextlib.contextmanager
def running(name: str, layout: BgpLayout = BgpLayout.MESH) -> Iterator[Lab]:
    """Run a lab for the ``with`` block. The supervisor removes it when this process is killed."""
    # Short, because Unix sockets have short names.
    root = Path(tempfile.mkdtemp(prefix="lab-"))
    root.chmod(0o755)
    made = Lab(name, root / "lab", DEFAULT_CACHE)
    progress = Progress(Console(), quiet=True)
    try:
        bring_up.up(made, HOSTS, progress, owner=os.getpid(), layout=layout)
        yield made
    finally:
        teardown.down(made)
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A lab that is up."""
    with running(f"lt{os.getpid()}") as made:
        yield made


@pytest.fixture
def cloud(lab: Lab) -> Cloud:
    """The lab with the demonstration's workloads, and nothing else of what earlier tests made."""
    cloud = Cloud(lab)
    cloud.remove_all_but(name for name, _, _ in demo.placement(cloud.hosts))
    demo.create(lab, cloud.progress)
    return cloud
