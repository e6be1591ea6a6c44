"""A stored object keeps its identity when it is written again."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.datamodel.policies import NetworkPolicy, NetworkPolicySpec
from calico_openstack.datamodel.resource import Metadata
from calico_openstack.neutron.translate.envelope import Birth, renewed, stored_spec

BIRTH = Birth("uid-1", "2026-08-22T06:33:20Z")
LATER = Birth("uid-2", "2026-08-23T00:00:00Z")


def policy(selector: str, **metadata: Any) -> NetworkPolicy:
    return NetworkPolicy(
        metadata=Metadata(**{"name": "p", "namespace": "openstack"} | metadata),
        spec=NetworkPolicySpec(selector=selector),
    )


def written(stored: bytes | None, desired: NetworkPolicy, birth: Birth = BIRTH) -> dict[str, Any]:
    value = renewed(stored, desired, birth)
    assert value is not None
    result: dict[str, Any] = json.loads(value)
    return result


def test_a_new_object() -> None:
    assert written(None, policy("all()")) == {
        "kind": "NetworkPolicy",
        "apiVersion": "projectcalico.org/v3",
        "metadata": {
            "name": "p",
            "namespace": "openstack",
            "creationTimestamp": "2026-08-22T06:33:20Z",
            "uid": "uid-1",
        },
        "spec": {"ingress": [], "egress": [], "selector": "all()"},
    }


def test_nothing_is_written_twice() -> None:
    value = renewed(None, policy("all()"), BIRTH)
    assert renewed(value, policy("all()"), LATER) is None


def test_identity_and_foreign_metadata_stay_and_the_rest_is_replaced() -> None:
    first = written(None, policy("a == 'b'", labels={"old": "1"}, annotations={"x": "1"}))
    first["metadata"]["ownedBy"] = "somebody"
    first["spec"]["order"] = 5
    stored = json.dumps(first).encode()
    second = written(stored, policy("all()", labels={"new": "2"}), LATER)
    assert second["metadata"] == first["metadata"] | {"labels": {"new": "2"}}
    assert second["spec"] == {"ingress": [], "egress": [], "selector": "all()"}


@given(st.binary(max_size=60) | st.sampled_from([b"[]", b"{}", b'{"metadata":1}', b"[" * 5000]))
def test_garbage_is_replaced(stored: bytes) -> None:
    value = renewed(stored, policy("all()"), BIRTH)
    assert value is not None
    assert renewed(value, policy("all()"), LATER) is None
    assert stored_spec(stored) is None
