"""Inputs: every change of an unusable object is told once, with key and reason."""

from __future__ import annotations

import pytest

from calico_openstack.datamodel.invalid import Invalid
from calico_openstack.datamodel.keys import prefix_of
from calico_openstack.datamodel.policies import Tier
from calico_openstack.etcd import Update
from calico_openstack.felix.inputs import Inputs

PATH = prefix_of("Tier") + "t"
GOOD = b'{"kind":"Tier","apiVersion":"projectcalico.org/v3","metadata":{"name":"t"},"spec":{}}'


def test_good_value(caplog: pytest.LogCaptureFixture) -> None:
    inputs = Inputs()
    found = inputs.decode(Update(PATH, GOOD, 1))
    assert found is not None
    assert isinstance(found[1], Tier)
    assert not inputs.invalid
    assert not caplog.records


def test_bad_value_is_told_once_per_change(caplog: pytest.LogCaptureFixture) -> None:
    inputs = Inputs()
    for _ in range(3):
        found = inputs.decode(Update(PATH, b"{", 1))
        assert found is not None
        assert isinstance(found[1], Invalid)
    assert len(caplog.records) == 1
    assert caplog.records[0].__dict__["fields"]["key"] == PATH
    inputs.decode(Update(PATH, b'{"spec":7}', 2))
    assert len(caplog.records) == 2
    assert list(inputs.invalid) == [PATH]
    inputs.decode(Update(PATH, None, 3))
    assert not inputs.invalid


@pytest.mark.parametrize(
    "path",
    [prefix_of("Tier") + "a/b", prefix_of("Tier"), prefix_of("Tier") + "x" * 1_000_000 + "/"],
)
def test_strange_key_is_told_and_ignored(path: str, caplog: pytest.LogCaptureFixture) -> None:
    inputs = Inputs()
    assert inputs.decode(Update(path, GOOD, 1)) is None
    assert len(caplog.records) == 1
    assert len(str(caplog.records[0].__dict__["fields"]["key"])) < 500
    inputs.decode(Update(path, None, 2))
    assert not inputs.invalid


def test_built_in_profile_cannot_be_replaced() -> None:
    path = prefix_of("Profile") + "projectcalico-default-allow"
    assert Inputs().decode(Update(path, b"{}", 1)) is None
