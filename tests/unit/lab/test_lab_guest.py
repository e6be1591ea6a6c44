"""Workloads: names, how they come to addresses, and what a virtual machine starts from."""

import base64
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.lab import initramfs
from calico_openstack.lab.cloud import CloudError
from calico_openstack.lab.guest import (
    Addressing,
    Method,
    addressing,
    clients,
    static_commands,
    write_scripts,
)
from calico_openstack.lab.machine import parse_answer
from calico_openstack.lab.settings import Lab
from calico_openstack.lab.workload import Workload, WorkloadStore, check_name, tap_name


def subnet(identifier: str, cidr: str, **members: Any) -> dict[str, Any]:
    version = 6 if ":" in cidr else 4
    empty = {"gateway_ip": None, "enable_dhcp": True, "ipv6_address_mode": None}
    return {"id": identifier, "cidr": cidr, "ip_version": version, **empty, **members}


@pytest.mark.parametrize(
    ("network", "method"),
    [
        (subnet("s", "10.0.0.0/24"), Method.DHCP4),
        (subnet("s", "10.0.0.0/24", enable_dhcp=False), Method.STATIC),
        (subnet("s", "fd00::/64", ipv6_address_mode="slaac"), Method.SLAAC),
        (subnet("s", "fd00::/64", ipv6_address_mode="dhcpv6-stateless"), Method.SLAAC),
        (subnet("s", "fd00::/64", ipv6_address_mode="dhcpv6-stateful"), Method.DHCP6),
        (subnet("s", "fd00::/64"), Method.STATIC),
    ],
)
def test_the_subnet_says_how_an_address_is_learnt(network: dict[str, Any], method: Method) -> None:
    port = {"fixed_ips": [{"subnet_id": "s", "ip_address": "fd00::5"}]}
    (entry,) = addressing(port, [network])
    assert entry.method is method


def test_only_the_clients_that_are_needed_are_started(tmp_path: Path) -> None:
    slaac = Addressing("fd00::1", 64, None, Method.SLAAC)
    assert clients(tmp_path, "w", [slaac]) == {}
    both = [
        Addressing("10.0.0.1", 24, None, Method.DHCP4),
        Addressing("::1", 64, None, Method.DHCP6),
    ]
    assert set(clients(tmp_path, "w", both)) == {"udhcpc", "dhclient6"}


def test_addresses_without_a_protocol_are_set_by_hand() -> None:
    plan = [
        Addressing("10.0.0.5", 24, "10.0.0.1", Method.STATIC),
        Addressing("fd00::5", 64, "fd00::1", Method.STATIC),
        Addressing("10.0.1.5", 24, "10.0.1.1", Method.DHCP4),
    ]
    assert static_commands(plan) == (
        "address add 10.0.0.5/24 dev eth0",
        "route replace default via 10.0.0.1 dev eth0 onlink",
        "address add fd00::5/64 dev eth0",
        "route replace ::/0 via fd00::1 dev eth0 onlink",
    )


def test_the_scripts_are_good_shell(tmp_path: Path) -> None:
    write_scripts(tmp_path)
    (tmp_path / "init.sh").write_text(initramfs.INIT)
    for script in tmp_path.glob("*.sh"):
        subprocess.run(["sh", "-n", str(script)], check=True)


def test_a_link_is_named_as_nova_names_it() -> None:
    assert tap_name("0123456789abcdef") == "tap0123456789a"


@pytest.mark.parametrize("name", ["", "1a", "Web", "a_b", "a-", "tor", "compute-9", "a" * 33])
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(CloudError):
        check_name(name)


def workload(name: str) -> Workload:
    return Workload(
        name=name,
        host="compute-1",
        network="n",
        port_id="p",
        device_id="d",
        mac="fa:16:3e:00:00:01",
        addresses=("10.0.0.1",),
    )


def test_workloads_are_remembered_and_forgotten(tmp_path: Path) -> None:
    store = WorkloadStore(Lab(state=tmp_path))
    assert store.names() == []
    store.reserve("a")
    with pytest.raises(CloudError, match="already"):
        store.reserve("a")
    assert store.all() == []
    assert store.names() == ["a"]
    store.save(workload("a"))
    assert store.get("a") == workload("a")
    store.forget("a")
    with pytest.raises(CloudError, match="no workload 'a'"):
        store.get("a")


@given(st.binary(max_size=500), st.integers(min_value=0, max_value=255))
def test_an_answer_of_a_guest_is_read_back(output: bytes, status: int) -> None:
    text = output.decode(errors="replace")
    encoded = base64.encodebytes(text.encode()).decode()
    noise = "earlier\nEND 6 1\n"
    answer = f"{noise}BEGIN 7\n{encoded}END 7 {status}\n"
    assert parse_answer(answer, "7") == (status, text)


def test_an_archive_has_the_folders_that_its_files_need() -> None:
    files = initramfs.with_folders([initramfs.File("a/b/c", b"x"), initramfs.File("a/d", b"y")])
    assert [file.path for file in files] == ["a", "a/b", "a/b/c", "a/d"]


@pytest.mark.skipif(shutil.which("busybox") is None, reason="needs busybox to unpack an archive")
def test_archives_one_after_the_other_are_unpacked(tmp_path: Path) -> None:
    first = initramfs.archive(initramfs.with_folders([initramfs.File("etc/one", b"first")]))
    assert len(first) % 512 == 0
    unpack = ["busybox", "cpio", "-i", "-d"]
    subprocess.run(unpack, input=first, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "etc/one").read_bytes() == b"first"
