"""Elements that have an interface in their key: in the model by its name, in the kernel by index.

The kernel counts indexes up and gives none away twice, so an element whose interface has vanished
is nobody's until it is removed; one whose interface is yet to come waits. In an image of the kernel
an interface that is not known by name is called by its index, with a sign before it that no name
has. Pure.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from calico_openstack.felix.kernel.nft_dump import TableImage
from calico_openstack.felix.kernel.nft_fields import INTERFACE_NAME_BYTES
from calico_openstack.felix.render.nft import (
    Element,
    ElementValue,
    KeyType,
    Set,
    TableState,
    interface_key,
)

_INDEX = struct.Struct("=I")
_NAMELESS = b"/"


def is_by_interface(set_: Set | None) -> bool:
    """Tell whether the elements of a set have an interface, by index, in their key."""
    return set_ is not None and set_.key[0] is KeyType.INTERFACE


def is_present(element: Element, indexes: Mapping[str, int]) -> bool:
    """Tell whether the interface of an element of such a set is there."""
    return isinstance(element, bytes) and _name(element) in indexes


def by_index(element: Element, indexes: Mapping[str, int]) -> bytes:
    """Return an element as the kernel has it; raises ValueError without an interface."""
    name = _name(element) if isinstance(element, bytes) else ""
    if isinstance(element, bytes) and element.startswith(_NAMELESS):
        index = int(name.removeprefix(_NAMELESS.decode()))
    elif isinstance(element, bytes) and name in indexes:
        index = indexes[name]
    else:
        raise ValueError(f"element {element!r} has no interface")
    return _INDEX.pack(index) + element[INTERFACE_NAME_BYTES:]


def name_interfaces(image: TableImage, indexes: Mapping[str, int]) -> None:
    """Turn the elements in an image that was read from the kernel into the model's."""
    names = {index: name for name, index in indexes.items()}
    for present in image.sets.values():
        if is_by_interface(present.set) and present.elements:
            present.elements = {
                _by_name(element, names): value for element, value in present.elements.items()
            }


def reindex(
    desired: TableState, image: TableImage | None, before: Mapping[bytes, int | None]
) -> dict[str, set[Element]]:
    """Return the elements, by set, of interfaces whose index is not what it was *before*.

    *before* is by the interfaces' keys. What the kernel has for such an index is nameless in the
    image from now on.
    """
    changed: dict[str, set[Element]] = {}
    for name, set_ in desired.sets.items():
        if not is_by_interface(set_):
            continue
        touched: set[Element] = {*_elements_of(desired.elements[name], before)}
        present = image.sets.get(name) if image else None
        if present is not None and present.set == set_ and present.elements:
            for element in _elements_of(present.elements, before):
                index = before[element[:INTERFACE_NAME_BYTES]]
                value = present.elements.pop(element)
                if index is not None:
                    nameless = _nameless(index) + element[INTERFACE_NAME_BYTES:]
                    present.elements[nameless] = value
                    touched.add(nameless)
        if touched:
            changed[name] = touched
    return changed


def _elements_of(
    elements: Mapping[Element, ElementValue], keys: Mapping[bytes, object]
) -> list[bytes]:
    return [
        element
        for element in elements
        if isinstance(element, bytes) and element[:INTERFACE_NAME_BYTES] in keys
    ]


def _by_name(element: Element, names: Mapping[int, str]) -> bytes:
    assert isinstance(element, bytes)
    (index,) = _INDEX.unpack_from(element)
    key = interface_key(names[index]) if index in names else _nameless(index)
    return key + element[_INDEX.size :]


def _name(element: bytes) -> str:
    return element[:INTERFACE_NAME_BYTES].rstrip(b"\0").decode(errors="replace")


def _nameless(index: int) -> bytes:
    return interface_key(f"{_NAMELESS.decode()}{index}")
