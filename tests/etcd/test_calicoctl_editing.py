"""patch, label and the options of get against a real etcd."""

from __future__ import annotations

import json

import pytest

from calico_openstack.calicoctl.kinds import Row
from calico_openstack.calicoctl.watching import Printer, follow
from calico_openstack.datamodel import prefix_of
from calico_openstack.etcd import EtcdClient
from tests.support.calicoctl import Calicoctl, calicoctl_with

POLICY = """
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: web, labels: {team: a}}
spec:
  order: 5
  selector: role == 'web'
  ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]
"""


@pytest.fixture
def calicoctl(etcd: EtcdClient) -> Calicoctl:
    run = calicoctl_with(etcd)
    assert run("create", "-f", "-", text=POLICY).exit_code == 0
    return run


def _web(calicoctl: Calicoctl) -> dict[str, object]:
    spec: dict[str, object] = json.loads(calicoctl("get", "gnp", "web", "-o", "json").output)
    return spec


@pytest.mark.parametrize(
    ("form", "patch"),
    [
        ("strategic", '{"spec": {"order": 9}}'),
        ("merge", "spec: {order: 9}"),
        ("json", '[{"op": "replace", "path": "/spec/order", "value": 9}]'),
    ],
)
def test_a_patch_changes_what_it_says_and_nothing_else(
    calicoctl: Calicoctl, form: str, patch: str
) -> None:
    before = _web(calicoctl)
    result = calicoctl("patch", "gnp", "web", "-t", form, "-p", patch)
    assert result.output == "Successfully patched 1 'GlobalNetworkPolicy' resource(s)\n"
    after = _web(calicoctl)
    assert after["spec"] == {**before["spec"], "order": 9}  # type: ignore[dict-item]
    assert after["metadata"]["uid"] == before["metadata"]["uid"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("patch", "reason"),
    [
        ('{"spec": {"ordr": 9}}', "spec.ordr; did you mean order?"),
        ('{"spec": {"selector": "role =="}}', "spec.selector"),
        ('{"metadata": {"name": "other"}}', "cannot change kind, name or namespace"),
        ('{"metadata": {"resourceVersion": "1"}}', "update conflict"),
    ],
)
def test_a_patch_that_makes_no_sense_changes_nothing(
    calicoctl: Calicoctl, patch: str, reason: str
) -> None:
    before = _web(calicoctl)
    result = calicoctl("patch", "gnp", "web", "-p", patch)
    assert result.exit_code == 1
    assert reason in result.output
    assert _web(calicoctl) == before


def test_several_labels_at_once(calicoctl: Calicoctl) -> None:
    assert "already present" in calicoctl("label", "gnp", "web", "team=b", "x=1").output
    done = calicoctl("label", "gnp", "web", "team=b", "x=1", "--overwrite").output
    assert "updated label team" in done
    assert "set label x" in done
    shown = calicoctl("get", "gnp", "-l", "team == 'b' && has(x)", "-o", "name").output
    assert shown.split() == ["globalnetworkpolicies/web"]
    assert calicoctl("label", "gnp", "web", "team", "--remove").exit_code == 0
    assert calicoctl("get", "gnp", "-l", "has(team)", "-o", "name").output == ""


def test_columns_of_ones_own(calicoctl: Calicoctl) -> None:
    shown = calicoctl("get", "gnp", "-o", "custom-columns=ORDER,NAME,LABELS").output.split()
    assert shown[:5] == ["ORDER", "NAME", "LABELS", "5", "web"]
    wrong = calicoctl("get", "gnp", "-o", "custom-columns=NMAE")
    assert "unknown output column NMAE" in wrong.output
    assert "ORDER" in wrong.output
    assert "is not supported" in calicoctl("get", "gnp", "-o", "ymal").output


@pytest.mark.parametrize("name", ["Web", "a_b", "-a", "a..b", "a" * 254])
def test_new_objects_have_names_that_upstream_accepts(calicoctl: Calicoctl, name: str) -> None:
    result = calicoctl("create", "-f", "-", text=POLICY.replace("name: web", f"name: '{name}'"))
    assert result.exit_code == 1
    assert name in result.output


def test_a_watch_shows_what_is_there_and_then_changes(
    calicoctl: Calicoctl, etcd: EtcdClient
) -> None:
    class UntilDeleted(Printer):
        def print(self, event: str, row: Row) -> None:
            seen.append((event, row["metadata"]["name"]))
            if event == "DELETED":
                raise KeyboardInterrupt
            assert calicoctl("delete", "gnp", "web").exit_code == 0

    seen: list[tuple[str, str]] = []
    prefix = prefix_of("GlobalNetworkPolicy")
    follow(etcd, prefix, (), lambda resource: True, UntilDeleted("name", ()))
    assert seen == [("ADDED", "web"), ("DELETED", "web")]


NODE_STATUS = """
apiVersion: projectcalico.org/v3
kind: CalicoNodeStatus
metadata: {name: asked}
spec: {node: compute-1, classes: [Agent, BGP], updatePeriodSeconds: 10}
"""


def test_a_host_is_asked_for_its_status_and_what_it_tells_survives_an_edit(
    calicoctl: Calicoctl, etcd: EtcdClient
) -> None:
    assert calicoctl("create", "-f", "-", text=NODE_STATUS).exit_code == 0
    key = f"{prefix_of('CalicoNodeStatus')}asked"
    stored = etcd.get(key)
    assert stored is not None
    told = {**json.loads(stored.value), "status": {"bgp": {"numberEstablishedV4": 2}}}
    etcd.put(key, json.dumps(told).encode())
    patched = calicoctl("patch", "nodestatus", "asked", "-p", '{"spec": {"classes": ["BGP"]}}')
    assert patched.exit_code == 0, patched.output
    assert calicoctl("apply", "-f", "-", text=NODE_STATUS).exit_code == 0
    shown = json.loads(calicoctl("get", "nodestatuses", "asked", "-o", "json").output)
    assert shown["spec"]["classes"] == ["Agent", "BGP"]
    assert shown["status"] == told["status"]
    assert "asked   compute-1   Agent,BGP" in calicoctl("get", "nodestatus", "-o", "wide").output


def test_what_is_wrong_with_a_patch_is_told_of_one_name(calicoctl: Calicoctl) -> None:
    assert calicoctl("create", "-f", "-", text=NODE_STATUS).exit_code == 0
    wrong = '{"spec": {"updatePeriodSeconds": -1}}'
    result = calicoctl("patch", "nodestatus", "asked", "-p", wrong)
    assert result.output == (
        "CalicoNodeStatus(asked): error with the following fields:\n"
        "-  spec.updatePeriodSeconds: -1 is not within 0 to 86400\n"
    )
