"""Elements by interface: names in the model, indexes in the kernel."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.felix.kernel.nft_dump import SetImage, TableImage
from calico_openstack.felix.kernel.nft_interfaces import (
    by_index,
    is_by_interface,
    is_present,
    name_interfaces,
    reindex,
)
from calico_openstack.felix.render.nft import (
    Element,
    ElementValue,
    KeyType,
    Set,
    TableState,
    interface_key,
)

SOURCES = Set((KeyType.INTERFACE, KeyType.IPV4), size=16)
ADDRESS = bytes((10, 0, 0, 1))


def element(name: str) -> bytes:
    return interface_key(name) + ADDRESS


def in_kernel(index: int) -> bytes:
    return index.to_bytes(4, "little") + ADDRESS


def image(*elements: Element) -> TableImage:
    return TableImage(sets={"sources": SetImage(SOURCES, dict.fromkeys(elements))})


def known(image: TableImage) -> dict[Element, ElementValue] | None:
    return image.sets["sources"].elements


def test_there_and_back() -> None:
    indexes = {"tap1": 7, "tap2": 9}
    kernel = by_index(element("tap1"), indexes)
    assert kernel.hex() == in_kernel(7).hex()
    read = image(kernel, in_kernel(11))
    name_interfaces(read, indexes)
    first, second = known(read) or {}
    assert first == element("tap1")
    # Of an interface that is not there: it can still be removed.
    assert isinstance(second, bytes)
    assert by_index(second, {}) == in_kernel(11)
    assert not is_present(second, indexes)


def test_an_interface_that_is_yet_to_come() -> None:
    assert not is_present(element("tap1"), {})
    with pytest.raises(ValueError, match="has no interface"):
        by_index(element("tap1"), {})


def test_which_sets() -> None:
    assert is_by_interface(SOURCES)
    assert not is_by_interface(Set((KeyType.IFNAME, KeyType.IPV4)))
    assert not is_by_interface(None)


def test_what_stands_for_an_old_index_is_looked_at_again() -> None:
    state = TableState(sets={"sources": SOURCES})
    state.elements["sources"] = dict.fromkeys((element("tap1"), element("tap2")))
    had = image(element("tap1"), element("tap2"))
    changed = reindex(state, had, {interface_key("tap1"): 7})
    (nameless,) = changed["sources"] - {element("tap1")}
    assert known(had) == dict.fromkeys((element("tap2"), nameless))
    assert by_index(nameless, {"tap1": 8}) == in_kernel(7)


@given(st.dictionaries(st.sampled_from([f"tap{n}" for n in range(6)]), st.integers(1, 9)))
def test_an_image_follows_the_interfaces(after: dict[str, int]) -> None:
    """Whatever they become, what the kernel has is said of nothing else."""
    before = {f"tap{n}": n + 1 for n in range(4)}
    after = {name: index for name, index in after.items() if [*after.values()].count(index) == 1}
    kernel = {by_index(element(name), before) for name in before}
    had = image(*map(element, before))
    names = before.keys() | after.keys()
    moved = {interface_key(n): before.get(n) for n in names if before.get(n) != after.get(n)}
    reindex(TableState(sets={"sources": SOURCES}, elements={"sources": {}}), had, moved)
    assert {by_index(each, after) for each in known(had) or ()} == kernel
