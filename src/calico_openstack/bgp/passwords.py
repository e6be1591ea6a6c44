"""Passwords of BGP sessions, from files: ``<directory>/<secret>/<key>``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from calico_openstack.bgp.settings import SecretRef


@dataclass(frozen=True, slots=True)
class Passwords:
    """Those that could be read, and why the others could not."""

    found: dict[SecretRef, str] = field(default_factory=dict)
    faults: dict[SecretRef, str] = field(default_factory=dict)


def read_passwords(directory: Path, wanted: Iterable[SecretRef]) -> Passwords:
    """Read passwords; one line end at the end of a file does not belong to the password.

    What cannot be read is left out, so that its session stays closed.
    """
    passwords = Passwords()
    for secret in sorted(wanted):
        if not (_is_file_name(secret.name) and _is_file_name(secret.key)):
            passwords.faults[secret] = "its name cannot be that of a file"
            continue
        try:
            text = (directory / secret.name / secret.key).read_text(encoding="utf-8")
        except (OSError, UnicodeError) as error:
            passwords.faults[secret] = str(error)
            continue
        passwords.found[secret] = text.removesuffix("\n").removesuffix("\r")
    return passwords


def _is_file_name(text: str) -> bool:
    """Whether *text* names an entry of a directory, and nothing outside of it."""
    return bool(text) and text not in (".", "..") and "/" not in text and "\0" not in text
