"""Reads the rules of QoS policies."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from neutron.db.qos import models

from calico_openstack.neutron.queries import reader, retried, rows
from calico_openstack.neutron.translate.facts import QosFacts, QosRuleFacts
from calico_openstack.neutron.translate.qos import (
    BANDWIDTH_LIMIT,
    DSCP_MARKING,
    PACKET_RATE_LIMIT,
)

_Rules = dict[str, list[QosRuleFacts]]


@retried
def read_policy(policy_id: str) -> QosFacts:
    """Return the rules of a policy, none for one that does not exist."""
    with reader() as connection:
        return policies(connection, {policy_id}).get(policy_id, QosFacts())


def policies(connection: Any, ids: Collection[str]) -> dict[str, QosFacts]:
    """Return the rules of policies by id; policies without rules are missing."""
    result: _Rules = defaultdict(list)
    if not ids:
        return {}
    bandwidth, packets = models.QosBandwidthLimitRule, models.QosPacketRateLimitRule
    for kind, table, columns in (
        (BANDWIDTH_LIMIT, bandwidth, (bandwidth.max_kbps, bandwidth.max_burst_kbps)),
        (PACKET_RATE_LIMIT, packets, (packets.max_kpps, packets.max_burst_kpps)),
    ):
        statement = sa.select(table.qos_policy_id, table.direction, *columns)
        for row in rows(connection, statement, table.qos_policy_id, ids):
            rule = QosRuleFacts(kind, str(row[1]), int(row[2] or 0), int(row[3] or 0))
            result[row[0]].append(rule)
    dscp = models.QosDscpMarkingRule
    statement = sa.select(dscp.qos_policy_id, dscp.dscp_mark)
    for row in rows(connection, statement, dscp.qos_policy_id, ids):
        result[row[0]].append(QosRuleFacts(DSCP_MARKING, dscp_mark=row[1]))
    for kind, table in (
        ("minimum_bandwidth", models.QosMinimumBandwidthRule),
        ("minimum_packet_rate", models.QosMinimumPacketRateRule),
    ):
        for row in rows(connection, sa.select(table.qos_policy_id), table.qos_policy_id, ids):
            result[row[0]].append(QosRuleFacts(kind))
    return {policy: QosFacts(tuple(sorted(found, key=repr))) for policy, found in result.items()}
