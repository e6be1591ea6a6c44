"""What ``node checksystem`` finds on hosts made of files."""

from __future__ import annotations

from pathlib import Path

import pytest

from calico_openstack.calicoctl.system_check import FAIL, OK, System, findings


def _host(root: Path, release: str = "6.1.0-1-amd64", forwarding: str = "1") -> Path:
    files = {
        "proc/sys/kernel/osrelease": f"{release}\n",
        "proc/sys/net/ipv4/ip_forward": f"{forwarding}\n",
        f"lib/modules/{release}/modules.dep": "kernel/net/netfilter/nf_tables.ko.xz: a.ko\n"
        "kernel/net/netfilter/nft_nat.ko:\nkernel/net/nft_chain_nat.ko.zst: nf_nat.ko.zst\n",
        f"lib/modules/{release}/modules.builtin": "kernel/net/netfilter/nf-conntrack.ko\n",
        f"boot/config-{release}": "CONFIG_NFT_CT=m\n# CONFIG_IFB is not set\n",
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "sys/module/nf_conntrack_netlink").mkdir(parents=True)
    return root


def test_every_kind_of_evidence_counts(tmp_path: Path) -> None:
    found = list(findings(System(_host(tmp_path))))
    assert not [finding for finding in found if finding.result == FAIL]
    results = {finding.subject: finding.result for finding in found}
    assert results["nf_tables"] == results["nf_conntrack"] == results["nft_ct"] == OK
    assert results["ifb"] != OK


@pytest.mark.parametrize(("release", "result"), [("5.5.9", FAIL), ("5.10.0", OK), ("x", FAIL)])
def test_old_kernels_are_refused(tmp_path: Path, release: str, result: str) -> None:
    assert next(findings(System(_host(tmp_path, release)))).result == result


def test_a_host_without_anything_fails_without_an_error(tmp_path: Path) -> None:
    found = list(findings(System(tmp_path)))
    assert sum(finding.result == FAIL for finding in found) > 5
    assert all(finding.remedy for finding in found if finding.result == FAIL)


def test_forwarding_that_is_off_is_mentioned(tmp_path: Path) -> None:
    found = findings(System(_host(tmp_path, forwarding="0")))
    (finding,) = [finding for finding in found if finding.subject == "net.ipv4.ip_forward"]
    assert "set it to 1" in finding.remedy
