"""The processes' log files: their ends, and following them."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

_TAIL_BYTES = 1 << 18
_TELLING = re.compile(r"\b(CRITICAL|ERROR|FATAL|error|fatal|cannot)\b|Error\b")


def tail(path: Path, lines: int) -> list[str]:
    """The last lines of a file; none when it is not there."""
    try:
        with path.open("rb") as log:
            size = log.seek(0, 2)
            log.seek(max(0, size - _TAIL_BYTES))
            text = log.read().decode(errors="replace")
    except OSError:
        return []
    return text.splitlines()[-lines:] if lines else []


def last_words(path: Path, lines: int = 3) -> list[str]:
    """The last lines that speak of an error, or the last lines if none does."""
    end = tail(path, 200)
    return [line.strip() for line in end if _TELLING.search(line)][-lines:] or end[-lines:]


def follow(path: Path, *, interval: float = 0.2) -> Iterator[str]:
    """Yield what is written to a file from now on, for ever; it may be emptied meanwhile."""
    position = path.stat().st_size if path.exists() else 0
    while True:
        try:
            with path.open("rb") as log:
                if log.seek(0, 2) < position:
                    position = 0
                log.seek(position)
                data = log.read()
                position = log.tell()
        except OSError:
            data = b""
        if data:
            yield data.decode(errors="replace")
        else:
            time.sleep(interval)
