"""Named sets and maps and their elements in nf_tables' netlink form, both ways.

A hash set's element is its key (one with an interface as `nft_interfaces` states it). An interval
set of one component keeps, in the kernel, two elements a range: where it starts, and, marked as an
end, the first value behind it; a range that runs to the last value has no end. An interval set of
several components (a concatenation) keeps one element a range with both of its bounds.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from calico_openstack.felix.kernel import nft_constants as nft
from calico_openstack.felix.kernel.nft_expressions import VERDICT_CODES, encode_verdict
from calico_openstack.felix.render.nft import Element, ElementValue, KeyType, Range, Set, Verdict
from calico_openstack.netlink.protocol import (
    MAXIMUM_ATTRIBUTE,
    attribute,
    attribute_be32,
    attribute_string,
    attributes,
    be32,
    iterate_attributes,
    nested,
    string,
)


class _Datatype(Struct, frozen=True):
    """nft(8)'s number for a data type, its length in bytes, and the byte order it is kept in."""

    number: int
    length: int
    byte_order: int


_BYTE_ORDER_NONE, _BYTE_ORDER_HOST, _BYTE_ORDER_BIG = 0, 1, 2
_DATATYPES = {
    KeyType.IPV4: _Datatype(7, 4, _BYTE_ORDER_BIG),
    KeyType.IPV6: _Datatype(8, 16, _BYTE_ORDER_BIG),
    KeyType.PROTOCOL: _Datatype(12, 1, _BYTE_ORDER_BIG),
    KeyType.PORT: _Datatype(13, 2, _BYTE_ORDER_BIG),
    KeyType.IFNAME: _Datatype(41, 16, _BYTE_ORDER_HOST),
    KeyType.INTERFACE: _Datatype(20, 4, _BYTE_ORDER_HOST),
}
_KEY_TYPES = {datatype.number: key_type for key_type, datatype in _DATATYPES.items()}
# A concatenation's type is the types of its components, six bits each, the last one lowest.
_TYPE_BITS = 6
# User data that tells nft(8) how to print keys and data (libnftnl's udata.h): type, length, value.
_USERDATA_KEY_BYTE_ORDER, _USERDATA_DATA_BYTE_ORDER = 0, 1
# User data of a start element that has no end, for nft(8) to print it as a range to the end.
_USERDATA_OPEN_INTERVAL = attribute(nft.ElementAttribute.USERDATA, b"\x01\x04\x01\0\0\0")
_INTERVAL_END = attribute_be32(nft.ElementAttribute.FLAGS, nft.ELEMENT_INTERVAL_END)
_VERDICT_KINDS = {code: kind for kind, code in VERDICT_CODES.items()}


@functools.cache
def key_length(key: tuple[KeyType, ...]) -> int:
    """Return the bytes of a set's key: each component fills whole registers."""
    return register_length(key) if len(key) > 1 else _DATATYPES[key[0]].length


