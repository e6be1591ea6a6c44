"""An object that is read, edited and applied survives unchanged apart from the edit."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calico_openstack.calicoctl import output
from calico_openstack.calicoctl.documents import resources_in
from calico_openstack.calicoctl.store import Store
from calico_openstack.datamodel import Resource, parse_key
from calico_openstack.datamodel.keys import ResourceKey
from calico_openstack.etcd import EtcdClient
from calico_openstack.etcd.records import KeyValue
from tests.unit.datamodel.examples import SPECS, document_of, path_of

KINDS = sorted(set(SPECS) - {"ClusterInformation"})


class Memory:
    """What the store needs of etcd."""

    def __init__(self, path: str, value: bytes) -> None:
        self.kv = KeyValue(path, value, 7)

    def get(self, path: str) -> KeyValue | None:
        return self.kv if path == self.kv.key else None

    def put_if_unchanged(self, path: str, value: bytes, revision: int) -> int | None:
        if (path, revision) != (self.kv.key, self.kv.mod_revision):
            return None
        self.kv = KeyValue(path, value, revision + 1)
        return revision + 1


def objects_in(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the objects within an object, with the names on the way to each."""
    if isinstance(value, dict):
        yield path, value
        for name, member in value.items():
            yield from objects_in(member, (*path, name))
    if isinstance(value, list):
        for member in value:
            yield from objects_in(member, path)


def is_open(path: tuple[str, ...]) -> bool:
    """Tell whether anything may be a member there: labels and the like."""
    maps = {"labels", "annotations", "labelsToApply"}
    return bool(maps & set(path))


def stored_document(kind: str, seed: int) -> dict[str, Any]:
    """Return an object with members that this version does not know, anywhere."""
    document = json.loads(json.dumps(document_of(kind)))
    document.setdefault("kind", kind)
    document.setdefault("apiVersion", "projectcalico.org/v3")
    source = random.Random(seed)
    for path, found in list(objects_in(document)):
        if not is_open(path) and source.random() < 0.4:
            found["fieldOfTomorrow"] = source.choice([1, "x", [1], {"a": None}])
    if seed % 3 == 0:
        document["status"] = {"conditions": [{"type": "Ready"}]}
    return cast(dict[str, Any], document)


def without_empty(value: Any) -> Any:
    """Leave out what may be written or not: empty lists and maps."""
    if isinstance(value, dict):
        return {k: without_empty(v) for k, v in value.items() if v not in ([], {})}
    return [without_empty(v) for v in value] if isinstance(value, list) else value


def applied(memory: Memory, resource: Resource) -> None:
    Store(cast(EtcdClient, memory), lambda line: None).replace(resource)


@pytest.mark.parametrize("form", ["yaml", "json"])
@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 10**6))
@settings(max_examples=4, deadline=None)
def test_only_the_edit_differs(kind: str, form: str, seed: int) -> None:
    stored = stored_document(kind, seed)
    memory = Memory(path_of(kind), json.dumps(stored).encode())
    key = parse_key(memory.kv.key)
    assert isinstance(key, ResourceKey)
    read = Store(cast(EtcdClient, memory), lambda line: None).read(key)
    row = output.as_row(read)
    row["metadata"].setdefault("labels", {})["edited"] = "yes"
    text = output.as_yaml(row) if form == "yaml" else output.as_json(row)
    (edited,) = resources_in(text, "file")
    applied(memory, edited)
    found = json.loads(memory.kv.value)
    assert found["metadata"]["labels"].pop("edited") == "yes"
    for metadata in (found["metadata"], stored["metadata"]):
        for name in ("uid", "creationTimestamp", "resourceVersion"):
            metadata.pop(name, None)
        # What upstream's client derives from the rest with every write.
        for name in ("tier", "namespace", "orchestrator"):
            metadata.get("labels", {}).pop(f"projectcalico.org/{name}", None)
        metadata.get("annotations", {}).pop("projectcalico.org/metadata", None)
    assert without_empty(found) == without_empty(stored)


def policy(*rules: dict[str, Any]) -> bytes:
    spec = {"selector": "all()", "types": ["Ingress"], "ingress": list(rules)}
    value = {"kind": "GlobalNetworkPolicy", "apiVersion": "projectcalico.org/v3", "spec": spec}
    return json.dumps({**value, "metadata": {"name": "p"}}).encode()


def rule(port: int, **more: Any) -> dict[str, Any]:
    return {"action": "Allow", "protocol": "TCP", "destination": {"ports": [port]}, **more}


@pytest.mark.parametrize(
    ("ports", "expected"),
    [
        ([2, 1], [None, "a"]),
        ([1], ["a"]),
        # One of two was edited in its place, and is still the same rule.
        ([9, 2], ["a", None]),
        # A new list says nothing of what was in the old one.
        ([7, 8, 9], [None, None, None]),
    ],
)
def test_what_is_unknown_of_a_rule_goes_where_it_goes(
    ports: list[int], expected: list[str | None]
) -> None:
    path = "/calico/resources/v3/projectcalico.org/globalnetworkpolicies/p"
    memory = Memory(path, policy(rule(1, tomorrow="a"), rule(2)))
    (edited,) = resources_in(policy(*map(rule, ports)).decode(), "file")
    applied(memory, edited)
    rules = json.loads(memory.kv.value)["spec"]["ingress"]
    assert [each["destination"]["ports"] for each in rules] == [[port] for port in ports]
    assert [each.get("tomorrow") for each in rules] == expected
