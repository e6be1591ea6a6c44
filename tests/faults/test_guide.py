"""Every fault of the troubleshooting guide is made, and found by the commands that it names."""

from __future__ import annotations

import time
from collections.abc import Mapping

import pytest

from calico_openstack.lab.neutron_config import ML2_CONF, NEUTRON_CONF
from tests.faults.guide import GUIDE, Transcript, faults, renamed
from tests.faults.injection import INJECTIONS, calicoctl, tap
from tests.scenario.cloud import Cloud, eventually

FAULTS = dict(faults(GUIDE.read_text(encoding="utf-8")))
PATIENCE = 90.0


def test_every_fault_of_the_guide_is_prepared() -> None:
    assert FAULTS.keys() == INJECTIONS.keys()
    assert len(FAULTS) >= 20


def names_of(cloud: Cloud) -> Mapping[str, str]:
    """Return what things of the lab are called in the guide."""
    names = {}
    for name, address in (("web1", "10.65.0.11"), ("db1", "10.65.0.12")):
        called = name.upper()
        names[cloud.workload(name).port_id] = called
        names[tap(cloud, name)] = f"tap{called}"
        names[cloud.address(name, 4)] = address
    folder = cloud.lab.host_folder("controller") / "neutron" / "etc"
    for file in (NEUTRON_CONF, ML2_CONF):
        names[str(folder / file)] = f"/etc/neutron/{file}"
    return names


def shown(cloud: Cloud, transcript: Transcript, names: Mapping[str, str]) -> str:
    words = [renamed(word, {new: old for old, new in names.items()}) for word in transcript.words]
    return renamed(calicoctl(cloud, *words), names)


@pytest.mark.parametrize("title", FAULTS)
def test_a_fault_is_found(cloud: Cloud, title: str) -> None:
    names = names_of(cloud)
    with INJECTIONS[title](cloud):
        for transcript in FAULTS[title]:
            deadline = time.monotonic() + PATIENCE
            while missing := transcript.missing(output := shown(cloud, transcript, names)):
                assert time.monotonic() < deadline, f"no line {missing!r} in:\n{output}"
    eventually(lambda: "CRITICAL" not in calicoctl(cloud, "doctor"), "the cloud is well again")
