"""The QoS driver: which rules ports of this driver can have, and when they changed."""

from __future__ import annotations

from typing import Any

from neutron_lib import constants
from neutron_lib.api.definitions import portbindings
from neutron_lib.db import constants as db_constants
from neutron_lib.services.qos import base
from neutron_lib.services.qos import constants as qos

from calico_openstack.neutron.binding import VIF_TYPE
from calico_openstack.neutron.changes import Change, Kind
from calico_openstack.neutron.journal import Journal
from calico_openstack.neutron.translate.qos import MAX_KPPS

_DIRECTIONS = {"type:values": constants.VALID_DIRECTIONS}
_KBPS = {"type:range": [0, db_constants.DB_INTEGER_MAX_VALUE]}

SUPPORTED_RULES = {
    qos.RULE_TYPE_BANDWIDTH_LIMIT: {
        qos.MAX_KBPS: _KBPS,
        qos.MAX_BURST: _KBPS,
        qos.DIRECTION: _DIRECTIONS,
    },
    qos.RULE_TYPE_PACKET_RATE_LIMIT: {
        qos.MAX_KPPS: {"type:range": [0, MAX_KPPS]},
        qos.MAX_BURST_KPPS: {"type:range": [0, 0]},
        qos.DIRECTION: _DIRECTIONS,
    },
    qos.RULE_TYPE_DSCP_MARKING: {
        qos.DSCP_MARK: {"type:values": constants.VALID_DSCP_MARKS},
    },
}


class CalicoQosDriver(base.DriverBase):
    """Registers itself with the QoS service plugin, where that is loaded.

    Neutron refuses other rules for ports that are bound by this driver.
    """

    def __init__(self, journal: Journal) -> None:
        super().__init__("calico", [VIF_TYPE], [portbindings.VNIC_NORMAL], SUPPORTED_RULES)
        self._journal = journal

    def update_policy_precommit(self, context: Any, policy: Any) -> None:
        """Record a change of a policy's rules."""
        self._journal.record(context.session, {Change(Kind.QOS_POLICY, policy.id)})
