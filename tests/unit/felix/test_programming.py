"""What the kernel has for an endpoint beside what it should have."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest

from calico_openstack.datamodel import ResourceKey, WorkloadEndpointSpec
from calico_openstack.felix.calc import LocalEndpoint
from calico_openstack.felix.kernel.nft_dump import ChainImage, SetImage, TableImage
from calico_openstack.felix.programming import findings
from calico_openstack.felix.render import names
from calico_openstack.felix.render.nft import (
    ACCEPT,
    DROP,
    Chain,
    Field,
    InSet,
    KeyType,
    Rule,
    Set,
    TableState,
    Verdict,
    VerdictKind,
    interface_key,
)
from calico_openstack.felix.render.renderer import IP_TABLE
from calico_openstack.policy.rules import EndpointPolicy

ADDRESS = bytes((10, 0, 0, 1))
TAP = interface_key("tap1")
GOTO = Verdict(VerdictKind.GOTO, "class")
ENDPOINT = LocalEndpoint(
    key=ResourceKey("WorkloadEndpoint", "one", "openstack"),
    interface="tap1",
    mac=b"",
    addresses=(ADDRESS,),
    sources=(),
    spec=WorkloadEndpointSpec(),
    policy=EndpointPolicy(),
)


def wanted() -> TableState:
    in_members = Rule((InSet((Field.IP_SADDR,), "members"), ACCEPT))
    return TableState(
        sets={
            names.WORKLOAD_SOURCES: Set((KeyType.IFNAME, KeyType.IPV4)),
            names.FROM_WORKLOAD: Set((KeyType.IFNAME,), verdicts=True),
            names.TO_WORKLOAD: Set((KeyType.IFNAME,), verdicts=True),
            "members": Set((KeyType.IPV4,)),
        },
        elements={
            names.WORKLOAD_SOURCES: {TAP + ADDRESS: None},
            names.FROM_WORKLOAD: {TAP: GOTO},
            names.TO_WORKLOAD: {TAP: GOTO},
            "members": {ADDRESS: None},
        },
        chains={
            "class": Chain((Rule((Verdict(VerdictKind.JUMP, "policy"),)), Rule((DROP,)))),
            "policy": Chain((in_members,)),
            "of others": Chain((Rule((DROP,)),)),
        },
    )


def kernel(state: TableState) -> TableImage:
    return TableImage(
        sets={name: SetImage(kind, state.elements[name]) for name, kind in state.sets.items()},
        chains={name: ChainImage(c.hook, c.rule_hashes(name)) for name, c in state.chains.items()},
    )


def faults(image: TableImage | None) -> dict[str, str]:
    found = findings(ENDPOINT, {IP_TABLE: wanted()}, {IP_TABLE: image})
    return {each.thing: each.state for each in found if each.state != "ok"}


def test_a_kernel_that_has_everything_has_no_fault() -> None:
    assert faults(kernel(wanted())) == {}


def remove_source(image: TableImage) -> None:
    image.sets[names.WORKLOAD_SOURCES].elements = {}


def misdirect(image: TableImage) -> None:
    image.sets[names.TO_WORKLOAD].elements = {TAP: DROP}


def insert_rule(image: TableImage) -> None:
    image.chains["policy"].hashes = ("", *image.chains["policy"].hashes)


def remove_chain(image: TableImage) -> None:
    del image.chains["policy"]


def remove_member(image: TableImage) -> None:
    image.sets["members"].elements = {}


def remove_set(image: TableImage) -> None:
    del image.sets["members"]


def change_what_is_of_others(image: TableImage) -> None:
    del image.chains["of others"]


@pytest.mark.parametrize(
    ("spoil", "thing", "state"),
    [
        (remove_source, "10.0.0.1 as a source of tap1, set workload-sources", "missing"),
        (misdirect, "dispatch of packets to tap1, set to-workload", "differs"),
        (insert_rule, "chain policy", "differs"),
        (remove_chain, "chain policy", "missing"),
        (remove_member, "set members", "differs"),
        (remove_set, "set members", "missing"),
        (change_what_is_of_others, "", ""),
    ],
)
def test_each_fault_is_named(spoil: Callable[[TableImage], None], thing: str, state: str) -> None:
    image = kernel(copy.deepcopy(wanted()))
    spoil(image)
    assert faults(image) == ({thing: state} if thing else {})


def test_a_table_that_is_gone_is_one_fault() -> None:
    assert faults(None) == {"table ip calico": "missing"}
