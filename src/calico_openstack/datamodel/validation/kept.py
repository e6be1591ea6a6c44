"""Checks of kinds that decide nothing here."""

from __future__ import annotations

from calico_openstack.datamodel.kept import (
    LONGEST_STATUS_PERIOD,
    STATUS_CLASSES,
    CalicoNodeStatus,
    IPReservation,
)
from calico_openstack.datamodel.resource import Resource
from calico_openstack.datamodel.validation.findings import Findings
from calico_openstack.datamodel.validation.syntax import check_network


def check_node_status(findings: Findings, status: CalicoNodeStatus) -> None:
    """Check what a host is asked to tell."""
    spec = status.spec
    if not spec.node:
        findings.add("spec.node", "must name a host")
    for each in spec.classes:
        findings.require_one_of("spec.classes", each, STATUS_CLASSES)
    period = spec.update_period_seconds
    if period is None:
        findings.add("spec.updatePeriodSeconds", "must be given (seconds, 0 for never)")
    findings.require_within("spec.updatePeriodSeconds", period, 0, LONGEST_STATUS_PERIOD)


def check_ip_reservation(findings: Findings, reservation: IPReservation) -> None:
    """Check that addresses and networks are reserved."""
    reserved = reservation.spec.get("reservedCIDRs") or []
    if not isinstance(reserved, list):
        findings.add("spec.reservedCIDRs", "is not a list")
        return
    for each in reserved:
        if isinstance(each, str):
            check_network(findings, "spec.reservedCIDRs", each)
        else:
            findings.reject("spec.reservedCIDRs", each, "an address or network")


def check_nothing(findings: Findings, resource: Resource) -> None:
    """Check the envelope only: nobody here knows what is in it."""
    del findings, resource
