"""Names of hosts and domains (RFC 1123). Pure."""

from __future__ import annotations

import re
from typing import Final

_LABEL: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_MAX_NAME: Final = 253


def is_domain_name(text: str) -> bool:
    """Tell whether *text*, without final dot, is a host's or domain's name."""
    return len(text) <= _MAX_NAME and all(_LABEL.fullmatch(part) for part in text.split("."))
