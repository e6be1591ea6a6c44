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
from calico_openstack.lab.settings import Lab
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
    """A lab with Nova that is up. The supervisor removes it when this process is killed.

    `CALICO_TEST_LAB` names one that is up already and stays, for whoever works on these tests.
    """
    if name := os.environ.get("CALICO_TEST_LAB"):
        yield Lab.named(name)
        return
    try:
        nova_bring_up.require_installed()
    except CloudError as error:
        pytest.skip(str(error))
    # Short, because Unix sockets have short names.
    root = Path(tempfile.mkdtemp(prefix="lab-"))
    root.chmod(0o755)
    made = Lab.named(f"nt{os.getpid()}", root)
    progress = Progress(Console())
    try:
        bring_up.up(made, HOSTS, progress, owner=os.getpid(), nova=True)
        yield made
    finally:
        teardown.down(made)
        shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def shared(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """The network, the key and the rules that all servers have."""
    servers = Servers(lab, tmp_path_factory.mktemp("keys"))
    yield servers
    servers.close()


@pytest.fixture
def servers(shared: Servers) -> Iterator[Servers]:
    """No server before the test, and none after it."""
    shared.delete_all()
    yield shared
    shared.delete_all()
