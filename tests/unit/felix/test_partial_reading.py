"""What is read only in part leads to the same policy state as what is read completely."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from hypothesis import given, settings

from calico_openstack.datamodel import Invalid, NetworkPolicy, ResourceKey, decode, encode
from calico_openstack.datamodel.deferred import DeferredPolicy
from calico_openstack.datamodel.remote import RemoteEndpoint
from calico_openstack.etcd import Update
from calico_openstack.felix.calc import HostCalculation
from calico_openstack.felix.inputs import Inputs
from tests.support.clusters import HOST, ClusterGenerator
from tests.unit.calc.test_incremental import PHASES, seeds, whole

JUNK: tuple[Any, ...] = (None, 5, "", "x", [], {}, [5], [{}], [{"action": "Allow"}], "a b", 1e400)
POLICY_MEMBERS = ("ingress", "egress", "selector", "types", "tier", "order", "performanceHints")
ENDPOINT_MEMBERS = ("mac", "node", "ipNetworks", "interfaceName", "profiles", "ports", "workload")


def damaged(random: Random, value: bytes) -> bytes:
    """Break something, or perhaps nothing, of a stored value."""
    chance = random.random()
    if chance < 0.05:
        return value[: random.randrange(len(value))]
    if chance < 0.1:
        place = random.randrange(len(value))
        return value[:place] + b"\xff" + value[place + 1 :]
    document = json.loads(value)
    members = POLICY_MEMBERS if document["kind"].endswith("Policy") else ENDPOINT_MEMBERS
    if chance < 0.4:
        document["spec"][random.choice(members)] = random.choice(JUNK)
    if 0.35 < chance < 0.45:
        document["metadata"]["labels"] = random.choice(({"a b": ""}, {"a": "1"}, 5))
    return json.dumps(document).encode()


@settings(max_examples=200, deadline=None, phases=PHASES)
@given(seeds)
def test_state_is_the_same(seed: int) -> None:
    random = Random(seed)
    inputs, completely, partly = Inputs(HOST), HostCalculation(HOST), HostCalculation(HOST)
    for batch in ClusterGenerator(random).batches():
        for key, resource in batch:
            usable = resource if not isinstance(resource, Invalid) else resource.resource
            value = damaged(random, encode(usable)) if usable else None
            read = decode(key.path, value) if value is not None else None
            completely.update(key, read)  # type: ignore[arg-type]
            found = inputs.decode(Update(key.path, value, 1))
            if isinstance(found, RemoteEndpoint):
                assert found.path == key.path
                partly.update_remote(found)
            else:
                assert found is not None
                assert found[0] == key
                partly.update(*found)
        one, other = completely.flush(), partly.flush()
        assert whole(partly.state) == whole(completely.state)
        assert partly.state.endpoints == completely.state.endpoints
        assert partly.state.problems == completely.state.problems
        assert (one.endpoints, one.blocks, one.sets) == (other.endpoints, other.blocks, other.sets)


def policy(rules: str, selector: str = "has(a)") -> Update:
    key = ResourceKey("NetworkPolicy", "p", "openstack")
    spec = f'{{"selector":"{selector}","types":["Ingress"],"ingress":{rules}}}'
    value = f'{{"metadata":{{"name":"p","namespace":"openstack"}},"spec":{spec}}}'
    return Update(key.path, value.encode(), 1)


def test_policy_is_read_when_it_applies() -> None:
    inputs, calculation = Inputs(HOST), HostCalculation(HOST)
    found = inputs.decode(policy('[{"action":"Nonsense"}]'))
    assert isinstance(found, tuple)
    assert isinstance(found[1], DeferredPolicy)
    calculation.update(*found)
    calculation.flush()
    assert not inputs.invalid
    name = f"{HOST}-openstack-vm-port"
    spec = {
        "node": HOST,
        "orchestrator": "openstack",
        "workload": "vm",
        "endpoint": "port",
        "interfaceName": "tap1",
        "ipNetworks": ["10.0.0.1/32"],
    }
    labels = {"a": "", "projectcalico.org/namespace": "openstack"}
    metadata = {"name": name, "namespace": "openstack", "labels": labels}
    value = json.dumps({"metadata": metadata, "spec": spec}).encode()
    key = ResourceKey("WorkloadEndpoint", name, "openstack")
    found = inputs.decode(Update(key.path, value, 2))
    assert isinstance(found, tuple)
    calculation.update(*found)
    calculation.flush()
    assert list(inputs.invalid) == [policy("[]").key]
    found = inputs.decode(policy("[]"))
    assert isinstance(found, tuple)
    calculation.update(*found)
    assert not inputs.invalid


def test_policy_without_selector_is_read_at_once() -> None:
    found = Inputs(HOST).decode(policy("[]", selector=""))
    assert isinstance(found, tuple)
    assert isinstance(found[1], NetworkPolicy)
