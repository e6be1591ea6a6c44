"""Endpoints of other hosts, read briefly: exactly what reading them completely gives."""

from __future__ import annotations

import copy
import json
from ipaddress import ip_interface
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from calico_openstack.datamodel import ResourceKey, WorkloadEndpoint, decode, parse_key, prefix_of
from calico_openstack.datamodel.remote import RemoteEndpoints

NAME = "compute--1-openstack-vm--1-port1"
PATH = f"{prefix_of('WorkloadEndpoint')}openstack/{NAME}"
USUAL: dict[str, Any] = {
    "kind": "WorkloadEndpoint",
    "apiVersion": "projectcalico.org/v3",
    "metadata": {
        "name": NAME,
        "namespace": "openstack",
        "uid": "1e2f3a44-0b11-4c6e-9a1d-2f3344556677",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"sg.projectcalico.org/openstack-1": "a", "b": ""},
        "annotations": {"openstack.projectcalico.org/network-id": "n"},
    },
    "spec": {
        "orchestrator": "openstack",
        "workload": "vm-1",
        "node": "compute-1",
        "endpoint": "port1",
        "interfaceName": "tap1",
        "mac": "fa:16:3e:00:00:01",
        "ipNetworks": ["10.0.0.1/32", "fd00::1/128"],
        "allowedIps": ["10.0.0.1/32"],
        "ipv4Gateway": "10.0.0.254",
        "ipv6Gateway": "fd00::ffff",
        "profiles": ["p"],
    },
}
# What breaks one check or another, of any type.
STRANGE: tuple[Any, ...] = (
    *(
        "",
        "-",
        "a-",
        "-a",
        "a--b",
        "a/b",
        "a\nb",
        "a\n",
        "\n",
        "\0",
        "é",
        "\uff41",
        "٣",
        "a b",
        " a",
    ),
    *("x" * 15, "x" * 16, "x" * 63, "x" * 64, "x" * 128, "x" * 129, "a.b", "A_b", "compute-2"),
    *("fa:16:3e:00:00:1", "FA:16:3E:00:00:02", "fa-16-3e-00-00-02", "fa163e000002"),
    *("10.0.0.2", "10.0.0.2/32", "10.0.0.0/24", "10.0.0.02", "fd00::2", "fd00::2/128", "::1"),
    *("::ffff:10.0.0.1", "fe80::1%eth0", "1:2:3:4:5:6:7:8", "2026-01-01T00:00:00", "p"),
    *("2026-01-01T00:00:00.5+01:00", "WorkloadEndpoint", "HostEndpoint", "projectcalico.org/v3"),
    *(None, True, 0, 5, 1.5, [], {}, [""], [5], ["10.0.0.3"], ["10.0.0.3/32", "10.0.0.0/8"]),
    *(["fd00::3"], ["a", "b"], ["a b"], {"a": ""}, {"a": 5}, {"a b": ""}, {"a": "-"}, {"": "a"}),
)
PLACES = [
    *((section, member) for section in ("metadata", "spec") for member in USUAL[section]),
    *(("metadata", m) for m in ("generation", "finalizers", "selfLink", "unheardOf")),
    *(("spec", m) for m in ("ports", "ipNATs", "qosControls", "serviceAccountName", "pod")),
    ("spec", "allowSpoofedSourcePrefixes"),
    *((member,) for member in ("kind", "apiVersion", "metadata", "spec", "status")),
]
changes = st.lists(
    st.tuples(st.sampled_from(PLACES), st.sampled_from(STRANGE) | st.text(max_size=20)),
    min_size=1,
    max_size=2,
)


def changed(steps: list[tuple[tuple[str, ...], Any]]) -> dict[str, Any]:
    document = copy.deepcopy(USUAL)
    for place, value in steps:
        inner = document
        for member in place[:-1]:
            inner = inner[member] if isinstance(inner.get(member), dict) else {}
        # A copy: the same object within itself would be no JSON.
        inner[place[-1]] = copy.deepcopy(value)
    return document


def check(path: str, value: bytes) -> bool:
    """Compare both ways of reading; return whether the brief one dared to."""
    remote = RemoteEndpoints("here").read(path, value)
    if remote is None:
        return False
    whole = decode(path, value)
    assert isinstance(whole, WorkloadEndpoint), whole
    spec, labels = whole.spec, whole.metadata.labels
    key = ResourceKey(whole.KIND, whole.metadata.name, whole.metadata.namespace)
    assert key == parse_key(path)
    assert remote.path == path == key.path
    assert remote.labels == (*labels, *labels.values())
    assert remote.profiles == spec.profiles
    assert remote.addresses == tuple(ip_interface(text).packed for text in spec.ip_networks)
    assert spec.interface_name and spec.ip_networks
    assert not (spec.ports or spec.allow_spoofed_source_prefixes or spec.service_account_name)
    return True


def test_usual_form_is_read() -> None:
    assert check(PATH, json.dumps(USUAL).encode())


def test_own_endpoints_are_not() -> None:
    assert RemoteEndpoints("compute-1").read(PATH, json.dumps(USUAL).encode()) is None


@settings(max_examples=1000, deadline=None)
@given(changes)
@example([(("metadata", "creationTimestamp"), None)])
@example([(("metadata", "name"), f"openstack/{NAME}")])
@example([(("metadata", "name"), NAME[1:])])
@example([(("metadata", "labels"), {})])
@example(
    [(("spec", "workload"), "vm-1-"), (("metadata", "name"), "compute--1-openstack-vm--1---port1")]
)
def test_never_reads_what_is_invalid(steps: list[tuple[tuple[str, ...], Any]]) -> None:
    document = changed(steps)
    value = json.dumps(document).encode()
    check(PATH, value)
    metadata = document["metadata"]
    if isinstance(metadata, dict) and isinstance(metadata.get("name"), str):
        key = ResourceKey("WorkloadEndpoint", metadata["name"], str(metadata.get("namespace")))
        check(key.path, value)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.text("a-.%é", max_size=4), min_size=8, max_size=8), st.booleans())
def test_never_takes_a_name_for_another(texts: list[str], agreeing: bool) -> None:
    node, orchestrator, workload, endpoint, *others = texts
    document = copy.deepcopy(USUAL)
    spec = document["spec"]
    spec |= {"node": node, "orchestrator": orchestrator, "workload": workload, "endpoint": endpoint}
    parts = texts[:4] if agreeing else others
    name = "-".join(part.replace("-", "--") for part in parts)
    document["metadata"]["name"] = name
    value = json.dumps(document, ensure_ascii=False).encode()
    check(f"{prefix_of('WorkloadEndpoint')}openstack/{name}", value)


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_never_reads_damaged_bytes(data: st.DataObject) -> None:
    value = bytearray(json.dumps(USUAL).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(value) - 1))
        value[place] = data.draw(st.integers(0, 255))
    check(PATH, bytes(value))


def test_what_is_kept_does_not_confuse() -> None:
    """Labels, hosts and namespaces that were seen are not judged again."""
    reader = RemoteEndpoints("here")
    usual = json.dumps(USUAL).encode()
    assert reader.read(PATH, usual) is not None
    wrong = changed([(("metadata", "labels"), {"a b": ""})])
    assert reader.read(PATH, json.dumps(wrong).encode()) is None
    assert reader.read(PATH, json.dumps(wrong).encode()) is None
    elsewhere = changed([(("metadata", "namespace"), "other")])
    assert reader.read(PATH, json.dumps(elsewhere).encode()) is None
    reader.forget()
    assert reader.read(PATH, usual) is not None
