"""What this version does not know of a stored object stays when the object is written. Pure.

A newer Calico, or upstream's own components, may have stored members that the data model does not
have. Operators neither see nor edit them, so they are not theirs to lose.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import msgspec

from calico_openstack.datamodel import Resource
from calico_openstack.datamodel.invalid import UNREADABLE
from calico_openstack.datamodel.resource import JsonObject


def with_unknown_members(new: bytes, stored: bytes, cls: type[Resource]) -> bytes:
    """Return the *new* value of an object with the members of the *stored* one that *cls* lacks.

    Those of what was removed go with it. In a list they go along with the element that is still
    there, whatever its place.
    """
    try:
        old = msgspec.json.decode(stored)
    except UNREADABLE:
        return new
    plain = msgspec.json.decode(new)
    merged = _merged(plain, old, cls)
    return new if merged == plain else msgspec.json.encode(merged)


def _merged(new: Any, old: Any, annotation: Any) -> Any:
    if isinstance(new, list) and isinstance(old, list):
        inner = next((each for each in get_args(annotation) if each is not Ellipsis), None)
        return list(_merged_items(new, old, inner))
    structure = structure_of(annotation)
    if structure is None or not (isinstance(new, dict) and isinstance(old, dict)):
        return new
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(structure)}
    merged = {
        name: _merged(value, old[name], fields.get(name)) if name in old else value
        for name, value in new.items()
    }
    unknown = {name: value for name, value in old.items() if name not in fields}
    return {**unknown, **merged}


def _merged_items(new: list[Any], old: list[Any], annotation: Any) -> Iterator[Any]:
    """Yield the elements of a list, each merged with the first old one that is known as the same.

    An element that was edited in its place, in one of its members, is merged with what was there.
    """
    left = list(enumerate(old))
    for place, item in enumerate(new):
        same = next((pair for pair in left if _is_same(item, pair[1], annotation)), None)
        if same is None and len(new) == len(old):
            same = next(
                (
                    pair
                    for pair in left
                    if pair[0] == place and _is_edited(item, pair[1], annotation)
                ),
                None,
            )
        if same is not None:
            left.remove(same)
        yield _merged(item, same[1], annotation) if same is not None else item


def _is_same(new: Any, old: Any, annotation: Any) -> bool:
    structure = structure_of(annotation)
    if structure is None:
        return bool(new == old)
    try:
        converted = (msgspec.convert(each, structure) for each in (new, old))
        return bool(next(converted) == next(converted))
    except msgspec.ValidationError:
        return False


def _is_edited(new: Any, old: Any, annotation: Any) -> bool:
    """Tell whether two elements differ in one of the members that are known."""
    structure = structure_of(annotation)
    if structure is None or not (isinstance(new, dict) and isinstance(old, dict)):
        return False
    names = [field.encode_name for field in msgspec.structs.fields(structure)]
    return len([name for name in names if new.get(name) != old.get(name)]) == 1


def structure_of(annotation: Any) -> type[JsonObject] | None:
    """Return the structure that a type is or may be, None if it is none."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, msgspec.Struct):
            return candidate  # type: ignore[return-value]
    return None
