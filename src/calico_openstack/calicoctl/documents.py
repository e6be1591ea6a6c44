"""Reading resources from YAML and JSON files.

The YAML dialect is upstream's (go-yaml by way of JSON): no sexagesimal integers, so that a
community like ``5663:12`` stays text; in labels and annotations every scalar is text. Unknown
members are errors, so that a misspelt field is not silently without effect.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import re
import sys
from collections.abc import Hashable, Iterator
from pathlib import Path
from typing import Any, Final, get_args

import msgspec
import yaml

from calico_openstack.calicoctl import failures
from calico_openstack.calicoctl.preserving import structure_of
from calico_openstack.datamodel import API_VERSION, Invalid, Resource, ResourceKey, decode_at
from calico_openstack.datamodel.kinds import RESOURCE_TYPES

_TYPES: Final[dict[str, type[Resource]]] = {cls.KIND: cls for cls in RESOURCE_TYPES}
_SUFFIXES: Final = (".yaml", ".yml", ".json")


class DocumentError(ValueError):
    """A document cannot be used: the text names file, document, field and reason."""


class _Loader(yaml.SafeLoader):
    """SafeLoader without YAML 1.1's base-60 integers, dates and octal surprises.

    A member that is given twice is an error: the first would be without effect.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Return the mapping; raises `yaml.YAMLError` for a key that is there already."""
        result = super().construct_mapping(node, deep)
        if len(result) < len(node.value):
            known: set[Hashable] = set()
            for key_node, _ in node.value:
                key = self.construct_object(key_node, deep=True)
                if key in known:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"{key} is given twice", key_node.start_mark
                    )
                known.add(key)
        return result


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first)
    )
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^$"), [""])


def read_resources(source: str, *, recursive: bool = False) -> list[Resource]:
    """Return the resources of a file, a directory, or standard input (``-``), in order.

    Raises `DocumentError`; nothing is returned unless everything could be read.
    """
    return [
        resource
        for name, text in _texts(source, recursive)
        for resource in resources_in(text, name)
    ]


def _texts(source: str, recursive: bool) -> Iterator[tuple[str, str]]:
    if source == "-":
        yield "standard input", sys.stdin.read()
        return
    path = Path(source)
    pattern = "**/*" if recursive else "*"
    files = sorted(p for p in path.glob(pattern) if p.suffix.lower() in _SUFFIXES)
    for file in files if path.is_dir() else [path]:
        try:
            yield str(file), file.read_text()
        except (OSError, UnicodeError) as error:
            raise DocumentError(failures.of_file(file, error)) from None


def resources_in(text: str, name: str) -> list[Resource]:
    """Return the resources in *text*; *name* says in errors where it came from."""
    result = []
    for number, document in enumerate(_documents(text, name), 1):
        where = f"{name}, document {number}"
        for item in _items(document, where):
            result.append(resource_of(item, where))
    return result


def value_in(text: str, name: str) -> Any:
    """Return the one value that *text* holds; raises `DocumentError`."""
    documents = _documents(text, name)
    if len(documents) > 1:
        raise DocumentError(f"{name}: expected one document, found {len(documents)}")
    return documents[0] if documents else None


def _documents(text: str, name: str) -> list[Any]:
    # Not all JSON is YAML: tabs, pairs of escaped surrogates and some characters are not.
    with contextlib.suppress(ValueError, RecursionError):
        return [json.loads(text, object_pairs_hook=_each_once, parse_constant=_refused)]
    try:
        return list(yaml.load_all(text, Loader=_Loader))
    except (yaml.YAMLError, ValueError) as error:
        raise DocumentError(f"{name}: not YAML or JSON: {error}") from None
    except RecursionError:
        raise DocumentError(f"{name}: nested too deeply") from None


def _each_once(members: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(members)
    if len(result) < len(members):
        # Reading it as YAML tells where.
        raise ValueError("a member is given twice")
    return result


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _items(document: Any, where: str) -> list[dict[str, Any]]:
    """Return the single resources of a document: itself, a list's items, or nothing."""
    if document is None:
        return []
    if isinstance(document, dict) and str(document.get("kind", "")).endswith("List"):
        document = document.get("items") or []
    items = document if isinstance(document, list) else [document]
    for item in items:
        if not isinstance(item, dict):
            raise DocumentError(f"{where}: expected a resource, found {type(item).__name__}")
    return items


