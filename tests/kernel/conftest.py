"""Fixtures of the kernel tests: each test gets namespaces of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.netns import NetworkNamespace, sweep_stale

NamespaceFactory = Callable[[str], NetworkNamespace]


@pytest.fixture(scope="session", autouse=True)
def _swept() -> None:
    sweep_stale()


@pytest.fixture
def new_namespace() -> Iterator[NamespaceFactory]:
    """Return a function that makes a namespace; all are removed when the test ends."""
    made: list[NetworkNamespace] = []

    def make(label: str) -> NetworkNamespace:
        made.append(NetworkNamespace(label))
        return made[-1]

    yield make
    for namespace in made:
        namespace.delete()


@pytest.fixture
def namespace(new_namespace: NamespaceFactory) -> NetworkNamespace:
    """One namespace, with loopback only."""
    return new_namespace("host")
