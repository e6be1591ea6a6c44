"""The file that tells the host's MTU."""

from __future__ import annotations

from pathlib import Path

from calico_openstack.felix.kernel.interfaces import Interface
from calico_openstack.felix.mtu import MtuFile


def interfaces(**mtus: int) -> dict[str, Interface]:
    return {
        name: Interface(name=name, index=number, up=True, mac=b"", mtu=mtu, since=0.0)
        for number, (name, mtu) in enumerate(mtus.items())
    }


def test_it_has_the_smallest_mtu_of_the_uplinks(tmp_path: Path) -> None:
    path = tmp_path / "new" / "mtu"
    file = MtuFile(path, "^eth")
    assert file.update(interfaces(lo=65536, eth0=9000, eth1=1500, tap1=1000))
    assert path.read_text() == "1500\n"
    file.follow({"tap1"}, interfaces(eth0=9000))
    assert path.read_text() == "1500\n"
    file.follow({"eth1"}, interfaces(eth0=9000))
    assert path.read_text() == "9000\n"
    assert [each.name for each in path.parent.iterdir()] == ["mtu"]


def test_it_says_when_it_cannot(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert not MtuFile(tmp_path / "file" / "mtu", "^eth").update(interfaces(eth0=1500))
    assert not MtuFile(tmp_path / "mtu", "^eth").update(interfaces(lo=65536))
    assert not MtuFile(None, "^eth").update(interfaces(eth0=1500))
