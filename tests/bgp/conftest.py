"""Fixtures of the BGP tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bgp.fabric import Fabric, end_leftovers
from tests.support.netns import sweep_stale


@pytest.fixture(scope="session", autouse=True)
def _swept() -> None:
    end_leftovers()
    sweep_stale()


@pytest.fixture
def fabric(tmp_path: Path) -> Iterator[Fabric]:
    """An empty network with an etcd."""
    with Fabric(tmp_path) as made:
        yield made
