"""The name that Neutron gives a port. Pure."""

from __future__ import annotations

DEFAULT_DOMAIN = "openstacklocal."


def port_fqdn(name: str, port_domain: str, address: str, configured_domain: str) -> str:
    """Return the fully qualified name of a port's address, as Neutron's ``dns_assignment`` has it.

    ``name`` and ``port_domain`` are the port's own, maybe empty; ``configured_domain`` is the
    cloud's. Users' names count only where operators have configured a domain.
    """
    domain = configured_domain
    if domain and not domain.endswith("."):
        domain += "."
    if name and domain and domain != DEFAULT_DOMAIN:
        return name if name.endswith(".") else f"{name}.{port_domain or domain}"
    host = "host-" + address.replace(".", "-").replace(":", "-")
    return f"{host}.{domain}" if domain else host
