"""The ``[calico]`` section of neutron.conf."""

from __future__ import annotations

from typing import Any

import pytest
from oslo_config import cfg

from calico_openstack.neutron import options


def settings(**values: Any) -> options.Settings:
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[])
    options.register(conf)
    options.register(conf)
    for name, value in values.items():
        conf.set_override(name, value, group=options.GROUP)
    return options.read(conf)


def test_defaults() -> None:
    defaults = settings()
    assert defaults.etcd.endpoints == ("http://127.0.0.1:2379",)
    assert defaults.namespace == "openstack"
    assert defaults.region_string == "no-region"
    assert defaults.startup_resync == "auto"


def test_a_region() -> None:
    region = settings(openstack_region="north-1")
    assert region.namespace == "openstack-region-north-1"
    assert region.region_string == "region-north-1"


@pytest.mark.parametrize("region", ["North", "-a", "a-", "a_b", "a" * 47])
def test_a_region_that_is_none(region: str) -> None:
    with pytest.raises(ValueError, match="openstack_region"):
        settings(openstack_region=region)


def test_upstream_s_single_endpoint_with_tls() -> None:
    single = settings(
        etcd_host="fd00::1",
        etcd_port=2380,
        etcd_ca_cert_file="/ca",
        etcd_username="neutron",
        etcd_password="secret",
    )
    assert single.etcd.endpoints == ("https://[fd00::1]:2380",)
    assert single.etcd.ca_file == "/ca"
    assert single.etcd.username == "neutron"


def test_endpoints_win() -> None:
    several = settings(etcd_endpoints=["https://a:2379", "https://b:2379"], etcd_host="c")
    assert several.etcd.endpoints == ("https://a:2379", "https://b:2379")


def test_options_are_listed_for_the_sample_file() -> None:
    ((group, listed),) = options.list_options()
    assert group == "calico"
    assert all(option.help for option in listed)
