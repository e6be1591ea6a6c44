"""Names by which Neutron's driver says in etcd what Calico has no field for.

Writers and readers share them: the driver, the DHCP agent, calicoctl. Those of labels and policies
are upstream's (networking-calico), and operators' own policies select by them.
"""

from __future__ import annotations

from typing import Final

GROUP_LABEL: Final = "sg.projectcalico.org/openstack-"
"""Before a security group's id: a label of its members, whose value is the group's name."""

GROUP_NAME_LABEL: Final = "sg-name.projectcalico.org/openstack-"
"""Before a security group's name: a label of its members, whose value is the group's id."""

GROUP_POLICY: Final = "ossg.default."
"""Before a security group's id: the name of its policy."""

NETWORK_ANNOTATION: Final = "openstack.projectcalico.org/network-id"
FQDN_ANNOTATION: Final = "openstack.projectcalico.org/fqdn"

PORT_NAME_ANNOTATION: Final = "openstack.projectcalico.org/port-name"
"""Not known to upstream: a port's name, as users wrote it, only where it has one. For people."""

GUEST_NAME_ANNOTATION: Final = "openstack.projectcalico.org/dns-name"
"""Not known to upstream: a port's DNS name without a domain, for which Nova writes the server's
host name, only where the port has one. For people."""

PROJECT_ID_LABEL: Final = "projectcalico.org/openstack-project-id"
PROJECT_NAME_LABEL: Final = "projectcalico.org/openstack-project-name"
NETWORK_NAME_LABEL: Final = "projectcalico.org/openstack-network-name"

DHCP_OPTIONS_ANNOTATION: Final = "openstack.projectcalico.org/extra-dhcp-opts"
"""Not known to upstream: a JSON list of objects with the members name, value and ipVersion (4 or
6), only where the port has extra DHCP options."""
