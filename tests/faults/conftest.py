"""One lab for all prepared faults, as the scenario tests have it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenario.conftest import cloud, lab
from tests.support.netns import needs_root

__all__ = ["cloud", "lab"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(needs_root)
