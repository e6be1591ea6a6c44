"""calicoctl as a test runs it: in its own process, against its etcd."""

from __future__ import annotations

from collections.abc import Callable

from click.testing import CliRunner, Result

from calico_openstack.calicoctl.main import cli
from calico_openstack.etcd import EtcdClient

Calicoctl = Callable[..., Result]


def calicoctl_with(etcd: EtcdClient) -> Calicoctl:
    """Return what runs a command with its words as arguments, and *text* as what is typed."""
    environment = {"ETCD_ENDPOINTS": ",".join(etcd.config.endpoints), "CALICO_ETCD_ENDPOINTS": ""}

    def run(*arguments: str, text: str = "") -> Result:
        return CliRunner().invoke(cli, arguments, input=text, env=environment)

    return run
