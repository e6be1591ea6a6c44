"""The pure parts of the lab's Nova: configuration, catalogue, keys, what APIs say."""

import base64
import configparser
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.lab.ini import sections
from calico_openstack.lab.keystone_access import KeystoneAccess
from calico_openstack.lab.mariadb import database_url
from calico_openstack.lab.nova import (
    catalogue,
    compute_host,
    configuration,
    hypervisor,
    message_bus,
    registration,
    servers,
)
from calico_openstack.lab.nova.catalogue import CATALOGUE
from calico_openstack.lab.nova.configuration import NovaCloud
from calico_openstack.lab.nova.first_steps import first_steps
from calico_openstack.lab.rest import error_text
from calico_openstack.lab.settings import Lab
from calico_openstack.lab.topology import plan

LAB = Lab("lab", Path("/state/lab"))
TOPOLOGY = plan(2)
FIRST, SECOND = TOPOLOGY.compute
CLOUD = NovaCloud(
    prefix=Path("/venv"),
    folder=Path("/state/lab/hosts/controller"),
    instances=Path("/state/lab/instances"),
    database_socket=Path("/state/lab/db.sock"),
    keystone=KeystoneAccess("http://172.30.0.10:5000"),
    message_bus=message_bus.url(TOPOLOGY),
)
WORDS = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1)


def parsed(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, default_section="-")
    parser.read_string(text)
    return parser


@given(st.dictionaries(WORDS, st.dictionaries(WORDS.map(str.lower), WORDS)))
def test_what_is_written_is_what_is_read(content: dict[str, dict[str, str]]) -> None:
    assert {name: dict(parsed(sections(content))[name]) for name in content} == content


def test_truth_and_lists_are_written_as_oslo_config_reads_them() -> None:
    text = sections({"a": {"yes": True, "no": False, "several": ("b", "c"), "empty": ""}})
    assert dict(parsed(text)["a"]) == {"yes": "true", "no": "false", "several": "b,c", "empty": ""}


def test_every_service_has_its_own_port_and_socket() -> None:
    sockets = {catalogue.socket(LAB, service) for service in CATALOGUE}
    assert len({service.port for service in CATALOGUE}) == len(sockets) == len(CATALOGUE)


def test_nova_compute_reaches_no_database() -> None:
    conf = parsed(configuration.compute_conf(CLOUD, compute_host.node(LAB, FIRST)))
    assert not [name for name in conf.sections() if "database" in name]
    assert conf["DEFAULT"]["vif_plugging_is_fatal"] == "true"


def test_the_metadata_service_takes_callers_for_who_they_are() -> None:
    conf = parsed(configuration.metadata_conf(CLOUD, compute_host.node(LAB, FIRST)))
    assert conf["neutron"]["service_metadata_proxy"] == "false"
    assert conf["api_database"]["connection"] == database_url(CLOUD.database_socket, "nova_api")


@pytest.mark.parametrize(
    "text",
    [configuration.keystone_conf, configuration.placement_conf, configuration.glance_conf],
)
def test_services_do_not_share_databases(text: object) -> None:
    assert callable(text)
    conf = parsed(text(CLOUD))
    (section,) = [name for name in conf.sections() if name.endswith("database")]
    service = text.__name__.removesuffix("_conf")
    assert conf[section]["connection"] == CLOUD.database(service)


def test_hosts_are_different_to_libvirt_and_stay_what_they_are() -> None:
    identities = {hypervisor.host_identity(LAB, host) for host in TOPOLOGY.compute}
    other = hypervisor.host_identity(Lab("other", Path("/state/other")), FIRST)
    assert len(identities | {other}) == 3
    assert hypervisor.host_identity(LAB, FIRST) in identities
    assert hypervisor.socket(LAB, FIRST) != hypervisor.socket(LAB, SECOND)


def test_libvirt_listens_where_nova_sends_guests() -> None:
    conf = parsed(configuration.compute_conf(CLOUD, compute_host.node(LAB, FIRST)))
    assert conf["libvirt"]["live_migration_inbound_addr"] == FIRST.ipv4
    assert f'listen_addr = "{FIRST.ipv4}"' in hypervisor.daemon_conf(LAB, FIRST)
    assert f'migration_address = "{FIRST.ipv4}"' in hypervisor.qemu_conf(FIRST)


def test_keys_are_fernet_keys_and_are_kept(tmp_path: Path) -> None:
    cloud = NovaCloud(
        prefix=CLOUD.prefix,
        folder=tmp_path,
        instances=CLOUD.instances,
        database_socket=CLOUD.database_socket,
        keystone=CLOUD.keystone,
        message_bus=CLOUD.message_bus,
    )
    registration.write_keys(cloud)
    keys = {path: path.read_bytes() for path in tmp_path.rglob("[01]")}
    assert len(set(keys.values())) == 4
    assert all(len(base64.urlsafe_b64decode(key)) == 32 for key in keys.values())
    registration.write_keys(cloud)
    assert keys == {path: path.read_bytes() for path in tmp_path.rglob("[01]")}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"NeutronError": {"message": "no such port", "type": "T", "detail": ""}}, "no such port"),
        ({"itemNotFound": {"message": "no server", "code": 404}}, "no server"),
        ({"error": {"message": "wrong password", "code": 401, "title": "U"}}, "wrong password"),
        ({"message": "a plain one"}, "a plain one"),
        ({"NeutronError": "only words"}, "only words"),
    ],
)
def test_what_an_api_says_is_found_in_every_shape(body: object, said: str) -> None:
    assert error_text(json.dumps(body)) == said


def test_what_is_no_json_is_told_as_it_is() -> None:
    assert error_text("<h1>Bad gateway</h1>") == "<h1>Bad gateway</h1>"
    assert error_text("") == "no reason given"


def test_a_server_is_described_with_all_of_its_addresses() -> None:
    told = {
        "name": "vm1",
        "status": "MIGRATING",
        "OS-EXT-STS:task_state": "migrating",
        "OS-EXT-SRV-ATTR:host": "compute-1",
        "addresses": {
            "private": [{"addr": "10.65.0.5"}, {"addr": "198.51.100.7"}],
            "other": [{"addr": "2001:db8::5"}],
        },
    }
    server = servers.described(told)
    assert (server.state, server.host, server.well) == ("MIGRATING, migrating", "compute-1", False)
    assert server.addresses == ("10.65.0.5", "198.51.100.7", "2001:db8::5")
    shelved = {
        **told,
        "status": "SHELVED_OFFLOADED",
        "OS-EXT-STS:task_state": None,
        "OS-EXT-SRV-ATTR:host": None,
        "addresses": {},
    }
    assert servers.described(shelved) == servers.Server("vm1", "SHELVED_OFFLOADED", "-", ())
    assert servers.described({**told, "status": "ACTIVE", "OS-EXT-STS:task_state": None}).well


def test_the_first_steps_are_told_as_they_can_be_typed() -> None:
    steps = first_steps("bin/calico-lab --lab x", "compute-2")
    commands = [command for _, several in steps for command in several]
    assert "bin/calico-lab --lab x status" in commands
    assert sum("--host compute-2" in command for command in commands) == 1
    assert not any("\n" in command for command in commands)
