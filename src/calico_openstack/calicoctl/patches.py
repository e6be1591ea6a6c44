"""Changing a resource by a patch: strategic merge, merge (RFC 7396) and JSON patch (RFC 6902).

All on plain JSON values; nothing given is modified. The kinds here have no lists that merge by a
key, so that a strategic merge differs from a plain one in its directives only.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Final

Json = Any
"""A value as the json module makes it."""

_DIRECTIVE: Final = "$patch"


class PatchError(ValueError):
    """A patch that cannot be used; the text says which part and why."""


def merge_patch(target: Json, patch: Json) -> Json:
    """Return *target* with *patch* merged in: null removes a member, a list replaces (RFC 7396)."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), value)
    return result


def strategic_patch(target: Json, patch: Json) -> Json:
    """Return *target* after a strategic merge.

    As a merge patch, with the directive ``$patch`` beside the members of an object: ``replace``
    puts the object in place of the old one, ``delete`` removes the old one, ``merge`` is the rule.
    Raises `PatchError`.
    """
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    directive = patch.get(_DIRECTIVE, "merge")
    patch = {name: value for name, value in patch.items() if name != _DIRECTIVE}
    if directive == "replace":
        return merge_patch({}, patch)
    if directive != "merge":
        raise PatchError(f"{_DIRECTIVE}: '{directive}' is not one of merge, replace, delete")
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None or (isinstance(value, dict) and value.get(_DIRECTIVE) == "delete"):
            result.pop(name, None)
        else:
            result[name] = strategic_patch(result.get(name), value)
    return result


def json_patch(target: Json, operations: Json) -> Json:
    """Return *target* after all *operations* of RFC 6902, in order; raises `PatchError`."""
    if not isinstance(operations, list):
        raise PatchError("a JSON patch is a list of operations")
    document = copy.deepcopy(target)
    for number, operation in enumerate(operations):
        try:
            document = _operated(document, operation)
        except PatchError as error:
            raise PatchError(f"operation {number}: {error}") from None
    return document


PATCHES: Final[dict[str, Callable[[Json, Json], Json]]] = {
    "strategic": strategic_patch,
    "merge": merge_patch,
    "json": json_patch,
}
"""The kinds of patch by name."""


def _operated(document: Json, operation: Json) -> Json:
    if not isinstance(operation, dict):
        raise PatchError("is not an object")
    path = _pointer(operation, "path")
    match operation.get("op"):
        case "add":
            return _added(document, path, copy.deepcopy(_value(operation)))
        case "remove":
            return _removed(document, path)
        case "replace":
            _found(document, path)
            return _replaced(document, path, copy.deepcopy(_value(operation)))
        case "copy":
            return _added(document, path, copy.deepcopy(_found(document, _from(operation))))
        case "move":
            source = _from(operation)
            if path[: len(source)] == source and path != source:
                raise PatchError("a value cannot be moved into itself")
            value = _found(document, source)
            return _added(_removed(document, source), path, value)
        case "test":
            if not _same(_found(document, path), _value(operation)):
                raise PatchError(f"test failed: {operation['path']} has another value")
            return document
        case unknown:
            raise PatchError(f"op '{unknown}' is not add, remove, replace, move, copy or test")


def _from(operation: dict[str, Json]) -> list[str]:
    return _pointer(operation, "from")


def _value(operation: dict[str, Json]) -> Json:
    if "value" not in operation:
        raise PatchError("has no value")
    return operation["value"]


def _same(one: Json, other: Json) -> bool:
    """Compare as JSON does: true is not 1, but 1.0 is."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _pointer(operation: dict[str, Json], member: str) -> list[str]:
    """Return the reference tokens of a JSON pointer (RFC 6901)."""
    text = operation.get(member)
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise PatchError(f"{member}: expected a pointer such as /spec/order")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _found(document: Json, path: list[str]) -> Json:
    for depth, token in enumerate(path):
        here = "/" + "/".join(path[: depth + 1])
        if isinstance(document, dict) and token in document:
            document = document[token]
        elif isinstance(document, list):
            document = document[_index(token, len(document) - 1, here)]
        else:
            raise PatchError(f"{here} does not exist")
    return document


def _index(token: str, highest: int, where: str) -> int:
    canonical = token == "0" or (token.isascii() and token.isdigit() and token[0] != "0")
    if not canonical or int(token) > highest:
        raise PatchError(f"{where} does not exist")
    return int(token)


def _added(document: Json, path: list[str], value: Json) -> Json:
    if not path:
        return value
    parent, last = _found(document, path[:-1]), path[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list):
        end = len(parent)
        parent.insert(end if last == "-" else _index(last, end, "/" + "/".join(path)), value)
    else:
        raise PatchError(f"/{'/'.join(path[:-1])} is neither an object nor a list")
    return document


def _replaced(document: Json, path: list[str], value: Json) -> Json:
    if not path:
        return value
    parent = _found(document, path[:-1])
    parent[int(path[-1]) if isinstance(parent, list) else path[-1]] = value
    return document


def _removed(document: Json, path: list[str]) -> Json:
    if not path:
        raise PatchError("the whole resource cannot be removed by a patch")
    _found(document, path)
    parent = _found(document, path[:-1])
    del parent[int(path[-1]) if isinstance(parent, list) else path[-1]]
    return document
