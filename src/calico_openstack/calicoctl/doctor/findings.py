"""What an examination yields: faults, each with its remedy. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import IntEnum

from msgspec import Struct


class Severity(IntEnum):
    """How bad something is; the values are the exit codes of monitoring plugins."""

    OK = 0
    WARNING = 1
    CRITICAL = 2


class Finding(Struct, frozen=True, omit_defaults=True):
    """A fault: who has it, what it is, and what to do about it."""

    severity: Severity
    subject: str
    text: str
    remedy: str = ""


def critical(subject: str, text: str, remedy: str) -> Finding:
    """Return a fault by which traffic is lost, or soon will be."""
    return Finding(Severity.CRITICAL, subject, text, remedy)


def warning(subject: str, text: str, remedy: str) -> Finding:
    """Return a fault that should be looked at."""
    return Finding(Severity.WARNING, subject, text, remedy)


def worst(found: Iterable[Finding]) -> Severity:
    """Return how bad all findings together are."""
    return max((each.severity for each in found), default=Severity.OK)


def lines(found: Iterable[Finding]) -> Iterator[str]:
    """Yield findings as text, the worst first; equal remedies are told once for each subject."""
    for finding in sorted(found, key=lambda each: (-each.severity, each.subject, each.text)):
        yield f"{finding.severity.name:<9}{finding.subject}: {finding.text}"
        if finding.remedy:
            yield f"         -> {finding.remedy}"
