"""The text protocol of BIRD's control socket. Pure.

A line of a reply starts with four digits: ``0xxx`` success, ``1xxx`` table data, ``2xxx`` table
heads, ``8xxx`` refused at run time, ``9xxx`` syntax errors. A dash after the digits announces more
lines, a space ends the reply. A line that starts with a space continues the one before under its
code (BIRD's programmer's documentation, "Command line interface").
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

_CODED_LINE = re.compile(r"(\d{4})([ -])(.*)", re.DOTALL)
FIRST_ERROR_CODE = 8000


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a reply with the code it stands under."""

    code: int
    text: str


class ConfigureOutcome(Enum):
    """What BIRD made of ``configure``."""

    DONE = "reconfigured"
    IN_PROGRESS = "in progress"
    QUEUED = "queued"
    REFUSED = "refused"


_OUTCOMES = {
    3: ConfigureOutcome.DONE,
    4: ConfigureOutcome.IN_PROGRESS,
    5: ConfigureOutcome.QUEUED,
    17: ConfigureOutcome.QUEUED,
    18: ConfigureOutcome.DONE,
}


@dataclass(frozen=True, slots=True)
class ConfigureResult:
    """Outcome of ``configure`` with BIRD's own words."""

    outcome: ConfigureOutcome
    text: str

    @property
    def accepted(self) -> bool:
        """Whether the new configuration is, or is about to be, the one that runs."""
        return self.outcome is not ConfigureOutcome.REFUSED


def parse_lines(text: str) -> tuple[Line, ...]:
    """Split a complete reply into its lines; the final line is kept unless it is empty."""
    lines: list[Line] = []
    code = 0
    for raw in text.splitlines():
        match = _CODED_LINE.match(raw)
        if match:
            code = int(match[1])
            if match[3] or match[2] == "-":
                lines.append(Line(code, match[3]))
        elif not raw.startswith("+"):  # "+": BIRD's log, echoed to clients that asked for it
            lines.append(Line(code, raw[1:]))
    return tuple(lines)


def is_complete(text: str) -> bool:
    """Whether *text* ends with the final line of a reply."""
    if not text.endswith("\n"):
        return False
    last = text[text.rfind("\n", 0, -1) + 1 :]
    match = _CODED_LINE.match(last)
    return match is not None and match[2] == " "


def configure_result(lines: Iterable[Line]) -> ConfigureResult:
    """Judge the reply to ``configure``; anything not known as success counts as refused."""
    outcome = ConfigureOutcome.REFUSED
    texts = []
    for line in lines:
        texts.append(line.text)
        if line.code in _OUTCOMES:
            outcome = _OUTCOMES[line.code]
        elif line.code >= FIRST_ERROR_CODE:
            return ConfigureResult(ConfigureOutcome.REFUSED, line.text)
    return ConfigureResult(outcome, "; ".join(texts))
