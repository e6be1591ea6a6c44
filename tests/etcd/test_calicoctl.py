"""calicoctl against a real etcd, as an operator calls it."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from click.testing import Result

from calico_openstack.etcd import EtcdClient
from tests.support.calicoctl import Calicoctl, calicoctl_with

POLICY = """
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: web, namespace: openstack}
spec:
  selector: role == 'web'
  ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]
"""
KEY = "/calico/resources/v3/projectcalico.org/networkpolicies/openstack/web"


@pytest.fixture
def calicoctl(etcd: EtcdClient, tmp_path: Path) -> Calicoctl:
    plain = calicoctl_with(etcd)
    file = tmp_path / "policy.yaml"
    file.write_text(POLICY)

    def run(*arguments: str, text: str = "") -> Result:
        words = [str(file) if word == "FILE" else word for word in arguments]
        return plain(*words, text=text)

    return run


def test_an_applied_policy_is_stored_as_upstream_stores_it(
    calicoctl: Calicoctl, etcd: EtcdClient
) -> None:
    assert "Successfully applied 1 'NetworkPolicy'" in calicoctl("apply", "-f", "FILE").output
    stored = json.loads(etcd.get(KEY).value)
    assert stored["metadata"]["annotations"] == {"projectcalico.org/metadata": '{"name":"web"}'}
    assert stored["metadata"]["labels"] == {"projectcalico.org/tier": "default"}
    assert stored["spec"]["types"] == ["Ingress"]
    assert "resourceVersion" not in stored["metadata"]
    tiers = calicoctl("get", "tiers", "-o", "name").output.split()
    assert tiers == ["tiers/default", "tiers/kube-admin", "tiers/kube-baseline"]


def test_what_is_read_can_be_edited_and_applied(calicoctl: Calicoctl, etcd: EtcdClient) -> None:
    calicoctl("apply", "-f", "FILE")
    before = json.loads(etcd.get(KEY).value)
    shown = calicoctl("get", "np", "web", "-n", "openstack", "-o", "yaml").output
    edited = shown.replace("- 80", "- 443")
    assert calicoctl("apply", "-f", "-", text=edited).exit_code == 0
    after = json.loads(etcd.get(KEY).value)
    before["spec"]["ingress"][0]["destination"]["ports"] = [443]
    assert after == before


def test_a_stale_version_is_a_conflict(calicoctl: Calicoctl, etcd: EtcdClient) -> None:
    calicoctl("apply", "-f", "FILE")
    shown = calicoctl("get", "np", "web", "-n", "openstack", "-o", "yaml").output
    calicoctl("apply", "-f", "FILE")
    result = calicoctl("replace", "-f", "-", text=shown)
    assert "update conflict: NetworkPolicy(openstack/web)" in result.output


def test_create_twice_and_delete_twice(calicoctl: Calicoctl) -> None:
    assert calicoctl("create", "-f", "FILE").exit_code == 0
    assert "already exists" in calicoctl("create", "-f", "FILE").output
    assert calicoctl("create", "--skip-exists", "-f", "FILE").exit_code == 0
    assert calicoctl("delete", "np", "web", "-n", "openstack").exit_code == 0
    assert "does not exist" in calicoctl("delete", "np", "web", "-n", "openstack").output
    assert calicoctl("delete", "-s", "np", "web", "-n", "openstack").exit_code == 0


def test_an_invalid_object_in_etcd_is_reported_and_the_others_are_shown(
    calicoctl: Calicoctl, etcd: EtcdClient
) -> None:
    calicoctl("apply", "-f", "FILE")
    etcd.put(KEY.replace("/web", "/broken"), b"{not json")
    result = calicoctl("get", "np", "-n", "openstack", "-o", "name")
    assert "networkpolicies/web" in result.output
    assert "/broken: " in result.output


@pytest.mark.parametrize("words", [("ipam", "check"), ("ipam", "show"), ("map",)])
@pytest.mark.parametrize("value", [b"{", b"\xff", b"[" * 100_000, b'{"cidr": "10.65.0.0/24"}'])
def test_a_subnet_that_cannot_be_read_is_reported_and_does_no_harm(
    calicoctl: Calicoctl, etcd: EtcdClient, words: tuple[str, ...], value: bytes
) -> None:
    etcd.put("/calico/dhcp/v2/no-region/subnet/broken", value)
    result = calicoctl(*words)
    assert result.exit_code == 0, result.output
    assert "invalid: /calico/dhcp/v2/no-region/subnet/broken: " in result.stderr


def test_what_a_file_names_is_shown_as_it_is_stored(calicoctl: Calicoctl) -> None:
    calicoctl("apply", "-f", "FILE")
    text = f"{POLICY}---\n{{apiVersion: projectcalico.org/v3, kind: Tier, metadata: {{name: no}}}}"
    result = calicoctl("get", "-f", "-", "-o", "name", text=text)
    assert result.output.splitlines()[0] == "networkpolicies/web"
    assert "resource does not exist: Tier(no)" in result.output
    assert result.exit_code == 1
    shown = calicoctl("get", "-f", "FILE", "-o", "json").output
    assert json.loads(shown)["metadata"]["uid"]


def test_a_go_template_is_refused_with_an_alternative(calicoctl: Calicoctl) -> None:
    result = calicoctl("get", "nodes", "-o", "go-template={{range .}}{{end}}")
    assert result.exit_code == 1
    assert "custom-columns" in result.output


def test_cluster_diags_hold_everything_but_secrets(
    calicoctl: Calicoctl, etcd: EtcdClient, tmp_path: Path
) -> None:
    calicoctl("apply", "-f", "FILE")
    etcd.put("/calico/resources/v3/projectcalico.org/tiers/bad", b"{")
    etcd.put("/calico/felix/v2/no-region/host/compute-1/status", b'{"password": "hidden-word"}')
    result = calicoctl("cluster", "diags", "--output-dir", str(tmp_path), "--focus-nodes", "none")
    assert result.exit_code == 0, result.output
    (path,) = tmp_path.glob("calico-diagnostics-*.tar.gz")
    with tarfile.open(path) as tar:
        files = {
            member.name.partition("/")[2]: (tar.extractfile(member) or io.BytesIO()).read().decode()
            for member in tar
        }
    assert "role == 'web'" in files["resources/networkpolicies.yaml"]
    assert "tiers/bad" in files["resources/invalid"]
    assert "compute-1/status" in files["etcd/other_keys"]
    assert "no answer" in files["hosts/none/calico-felix/error"]
    assert "none: no Felix was ever seen" in files["doctor"]
    assert not any("hidden-word" in text for text in files.values())


@pytest.mark.parametrize(
    ("words", "status"),
    [("doctor --no-neutron --node compute-3", 2), ("show --node compute-3 problems", 1)],
)
def test_hosts_of_a_similar_name_are_told(
    calicoctl: Calicoctl, etcd: EtcdClient, words: str, status: int
) -> None:
    for host in ("compute-1", "compute-2", "controller"):
        etcd.put(f"/calico/felix/v2/no-region/host/{host}/status", b"{}")
    result = calicoctl(*words.split())
    assert result.exit_code == status
    assert "id you mean compute-2 or compute-1?" in result.output