def resource_of(item: dict[str, Any], where: str) -> Resource:
    """Return the resource of which *item* holds the members; raises `DocumentError`."""
    kind, version = str(item.get("kind", "")), str(item.get("apiVersion", ""))
    cls = _TYPES.get(kind)
    if cls is None or version != API_VERSION:
        near = difflib.get_close_matches(kind, _TYPES, n=1)
        hint = f"; did you mean {near[0]}?" if near and near[0] != kind else ""
        raise DocumentError(
            f"{where}: unknown resource type ({kind}) and/or version ({version}){hint}"
        )
    metadata = item.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise DocumentError(f"{where}: {kind}: metadata: expected an object")
    for name in ("labels", "annotations"):
        if isinstance(metadata.get(name), dict):
            metadata[name] = {str(k): _as_text(v) for k, v in metadata[name].items()}
    unknown = _unknown_member(item, cls)
    if unknown:
        raise DocumentError(
            f"{where}: field in document is not recognized or is in the wrong location: {unknown}"
        )
    return _decoded(item, cls, where)


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _decoded(item: dict[str, Any], cls: type[Resource], where: str) -> Resource:
    metadata = item.get("metadata") or {}
    name, namespace = str(metadata.get("name") or ""), str(metadata.get("namespace") or "")
    what = f"{cls.KIND}({f'{namespace}/{name}' if namespace else name})"
    if not name:
        raise DocumentError(f"{where}: {cls.KIND}: metadata.name: resource name may not be empty")
    if namespace and not cls.NAMESPACED:
        raise DocumentError(f"{where}: {what}: {cls.KIND} is not namespaced")
    if cls.NAMESPACED and not namespace:
        namespace = "default"
        item["metadata"] = {**metadata, "namespace": namespace}
    key = ResourceKey(cls.KIND, name, namespace)
    # What was read from etcd has no other place than its name.
    place = what if where == what else f"{where}: {what}"
    try:
        decoded = decode_at(key.path, key, msgspec.json.encode(item))
    except (msgspec.MsgspecError, TypeError, UnicodeEncodeError) as error:
        raise DocumentError(f"{place}: {error}") from None
    if isinstance(decoded, Invalid):
        fields = "\n".join(f"-  {reason}" for reason in decoded.reasons)
        raise DocumentError(f"{place}: error with the following fields:\n{fields}")
    if not isinstance(decoded, Resource):
        raise DocumentError(f"{where}: {what} is built in and cannot be written")
    version = str(metadata.get("resourceVersion") or "")
    stated = msgspec.structs.replace(decoded.metadata, resource_version=version)
    return msgspec.structs.replace(decoded, metadata=stated)


def _unknown_member(value: Any, annotation: Any, path: str = "") -> str:
    """Return the first member that the type does not have, with the nearest name, or nothing."""
    if isinstance(value, list):
        inner = next((a for a in get_args(annotation) if a is not Ellipsis), None)
        found = (_unknown_member(item, inner, path) for item in value)
        return next(filter(None, found), "")
    structure = structure_of(annotation)
    if structure is None or not isinstance(value, dict):
        return ""
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(structure)}
    for name, member in value.items():
        here = f"{path}.{name}" if path else str(name)
        if name not in fields:
            # A resource may have a status that this version does not use.
            if not path and name == "status":
                continue
            near = difflib.get_close_matches(str(name), fields, n=1)
            return here + (f"; did you mean {near[0]}?" if near else "")
        if deeper := _unknown_member(member, fields[name], here):
            return deeper
    return ""
