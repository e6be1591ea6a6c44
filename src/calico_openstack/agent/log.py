"""Log lines: one format for all agents, several sinks, and no sink that can stop the agent.

A line looks like ``2026-08-22 09:30:00.123 [INFO][4711] felix/agent.py 120: Message key="value"``.
"""

from __future__ import annotations

import atexit
import datetime
import logging
import logging.handlers
import queue
import re
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

QUEUE_SIZE: Final = 1000
FLUSH_TIMEOUT: Final = 2.0

_LEVELS: Final = {
    "TRACE": logging.DEBUG,
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARNING": logging.WARNING,
    "ERROR": logging.ERROR,
    "FATAL": logging.CRITICAL,
}
_NAMES: Final = {logging.CRITICAL: "FATAL"}


def level_number(name: str) -> int | None:
    """Return the number of a severity's name, None for ``none``; raises ValueError."""
    upper = name.upper()
    if upper in ("", "NONE"):
        return None
    if upper not in _LEVELS:
        raise ValueError(f"{name!r} is none of {', '.join(_LEVELS)}")
    return _LEVELS[upper]


def fields(**values: object) -> Mapping[str, object]:
    """Return the *extra* argument that adds ``key="value"`` pairs to a line."""
    return {"fields": values}


def _quoted(value: object) -> str:
    text = str(value)
    if len(text) > 2000:
        text = f"{text[:2000]}... ({len(text)} characters)"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return '"' + escaped.encode("utf-8", "backslashreplace").decode() + '"'


class LineFormatter(logging.Formatter):
    """Formats a record as one line; *prefix* is the program's short name.

    With *stamped* False, the time and process id are left out: syslog adds its own.
    """

    def __init__(self, prefix: str, *, stamped: bool = True) -> None:
        super().__init__()
        self._prefix = prefix
        self._stamped = stamped

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with the traceback below it if there is one."""
        level = _NAMES.get(record.levelno, record.levelname)
        message = record.getMessage().replace("\n", "\\n")
        message = message.encode("utf-8", "backslashreplace").decode()
        pairs: Mapping[str, object] = getattr(record, "fields", {})
        text = "".join(f" {key}={_quoted(value)}" for key, value in sorted(pairs.items()))
        line = f"{self._prefix}/{record.filename} {record.lineno}: {message}{text}"
        if self._stamped:
            moment = datetime.datetime.fromtimestamp(record.created).astimezone()
            stamp = moment.strftime("%Y-%m-%d %H:%M:%S")
            line = f"{stamp}.{moment.microsecond // 1000:03d} [{level}][{record.process}] {line}"
        else:
            line = f"[{level}] {line}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class Sink(logging.Handler):
    """Hands records to a thread that writes; drops and counts them when it cannot keep up."""

    def __init__(self, writer: logging.Handler, level: int, formatter: logging.Formatter) -> None:
        super().__init__(level)
        self._records: queue.SimpleQueue[logging.LogRecord | None] = queue.SimpleQueue()
        self._writer = writer
        self._closed = False
        self.dropped = 0
        self.errors = 0
        writer.setFormatter(formatter)
        # A full disk or a syslog that went away is no reason for tracebacks on standard error.
        writer.handleError = self._count_error  # type: ignore[method-assign]
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    def emit(self, record: logging.LogRecord) -> None:
        """Queue the record if there is room."""
        if self._records.qsize() >= QUEUE_SIZE:
            self.dropped += 1
            return
        # The arguments may change before the thread comes to it.
        record.msg, record.args = record.getMessage(), None
        self._records.put(record)

    def close(self) -> None:
        """Write what is queued, as far as that is possible in a moment."""
        if not self._closed:
            self._closed = True
            atexit.unregister(self.close)
            self._records.put(None)
            self._thread.join(FLUSH_TIMEOUT)
        super().close()

    def _count_error(self, record: logging.LogRecord) -> None:
        self.errors += 1

    def _write(self) -> None:
        while (record := self._records.get()) is not None:
            self._writer.handle(record)


class LogSettings(Struct, frozen=True):
    """Where to log, and from which severity on; names as in `level_number`.

    *file_path* "" or "none" means no file. With *debug_files*, a regular expression, lines of the
    least severity come from source files only whose names it is found in.
    """

    screen: str = "INFO"
    file: str = "INFO"
    file_path: str = ""
    system: str = "NONE"
    debug_files: str = ""


def _only_from(files: re.Pattern[str]) -> Callable[[logging.LogRecord], bool]:
    """Return a filter of debug lines by the files that they come from."""
    return lambda record: record.levelno > logging.DEBUG or bool(files.search(record.filename))


def configure(program: str, settings: LogSettings) -> None:
    """Set up the sinks, replacing those of an earlier call.

    *program* is the process's name (``calico-felix``); lines carry it without ``calico-``. Raises
    OSError when the log file cannot be opened, ValueError for an unknown severity.
    """
    prefix = program.removeprefix("calico-")
    sinks: list[Sink] = []
    screen = level_number(settings.screen)
    if screen is not None:
        sinks.append(Sink(logging.StreamHandler(sys.stdout), screen, LineFormatter(prefix)))
    file = level_number(settings.file)
    if file is not None and settings.file_path and settings.file_path.lower() != "none":
        path = Path(settings.file_path)
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        writer = logging.handlers.WatchedFileHandler(path, encoding="utf-8")
        sinks.append(Sink(writer, file, LineFormatter(prefix)))
    system = level_number(settings.system)
    unreachable = ""
    if system is not None:
        handler = logging.handlers.SysLogHandler("/dev/log")
        handler.ident = f"{program}: "
        # It connects lazily and complains about every line; one complaint is enough.
        if Path("/dev/log").is_socket():
            sinks.append(Sink(handler, system, LineFormatter(prefix, stamped=False)))
        else:
            unreachable = "there is no /dev/log"
            handler.close()
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
        old.close()
    for sink in sinks:
        if settings.debug_files:
            sink.addFilter(_only_from(re.compile(settings.debug_files)))
        root.addHandler(sink)
    root.setLevel(min((sink.level for sink in sinks), default=logging.CRITICAL))
    if unreachable:
        root.error("Cannot reach syslog: %s", unreachable)


def dropped_lines() -> int:
    """Return how many lines were dropped because a sink could not keep up."""
    return sum(h.dropped for h in logging.getLogger().handlers if isinstance(h, Sink))


def failed_lines() -> int:
    """Return how many lines a sink could not write."""
    return sum(h.errors for h in logging.getLogger().handlers if isinstance(h, Sink))
