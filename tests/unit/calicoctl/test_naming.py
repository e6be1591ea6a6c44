"""What things of Neutron are called."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.calicoctl.ends import EndError, candidates, described
from calico_openstack.calicoctl.kinds import columns_named
from calico_openstack.calicoctl.naming import (
    Directory,
    Naming,
    called,
    directory_of,
    naming_as,
    port_name,
    readable,
)
from calico_openstack.calicoctl.output import as_row
from calico_openstack.calicoctl.showing import meant, with_names
from calico_openstack.datamodel import ResourceKey, WorkloadEndpoint
from tests.support.resources import workload

PREFIX = "openstack.projectcalico.org/"
PORT = "9a7e0868-da7a-419e-a7ad-9d37e11091b8"
OTHER = "1b2c0868-da7a-419e-a7ad-9d37e11091b8"
DEVICE = "b6d8a3c4-9674-4972-9151-11107b60d622"
GROUP = "75fccd0a-ef3d-44cd-91ec-ef22941f50f5"
NETWORK = "60651076-af2a-4c6d-8d64-500b53a4e547"
PROJECT = "26778b0f745143c5a9b0c7e1a621bb80"


def endpoint(
    number: int = 1, port: str = PORT, name: str = "front", dns: str = "web"
) -> tuple[ResourceKey, WorkloadEndpoint]:
    key, value = workload(number, node="compute-1")
    labels = {
        f"sg.projectcalico.org/openstack-{GROUP}": "servers",
        "projectcalico.org/openstack-network-name": "demo-net",
        "projectcalico.org/openstack-project-id": PROJECT,
        "projectcalico.org/openstack-project-name": "demo",
    }
    annotations = {f"{PREFIX}network-id": NETWORK, f"{PREFIX}fqdn": "host-10-0-0-1.openstacklocal."}
    if name:
        annotations[f"{PREFIX}port-name"] = name
    if dns:
        annotations[f"{PREFIX}dns-name"] = dns
    metadata = msgspec.structs.replace(value.metadata, labels=labels, annotations=annotations)
    interface = f"tap{port[:11]}"
    spec = msgspec.structs.replace(
        value.spec, endpoint=port, workload=DEVICE, interface_name=interface
    )
    return key, msgspec.structs.replace(value, metadata=metadata, spec=spec)


NAMES = directory_of([endpoint()[1]])
SELECTOR = f"has(sg.projectcalico.org/openstack-{GROUP})"
FULL_NAME = f"openstack/compute--1-openstack-x-{PORT.replace('-', '--')}"


@pytest.mark.parametrize(
    ("naming", "expected"),
    [(Naming.NAMES, "web"), (Naming.IDS, "1"), (Naming.BOTH, "web (1)")],
)
def test_names_ids_or_both(naming: Naming, expected: str) -> None:
    with naming_as(naming):
        assert called("web", "1") == expected
        assert called("", "1") == "1"


def test_a_port_is_called_by_its_own_name_then_by_its_guest_s_never_by_a_made_up_one() -> None:
    for name, dns, expected in (("front", "web", "front"), ("", "web", "web"), ("", "", "")):
        assert port_name(endpoint(name=name, dns=dns)[1].metadata.annotations) == expected
    assert port_name({f"{PREFIX}fqdn": "vm17.example.org."}) == "vm17"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"np/openstack/ossg.default.{GROUP} ingress[0]", "security group servers ingress[0]"),
        (SELECTOR, "members of security group servers"),
        (f"({SELECTOR}) || all()", "(members of security group servers) || all()"),
        (f"port {PORT} of {DEVICE}", "port front of web"),
        (f"network {NETWORK}, project {PROJECT}", "network demo-net, project demo"),
        ("in tap9a7e0868-da now", "in tap9a7e0868-da (front) now"),
        (FULL_NAME, "port front"),
        (f"port {OTHER}, tap1b2c0868-da", f"port {OTHER}, tap1b2c0868-da"),
        (f"jump in-np/openstack/ossg.default.{GROUP}",) * 2,
        (f"ossg.default.{OTHER}", f"security group {OTHER}"),
        ("gnp/no-databases egress[0]", "gnp/no-databases egress[0]"),
    ],
)
def test_ids_in_texts_of_agents_become_names(text: str, expected: str) -> None:
    assert readable(text, NAMES) == expected
    with naming_as(Naming.IDS):
        assert readable(text, NAMES) == text


@given(st.text())
def test_other_texts_stay(text: str) -> None:
    assert readable(text, Directory()) == text


def test_rows_have_the_port_beside_its_interface() -> None:
    rows = [{"interface": "tap9a7e0868-da", "selects": SELECTOR}, {"interface": "", "selects": ""}]
    assert list(with_names(rows, NAMES)) == [
        {
            "interface": "tap9a7e0868-da",
            "port": "front",
            "selects": "members of security group servers",
        },
        {"interface": "", "port": "", "selects": ""},
    ]
    with naming_as(Naming.IDS):
        assert list(with_names(rows, NAMES)) == rows


def test_tables_of_agents_are_asked_about_a_port_by_its_name() -> None:
    assert meant("front", "endpoints", NAMES) == "tap9a7e0868-da"
    assert meant("front", "way", NAMES) == "10.0.0.1"
    assert meant("servers", "policies", NAMES) == GROUP
    assert meant("10.0.0.9", "members", NAMES) == "10.0.0.9"
    twice = directory_of([endpoint()[1], endpoint(2, OTHER)[1]])
    with pytest.raises(EndError, match=f"say the id of one\n  {OTHER}\n  {PORT}"):
        meant("front", "endpoints", twice)


def test_an_end_is_found_by_name_and_told_by_name() -> None:
    cloud = dict([endpoint()])
    for text in ("front", "web", PORT, DEVICE, "host-10-0-0-1"):
        assert candidates(cloud, text)[0].address == "10.0.0.1"
    (end, *_) = candidates(cloud, "front")
    assert described(end, cloud) == "10.0.0.1: port front of instance web on compute-1"
    with naming_as(Naming.BOTH):
        told = f"10.0.0.1: port front ({PORT}) of instance web ({DEVICE}) on compute-1"
        assert described(end, cloud) == told


def test_a_name_of_several_lists_them_with_ids_but_an_id_is_never_one() -> None:
    key, value = endpoint(2, OTHER, name=PORT, dns="")
    cloud = dict([endpoint(), (key, value)])
    # Somebody named a port like another one's id.
    assert candidates(cloud, PORT)[0].address == "10.0.0.1"
    cloud = dict([endpoint(), endpoint(2, OTHER)])
    with pytest.raises(EndError) as told:
        candidates(cloud, "front")
    assert str(told.value).splitlines()[:3] == [
        "'front' stands for 2 endpoints: name one by the id of its port",
        f"  {OTHER}  front 10.0.0.2, fd00::2 on compute-1 of project demo",
        f"  {PORT}  front 10.0.0.1, fd00::1 on compute-1 of project demo",
    ]


def test_endpoints_have_columns_of_neutron_s_names() -> None:
    columns = columns_named(WorkloadEndpoint, ["PORT", "GROUPS", "NETWORK", "PROJECT"])
    row = as_row(endpoint()[1])
    assert [each.cell(row) for each in columns] == ["front", "servers", "demo-net", "demo"]
    with naming_as(Naming.IDS):
        assert [each.cell(row) for each in columns] == [PORT, GROUP, NETWORK, PROJECT]
    bare = as_row(workload(1)[1])
    assert [each.cell(bare) for each in columns] == ["port1", "", "", ""]
