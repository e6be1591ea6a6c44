"""Whether etcd is as Neutron's database wants it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from calico_openstack.calicoctl.doctor.findings import Finding, critical, warning
from calico_openstack.datamodel.comparison import LastComparison
from calico_openstack.datamodel.keys import RESOURCE_PREFIX

_SHOWN: Final = 3
# A clean comparison is told of once an hour only, and may be late by as much again.
_LATE: Final = 2 * 3600.0
_WORKERS: Final = "on Neutron's servers: systemctl status neutron-periodic-workers, and its log"


def judge(last: Mapping[str, LastComparison], now: float) -> Iterator[Finding]:
    """Yield what the comparisons of Neutron's driver, by region, have found lately."""
    for region, found in sorted(last.items()):
        subject = f"neutron {region}"
        moment = datetime.fromtimestamp(found.time, UTC).strftime("%Y-%m-%d %H:%M UTC")
        if found.error:
            text = f"etcd cannot be compared with its database ({moment}): {_first(found.error)}"
            yield critical(subject, text, _WORKERS)
        if found.contested:
            text = (
                f"{found.contested} key(s) in etcd are written by others too: {_some(found.keys)}"
            )
            remedy = "stop whoever else writes them; two clouds in one etcd need regions"
            yield critical(subject, text, remedy)
        elif found.differing and not found.reason:
            yield warning(
                subject,
                f"{found.differing} key(s) in etcd were not as in its database and were repaired "
                f"({moment}): {_some(found.keys)}",
                "nothing to do, unless it happens again: then see who else writes to etcd. On a "
                "server of Neutron, calico-resync --audit compares now",
            )
        if found.interval and now - found.time > found.interval + _LATE:
            text = f"etcd was last compared with its database at {moment}"
            yield warning(subject, text, _WORKERS)


def judge_audit(report: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what the report of ``calico-resync --audit`` says."""
    if report.get("error"):
        text = f"etcd cannot be compared with its database: {_first(str(report['error']))}"
        yield critical("neutron", text, "see whether its database can be reached from this host")
        return
    phases: Mapping[str, Mapping[str, Any]] = report.get("phases") or {}
    keys = [key for phase in phases.values() for key in phase.get("keys") or {}]
    if report.get("writes"):
        yield critical(
            "neutron",
            f"{report['writes']} key(s) in etcd are not as in its database: {_some(keys)}",
            "calico-resync on this host repairs them now; see the log of neutron-periodic-workers "
            "for why it did not",
        )
    problems = [text for phase in phases.values() for text in phase.get("problems") or ()]
    for text in dict.fromkeys(problems):
        yield warning("neutron", f"cannot be honoured: {text}", "correct it in Neutron")


def _first(error: str) -> str:
    """Return an error without the statements and advice that databases' errors have below."""
    return error.strip().partition("\n")[0]


def _some(keys: Sequence[str]) -> str:
    shown = ", ".join(key.removeprefix(RESOURCE_PREFIX) for key in keys[:_SHOWN])
    return f"{shown} and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else shown
