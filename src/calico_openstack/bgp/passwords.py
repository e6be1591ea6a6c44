"""Passwords of BGP sessions, from files: ``<directory>/<secret>/<key>``."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from calico_openstack.bgp.settings import SecretRef

_log = logging.getLogger(__name__)


def read_passwords(directory: Path, wanted: Iterable[SecretRef]) -> dict[SecretRef, str]:
    """Return the passwords that can be read; one line end at the end does not belong to them.

    What cannot be read is left out, so that its session stays closed.
    """
    found = {}
    for secret in sorted(wanted):
        if not (_is_file_name(secret.name) and _is_file_name(secret.key)):
            _log.warning("The secret %r/%r cannot name a file", secret.name, secret.key)
            continue
        try:
            text = (directory / secret.name / secret.key).read_text(encoding="utf-8")
        except FileNotFoundError:
            continue  # reported with the session that it closes
        except (OSError, UnicodeError) as error:
            _log.warning("Cannot read the secret %s/%s: %s", secret.name, secret.key, error)
            continue
        found[secret] = text.removesuffix("\n").removesuffix("\r")
    return found


def _is_file_name(text: str) -> bool:
    """Whether *text* names an entry of a directory, and nothing outside of it."""
    return bool(text) and text not in (".", "..") and "/" not in text and "\0" not in text