@functools.cache
def register_length(key: tuple[KeyType, ...]) -> int:
    """Return the bytes of the registers that a key fills; the model's keys are that long."""
    register = nft.REGISTER_BYTES
    return sum(-(-_DATATYPES[part].length // register) * register for part in key)


def _flags(set_: Set) -> int:
    flags = nft.SetFlag.INTERVAL if set_.interval else 0
    if set_.interval and len(set_.key) > 1:
        flags |= nft.SetFlag.CONCAT
    return flags | (nft.SetFlag.MAP if set_.verdicts or set_.data else 0)


def _type_number(key: tuple[KeyType, ...]) -> int:
    number = 0
    for part in key:
        number = number << _TYPE_BITS | _DATATYPES[part].number
    return number


def encode_set(table: str, name: str, set_: Set, set_id: int) -> bytes:
    """Return the attributes that create *set_*; *set_id* is unique within the transaction."""
    single = len(set_.key) == 1
    byte_order = _DATATYPES[set_.key[0]].byte_order if single else _BYTE_ORDER_NONE
    userdata = bytes([_USERDATA_KEY_BYTE_ORDER, 4, byte_order, 0, 0, 0])
    parts = [
        attribute_string(nft.SetAttribute.TABLE, table),
        attribute_string(nft.SetAttribute.NAME, name),
        attribute_be32(nft.SetAttribute.FLAGS, _flags(set_)),
        attribute_be32(nft.SetAttribute.KEY_TYPE, _type_number(set_.key)),
        attribute_be32(nft.SetAttribute.KEY_LENGTH, key_length(set_.key)),
        attribute_be32(nft.SetAttribute.ID, set_id),
    ]
    if set_.verdicts:
        parts.append(attribute_be32(nft.SetAttribute.DATA_TYPE, nft.DATA_TYPE_VERDICT))
        parts.append(attribute_be32(nft.SetAttribute.DATA_LENGTH, 0))
        userdata += bytes([_USERDATA_DATA_BYTE_ORDER, 4, _BYTE_ORDER_NONE, 0, 0, 0])
    elif set_.data:
        data = _DATATYPES[set_.data]
        parts.append(attribute_be32(nft.SetAttribute.DATA_TYPE, data.number))
        parts.append(attribute_be32(nft.SetAttribute.DATA_LENGTH, data.length))
        userdata += bytes([_USERDATA_DATA_BYTE_ORDER, 4, data.byte_order, 0, 0, 0])
    description = []
    if set_.size:
        description.append(attribute_be32(nft.SET_DESCRIPTION_SIZE, set_.size))
    if set_.interval and not single:
        fields = (
            nested(nft.LIST_ELEMENT, attribute_be32(nft.FIELD_LENGTH, _DATATYPES[part].length))
            for part in set_.key
        )
        description.append(nested(nft.SET_DESCRIPTION_CONCAT, *fields))
    if description:
        parts.append(nested(nft.SetAttribute.DESCRIPTION, *description))
    parts.append(attribute(nft.SetAttribute.USERDATA, userdata))
    return b"".join(parts)


def parse_set(found: Mapping[int, bytes]) -> Set | None:
    """Return the set that the attributes *found* describe, None when the model cannot state it."""
    flags = be32(found.get(nft.SetAttribute.FLAGS, b""))
    number = be32(found.get(nft.SetAttribute.KEY_TYPE, b""))
    parts: list[KeyType] = []
    while number:
        part = _KEY_TYPES.get(number & ((1 << _TYPE_BITS) - 1))
        if part is None:
            return None
        parts.insert(0, part)
        number >>= _TYPE_BITS
    if not parts:
        return None
    data_type = be32(found.get(nft.SetAttribute.DATA_TYPE, b""))
    is_verdict = data_type == nft.DATA_TYPE_VERDICT
    description = attributes(found.get(nft.SetAttribute.DESCRIPTION, b""))
    set_ = Set(
        key=tuple(parts),
        interval=bool(flags & nft.SetFlag.INTERVAL),
        verdicts=is_verdict,
        data=None if is_verdict else _KEY_TYPES.get(data_type),
        size=be32(description.get(nft.SET_DESCRIPTION_SIZE, b"")),
    )
    same_length = be32(found.get(nft.SetAttribute.KEY_LENGTH, b"")) == key_length(set_.key)
    if flags != _flags(set_) or not same_length:
        return None
    return set_


# --- elements, towards the kernel ---------------------------------------------------------------


def encode_elements(
    set_: Set, elements: Mapping[Element, ElementValue] | Iterable[Element]
) -> Iterator[tuple[bytes, list[Element]]]:
    """Yield the element lists of messages with the elements in each, every list within 64 KiB.

    With a mapping the elements carry its verdicts; without, as for removal, they are bare. Raises
    ValueError for an element that does not fit the set.
    """
    chunk: list[bytes] = []
    inside: list[Element] = []
    size = 0
    for element, encoded in _encode_each(set_, elements):
        if size + len(encoded) > MAXIMUM_ATTRIBUTE:
            yield b"".join(chunk), inside
            chunk, inside, size = [], [], 0
        chunk.append(encoded)
        inside.append(element)
        size += len(encoded)
    if chunk:
        yield b"".join(chunk), inside


def _encode_each(
    set_: Set, elements: Mapping[Element, ElementValue] | Iterable[Element]
) -> Iterator[tuple[Element, bytes]]:
    length = register_length(set_.key)
    pad = bytes(length - key_length(set_.key))
    if not set_.interval and not _is_map(set_) and not pad:
        prefix = _plain_prefix(length)
        for element in elements:
            if not isinstance(element, bytes) or len(element) != length:
                raise ValueError(f"element {element!r} is not of {length} bytes")
            yield element, prefix + element
        return
    values = elements if isinstance(elements, Mapping) else {}
    for element in elements:
        yield element, _encode_element(set_, element, values.get(element), len(pad))


def _is_map(set_: Set) -> bool:
    return set_.verdicts or set_.data is not None


@functools.cache
def _plain_prefix(length: int) -> bytes:
    """Return what stands before the key in an element that is nothing but a key."""
    return nested(nft.LIST_ELEMENT, _key(nft.ElementAttribute.KEY, bytes(length)))[:-length]


@functools.cache
def _listed_prefix(length: int) -> bytes:
    """Return the same as the kernel lists it, which does not mark nested attributes as such."""
    key = attribute(nft.ElementAttribute.KEY, attribute(nft.DATA_VALUE, bytes(length)))
    return attribute(nft.LIST_ELEMENT, key)[:-length]


def _key(kind: int, value: bytes) -> bytes:
    return nested(kind, attribute(nft.DATA_VALUE, value))


def _encode_value(set_: Set, value: ElementValue) -> bytes:
    if value is None:
        return b""
    if isinstance(value, Verdict):
        return nested(nft.ElementAttribute.DATA, encode_verdict(value))
    if set_.data is None or len(value) != _DATATYPES[set_.data].length:
        raise ValueError(f"data {value!r} does not fit the map")
    return _key(nft.ElementAttribute.DATA, value)


def _encode_element(set_: Set, element: Element, value: ElementValue, padding: int) -> bytes:
    data = _encode_value(set_, value)
    length = register_length(set_.key)
    if isinstance(element, Range) != set_.interval:
        raise ValueError(f"element {element!r} does not fit the set")
    first, last = (
        (element.first, element.last) if isinstance(element, Range) else (element, element)
    )
    if len(first) != length or len(last) != length:
        raise ValueError(f"element {element!r} is not of {length} bytes")
    # A lone component shorter than a register is stated without its padding.
    first, last = first[: length - padding], last[: length - padding]
    if not isinstance(element, Range):
        return nested(nft.LIST_ELEMENT, _key(nft.ElementAttribute.KEY, first), data)
    if first > last:
        raise ValueError(f"element {element!r} is empty")
    if len(set_.key) > 1:
        key_end = _key(nft.ElementAttribute.KEY_END, last)
        return nested(nft.LIST_ELEMENT, _key(nft.ElementAttribute.KEY, first), key_end, data)
    end = successor(last)
    if end is None:
        return nested(
            nft.LIST_ELEMENT,
            _key(nft.ElementAttribute.KEY, first),
            data,
            _USERDATA_OPEN_INTERVAL,
        )
    return nested(nft.LIST_ELEMENT, _key(nft.ElementAttribute.KEY, first), data) + nested(
        nft.LIST_ELEMENT, _key(nft.ElementAttribute.KEY, end), _INTERVAL_END
    )


def successor(value: bytes) -> bytes | None:
    """Return *value* plus one, None when it is the last value of its length."""
    number = int.from_bytes(value, "big") + 1
    return None if number >> len(value) * 8 else number.to_bytes(len(value), "big")


def predecessor(value: bytes) -> bytes:
    """Return *value*, which is not zero, minus one."""
    return (int.from_bytes(value, "big") - 1).to_bytes(len(value), "big")


# --- elements, from the kernel ------------------------------------------------------------------


class UnpairedIntervalsError(ValueError):
    """The starts and ends in an interval set do not form ranges that this model can state."""


def parse_elements(set_: Set, lists: Iterable[bytes]) -> dict[Element, ElementValue]:
    """Return the elements in the element lists of a dump of *set_*.

    Raises UnpairedIntervalsError when an interval set was left in a state that no ranges describe.
    """
    if not set_.interval and not _is_map(set_):
        found: dict[Element, ElementValue] = {}
        for data in lists:
            found.update(_parse_plain(set_, data))
        return found
    parsed = [_ParsedElement.parse(set_, item) for data in lists for item in _items(data)]
    if not set_.interval:
        return {element.key: element.value for element in parsed}
    if len(set_.key) > 1:
        return {Range(element.key, element.key_end): element.value for element in parsed}
    return _pair_intervals(parsed)


def _items(data: bytes) -> Iterator[bytes]:
    for _, item in iterate_attributes(data):
        yield item


def _parse_plain(set_: Set, data: bytes) -> dict[Element, ElementValue]:
    """Parse bare keys; they all have one size, so that no attribute needs to be looked at."""
    length = register_length(set_.key)
    prefix = _listed_prefix(length)
    size = len(prefix) + length
    rest = len(data) % size
    if not rest and key_length(set_.key) == length:
        ends = range(size, len(data) + 1, size)
        if all(data[end - size : end - length] == prefix for end in ends):
            return dict.fromkeys(data[end - length : end] for end in ends)
    return {_ParsedElement.parse(set_, item).key: None for item in _items(data)}


class _ParsedElement(Struct, frozen=True):
    """An element as the kernel lists it."""

    key: bytes
    key_end: bytes
    is_end: bool
    value: ElementValue

    @classmethod
    def parse(cls, set_: Set, item: bytes) -> _ParsedElement:
        found = attributes(item)
        length = register_length(set_.key)
        key = _value(found.get(nft.ElementAttribute.KEY, b"")).ljust(length, b"\0")
        key_end = found.get(nft.ElementAttribute.KEY_END)
        flags = be32(found.get(nft.ElementAttribute.FLAGS, b""))
        data = found.get(nft.ElementAttribute.DATA)
        return cls(
            key=key,
            key_end=_value(key_end).ljust(length, b"\0") if key_end else key,
            is_end=bool(flags & nft.ELEMENT_INTERVAL_END),
            value=_parse_value(data) if data else None,
        )


def _value(data: bytes) -> bytes:
    return attributes(data).get(nft.DATA_VALUE, b"")


def _parse_value(data: bytes) -> ElementValue:
    found = attributes(data)
    if nft.DATA_VALUE in found:
        return found[nft.DATA_VALUE]
    verdict = attributes(found.get(nft.DATA_VERDICT, b""))
    kind = _VERDICT_KINDS.get(be32(verdict.get(nft.VERDICT_CODE, b"")))
    if kind is None:
        return None
    return Verdict(kind, string(verdict.get(nft.VERDICT_CHAIN, b"")))


def _pair_intervals(parsed: list[_ParsedElement]) -> dict[Element, ElementValue]:
    # An end and the start of the next range may share a value: the end comes first.
    ordered = sorted(parsed, key=lambda element: (element.key, not element.is_end))
    ranges: dict[Element, ElementValue] = {}
    start: _ParsedElement | None = None
    for element in ordered:
        if element.is_end:
            if start is not None:
                ranges[Range(start.key, predecessor(element.key))] = start.value
            elif any(element.key):
                # An end at zero is nft(8)'s way to say that nothing begins there: harmless.
                raise UnpairedIntervalsError(f"end at {element.key.hex()} without a start")
            start = None
        elif start is not None:
            raise UnpairedIntervalsError(f"start at {element.key.hex()} within a range")
        else:
            start = element
    if start is not None:
        ranges[Range(start.key, b"\xff" * len(start.key))] = start.value
    return ranges
