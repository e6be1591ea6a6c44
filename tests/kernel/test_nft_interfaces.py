"""Elements by interface in the real kernel: they follow the interfaces as these come and go."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from calico_openstack.felix.kernel.nft_driver import NftDriver
from calico_openstack.felix.render.nft import (
    DROP,
    Family,
    KeyType,
    Ruleset,
    Set,
    Table,
    TableState,
    interface_key,
)
from tests.support.netns import NetworkNamespace, needs_root

pytestmark = needs_root

TABLE = Table(Family.IP, "calico")
ADDRESS = bytes((10, 0, 0, 1))


def wanted(*names: str) -> Ruleset:
    return {
        TABLE: TableState(
            sets={
                "sources": Set((KeyType.INTERFACE, KeyType.IPV4), size=16),
                "dispatch": Set((KeyType.INTERFACE,), verdicts=True, size=16),
            },
            elements={
                "sources": dict.fromkeys(interface_key(name) + ADDRESS for name in names),
                "dispatch": {interface_key(name): DROP for name in names},
            },
        )
    }


class Bench:
    """A namespace with interfaces, and a driver that is told of them."""

    def __init__(self, namespace: NetworkNamespace) -> None:
        self.namespace = namespace
        self.driver = self.new_driver()
        self.ruleset = wanted("tap1", "tap2")

    def new_driver(self) -> NftDriver:
        with self.namespace.entered():
            return NftDriver([TABLE])

    def add(self, name: str, index: int) -> None:
        peer = ("peer", "name", f"peer{index}")
        self.namespace.ip("link", "add", name, "index", str(index), "type", "veth", *peer)

    def tell(self, **indexes: int | None) -> None:
        self.driver.interfaces_changed(indexes)
        self.driver.apply(self.ruleset, {})
        assert self.driver.failures == {}

    def listed(self) -> dict[str, list[str]]:
        found = {}
        for kind, name in (("set", "sources"), ("map", "dispatch")):
            text = self.namespace.run("nft", "list", kind, "ip", "calico", name).stdout
            inside = text.partition("elements = {")[2].partition("}")[0]
            found[name] = sorted(part.strip() for part in inside.split(",") if part.strip())
        return found

    def has(self, *names: str) -> bool:
        """Tell whether there are elements of these interfaces, and no others."""
        listed = {
            "sources": [f'"{name}" . 10.0.0.1' for name in names],
            "dispatch": [f'"{name}" : drop' for name in names],
        }
        # Nothing is written twice, and who knows nothing finds it right.
        before = self.driver.writes
        self.driver.mark_stale()
        self.driver.apply(self.ruleset, {})
        again = self.new_driver()
        again.apply(self.ruleset, {})
        again.close()
        return self.listed() == listed and self.driver.writes == before and again.writes == 0


@pytest.fixture
def bench(namespace: NetworkNamespace) -> Iterator[Bench]:
    made = Bench(namespace)
    yield made
    made.driver.close()


def test_they_wait_for_their_interface(bench: Bench) -> None:
    bench.tell()
    assert bench.has()
    bench.add("tap2", 50)
    bench.tell(tap2=50)
    assert bench.has("tap2")
    bench.add("tap1", 60)
    bench.tell(tap1=60)
    assert bench.has("tap1", "tap2")


def test_they_go_with_it(bench: Bench) -> None:
    bench.add("tap1", 50)
    bench.tell(tap1=50)
    bench.namespace.ip("link", "del", "tap1")
    bench.tell(tap1=None)
    assert bench.has()


def test_a_recreated_interface_is_another(bench: Bench) -> None:
    bench.add("tap1", 50)
    bench.tell(tap1=50)
    bench.namespace.ip("link", "del", "tap1")
    bench.add("tap1", 51)
    bench.tell(tap1=51)
    assert bench.has("tap1")


def test_names_that_are_exchanged(bench: Bench) -> None:
    bench.ruleset[TABLE].elements["sources"] = {interface_key("tap1") + ADDRESS: None}
    bench.ruleset[TABLE].elements["dispatch"] = {interface_key("tap1"): DROP}
    bench.add("tap1", 50)
    bench.add("other", 51)
    bench.tell(tap1=50, other=51)
    for before, after in (("tap1", "x"), ("other", "tap1"), ("x", "other")):
        bench.namespace.ip("link", "set", before, "name", after)
    bench.tell(tap1=51, other=50)
    assert bench.has("tap1")


def test_a_restart_finds_what_is_left_of_an_interface(bench: Bench) -> None:
    bench.add("tap1", 50)
    bench.add("tap2", 51)
    bench.tell(tap1=50, tap2=51)
    bench.namespace.ip("link", "del", "tap1")
    bench.driver.close()
    bench.driver = bench.new_driver()
    bench.tell()
    assert bench.has("tap2")


def test_a_change_of_an_endpoint_and_of_its_interface_at_once(bench: Bench) -> None:
    bench.add("tap1", 50)
    bench.add("tap2", 51)
    bench.tell(tap1=50, tap2=51)
    bench.namespace.ip("link", "del", "tap1")
    bench.ruleset = wanted("tap2")
    bench.driver.interfaces_changed({"tap1": None})
    bench.driver.mark_stale()
    bench.driver.apply(bench.ruleset, {})
    assert bench.has("tap2")
