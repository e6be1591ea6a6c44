"""Log lines: the format, odd content, and sinks that cannot keep up."""

from __future__ import annotations

import logging
import re
import threading
from pathlib import Path

import pytest

from calico_openstack.agent import log


def record(message: str, *arguments: object, **values: object) -> logging.LogRecord:
    made = logging.LogRecord(
        "x", logging.INFO, "/src/felix/agent.py", 120, message, arguments, None
    )
    made.process = 4711
    made.__dict__.update(log.fields(**values))
    return made


def test_line() -> None:
    line = log.LineFormatter("felix").format(record("Took %d", 3, key="/a/b", count=2))
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \[INFO\]\[4711\] felix/agent\.py 120: "
        r'Took 3 count="2" key="/a/b"',
        line,
    )


def test_content_cannot_break_the_line() -> None:
    line = log.LineFormatter("felix").format(
        record("two\nlines \udcff", key='"quoted\\"\n\udc80', long="x" * 1_000_000)
    )
    assert "\n" not in line
    assert len(line) < 3000
    assert "1000000 characters" in line
    line.encode()


def test_line_for_syslog_has_no_stamp() -> None:
    line = log.LineFormatter("felix", stamped=False).format(record("Hello"))
    assert line == "[INFO] felix/agent.py 120: Hello"


def test_file_gets_lines_from_its_severity_on(tmp_path: Path) -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    root.handlers.clear()
    path = tmp_path / "made" / "felix.log"
    try:
        log.configure(
            "calico-felix",
            log.LogSettings(screen="none", file="warning", file_path=str(path)),
        )
        logging.getLogger("a").info("Not this")
        logging.getLogger("a").warning("This")
        for handler in root.handlers[:]:
            handler.close()
    finally:
        root.handlers[:], root.level = before
    lines = path.read_text().splitlines()
    assert len(lines) == 1
    assert lines[0].endswith(": This")


def test_unknown_severity_is_refused() -> None:
    assert log.level_number("none") is None
    assert log.level_number("Warning") == logging.WARNING
    with pytest.raises(ValueError, match="LOUD"):
        log.level_number("LOUD")


def test_a_sink_that_hangs_drops_lines_and_counts_them() -> None:
    class Stuck(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            released.wait(10)

    released = threading.Event()
    sink = log.Sink(Stuck(), logging.DEBUG, log.LineFormatter("x"))
    for _ in range(log.QUEUE_SIZE + 10):
        sink.handle(record("Hello"))
    assert sink.dropped > 0
    released.set()
    sink.close()


def test_debug_lines_may_be_of_some_files_only(tmp_path: Path) -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    root.handlers.clear()
    path = tmp_path / "felix.log"
    settings = {"screen": "none", "file": "debug", "file_path": str(path)}
    try:
        for files in ("agent.py", "test_log"):
            log.configure("calico-felix", log.LogSettings(**settings, debug_files=files))
            logging.getLogger("a").debug("Small for %s", files)
            logging.getLogger("a").info("Large for %s", files)
        for handler in root.handlers[:]:
            handler.close()
        found = re.findall(r"(?:Small|Large) for \S+", path.read_text())
        assert found == ["Large for agent.py", "Small for test_log", "Large for test_log"]
    finally:
        root.handlers[:], root.level = before
