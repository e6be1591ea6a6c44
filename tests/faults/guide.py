"""The transcripts of the troubleshooting guide, and whether real output is like them.

A transcript shows only the lines that matter, in order; ``...`` stands for any text. WEB1 and DB1
stand for the ids of two ports, 10.65.0.11 and 10.65.0.12 for their addresses.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import Struct

GUIDE = Path(__file__).parents[2] / "docs" / "troubleshooting.md"
ANY = "..."


class Transcript(Struct, frozen=True):
    """A command, as words behind ``calicoctl``, and the lines that it must print."""

    words: tuple[str, ...]
    lines: tuple[str, ...]

    def missing(self, output: str) -> str:
        """Return the first line that *output* does not have in its place, "" if it has all."""
        printed = iter([line.rstrip() for line in output.splitlines()])
        for line in self.lines:
            pattern = ".*".join(re.escape(part) for part in line.split(ANY))
            if not any(re.fullmatch(pattern, each) for each in printed):
                return line
        return ""


def faults(text: str) -> Iterator[tuple[str, list[Transcript]]]:
    """Yield the title of each section that has transcripts, and these."""
    for section in re.split(r"^### ", text, flags=re.M)[1:]:
        title, _, body = section.partition("\n")
        body = re.split(r"^## ", body, flags=re.M)[0]
        found = [
            _transcript(part)
            for block in re.findall(r"^```console\n(.*?)^```$", body, re.M | re.S)
            for part in re.split(r"^\$ calicoctl ", block, flags=re.M)[1:]
        ]
        if found:
            yield title.strip(), found


def _transcript(text: str) -> Transcript:
    command, _, rest = text.partition("\n")
    lines = tuple(line.rstrip() for line in rest.splitlines() if line.strip() not in ("", ANY))
    return Transcript(tuple(shlex.split(command)), lines)


def renamed(text: str, names: Mapping[str, str]) -> str:
    """Return *text* with all keys of *names* replaced, the longest first."""
    for old in sorted(names, key=len, reverse=True):
        text = re.sub(rf"(?<![\w.]){re.escape(old)}(?![\w]|\.\d)", names[old], text)
    return text
