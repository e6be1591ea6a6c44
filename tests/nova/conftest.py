"""One lab with a real Nova for all tests of this folder."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from calico_openstack.lab import bring_up, teardown
from calico_openstack.lab.cloud import CloudError
from calico_openstack.lab.nova import bring_up as nova_bring_up
from calico_openstack.lab.progress import Progress
from calico_openstack.lab.settings import DEFAULT_CACHE, Lab
from tests.nova.servers import Servers
from tests.support.netns import needs_root

HOSTS = 2
# Seconds. The first start migrates six databases.
TIMEOUT = 1800


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(needs_root)
            item.add_marker(pytest.mark.timeout(TIMEOUT))


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A lab with Nova that is up. The supervisor removes it when this process is killed."""
    try:
        nova_bring_up.require_installed()
    except CloudError as error:
        pytest.skip(str(error))
    # Short, because Unix sockets have short names.
    root = Path(tempfile.mkdtemp(prefix="lab-"))
    root.chmod(0o755)
    made = Lab(f"nt{os.getpid()}", root / "lab", DEFAULT_CACHE)
    progress = Progress(Console())
    try:
        bring_up.up(made, HOSTS, progress, owner=os.getpid(), nova=True)
        yield made
    finally:
        teardown.down(made)
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def shared(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Servers:
    """The network, the key and the rules that all servers have."""
    return Servers(lab, tmp_path_factory.mktemp("keys"))


@pytest.fixture
def servers(shared: Servers) -> Iterator[Servers]:
    """No server before the test, and none after it."""
    shared.delete_all()
    yield shared
    shared.delete_all()
