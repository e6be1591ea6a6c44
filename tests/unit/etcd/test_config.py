"""EtcdConfig: what is accepted as an endpoint, and what is not."""

from __future__ import annotations

import pytest

from calico_openstack.etcd import EtcdConfig
from calico_openstack.etcd.config import Endpoint


@pytest.mark.parametrize(
    ("url", "target", "tls"),
    [
        ("http://127.0.0.1:2379", "127.0.0.1:2379", False),
        ("https://etcd.example:4001/", "etcd.example:4001", True),
        ("http://[2001:db8::1]:2379", "[2001:db8::1]:2379", False),
        ("http://[2001:db8::1]", "[2001:db8::1]:2379", False),
        ("http://host", "host:2379", False),
        ("host:99", "host:99", False),
    ],
)
def test_endpoint(url: str, target: str, tls: bool) -> None:
    assert EtcdConfig(endpoints=(url,)).targets() == (Endpoint(target, tls),)


def test_endpoint_without_scheme_uses_tls_when_files_are_given() -> None:
    assert EtcdConfig(endpoints=("host:99",), ca_file="/ca").targets() == (
        Endpoint("host:99", True),
    )


@pytest.mark.parametrize(
    "url", ["", "ftp://host:1", "http://", "http://host:port", "http://host:70000", "http://a/b"]
)
def test_unusable_endpoint_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="etcd endpoint"):
        EtcdConfig(endpoints=(url,))


def test_certificate_without_key_is_refused() -> None:
    with pytest.raises(ValueError, match="key"):
        EtcdConfig(cert_file="/cert")


def test_no_endpoint_is_refused() -> None:
    with pytest.raises(ValueError, match="endpoint"):
        EtcdConfig(endpoints=())
