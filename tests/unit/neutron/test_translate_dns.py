"""Names of ports are those that Neutron's API shows."""

from __future__ import annotations

import pytest

from calico_openstack.neutron.translate.dns import port_fqdn


@pytest.mark.parametrize(
    ("name", "port_domain", "address", "configured", "fqdn"),
    [
        ("", "", "10.28.0.13", "openstacklocal", "host-10-28-0-13.openstacklocal."),
        ("vm17", "", "10.28.0.13", "openstacklocal", "host-10-28-0-13.openstacklocal."),
        ("vm17", "", "10.28.0.13", "example.org", "vm17.example.org."),
        ("vm17", "", "10.28.0.13", "example.org.", "vm17.example.org."),
        ("vm17", "of.port.", "10.28.0.13", "example.org.", "vm17.of.port."),
        ("vm17.full.", "", "10.28.0.13", "example.org.", "vm17.full."),
        ("", "of.port.", "10.28.0.13", "example.org.", "host-10-28-0-13.example.org."),
        ("", "", "fd5f::d", "", "host-fd5f--d"),
    ],
)
def test_a_port_has_a_name(
    name: str, port_domain: str, address: str, configured: str, fqdn: str
) -> None:
    assert port_fqdn(name, port_domain, address, configured) == fqdn
