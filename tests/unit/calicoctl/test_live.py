"""What is drawn on a terminal, seen as the terminal shows it."""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.calicoctl.live import fitted, page
from calico_openstack.calicoctl.top.screen import arranged

PROGRAM = """
import sys
from calico_openstack.calicoctl.live import Screen
drawn = 0
def content(columns, rows):
    global drawn
    drawn += 1
    return [f"{columns}x{rows} drawn {drawn}", *map(str, range(1000)), "last"]
with Screen(content) as screen:
    while True:
        screen.draw()
        key = screen.wait(600)
        if key == "q":
            sys.exit(7)
"""
_PARTS = re.compile(r"\x1b\[([?0-9;]*)([a-zA-Z])|\r\n|\r|\n|[^\x1b\r\n]+")


class Shown:
    """What a terminal shows, and what it was told besides."""

    def __init__(self, columns: int, rows: int) -> None:
        self.rows = [""] * rows
        self.columns = columns
        self.modes: set[str] = set()
        self.row = self.column = self.scrolled = 0

    def take(self, text: str) -> None:
        for part in _PARTS.finditer(text):
            self._one(part[0], part[1] or "", part[2] or "")

    def _one(self, part: str, parameters: str, command: str) -> None:
        if command in ("h", "l"):
            (self.modes.add if command == "h" else self.modes.discard)(parameters)
        elif command == "H":
            self.row = self.column = 0
        elif command == "K":
            self.rows[self.row] = self.rows[self.row][: self.column]
        elif command == "J":
            self.rows[self.row + 1 :] = [""] * (len(self.rows) - self.row - 1)
        elif part == "\r\n":
            self.column = 0
            self.row += 1
            if self.row == len(self.rows):
                self.scrolled += 1
                self.row -= 1
        elif part == "\r":
            self.column = 0
        elif part.startswith("\x1b"):
            raise AssertionError(part)
        else:
            old = self.rows[self.row]
            self.rows[self.row] = old[: self.column] + part + old[self.column + len(part) :]
            self.column += len(part)
            assert self.column <= self.columns


LINES = st.lists(st.text(max_size=30), max_size=12)


@given(LINES, LINES, st.integers(1, 20), st.integers(1, 8))
def test_a_page_is_what_is_shown_whatever_was_before(
    before: list[str], after: list[str], columns: int, rows: int
) -> None:
    shown = Shown(columns, rows)
    shown.take(page(before, columns, rows))
    shown.take(page(after, columns, rows))
    expected = fitted(after, columns, rows)
    assert shown.rows == expected + [""] * (rows - len(expected))
    assert shown.scrolled == 0


@given(LINES, LINES, LINES, st.integers(0, 30))
def test_a_screen_has_room_for_some_of_everything(
    hosts: list[str], ports: list[str], drops: list[str], rows: int
) -> None:
    lines = arranged(hosts, ports, drops, rows)
    assert len(lines) <= rows
    if len(hosts) + len(ports) + len(drops) <= rows and len(drops) <= max(1, rows // 4):
        assert lines == [*hosts, *ports, *drops]
    if rows > 3 and drops:
        assert lines[-1] == drops[-1]


class Running:
    """The program in a terminal of its own."""

    def __init__(self, columns: int, rows: int) -> None:
        self.master, slave = os.openpty()
        self.resize(columns, rows)
        self.before = termios.tcgetattr(slave)
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM], stdin=slave, stdout=slave, start_new_session=True
        )
        self.slave = slave
        self.shown = Shown(columns, rows)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.shown = Shown(columns, rows)

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, self.shown.rows
            if select.select([self.master], [], [], 0.1)[0]:
                self.shown.take(os.read(self.master, 1 << 16).decode())

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def running() -> Iterator[Running]:
    made = Running(40, 6)
    yield made
    made.close()


def ended(running: Running) -> int:
    """Return the exit status; the terminal must be as it was before."""
    running.until(lambda: running.process.poll() is not None)
    running.until(lambda: "?1049" not in running.shown.modes)
    assert "?25" in running.shown.modes
    assert termios.tcgetattr(running.slave)[3] == running.before[3]
    return running.process.wait()


@pytest.mark.parametrize("key", [b"q", b"\x03", b"\x04", b"\x1b"])
def test_keys_quit_and_the_terminal_is_as_before(running: Running, key: bytes) -> None:
    running.until(lambda: running.shown.rows[-1] == "4")
    assert running.shown.rows[0] == "40x6 drawn 1"
    os.write(running.master, b"x")
    running.until(lambda: running.shown.rows[0] == "40x6 drawn 2")
    os.write(running.master, key)
    assert ended(running) == 7


def test_a_terminal_of_another_size_is_drawn_anew(running: Running) -> None:
    running.until(lambda: running.shown.rows[-1] == "4")
    running.resize(12, 3)
    running.until(lambda: running.shown.rows[-1] == "1")
    assert running.shown.rows[0] == "12x3 drawn 2"


def test_who_is_told_to_end_gives_the_terminal_back(running: Running) -> None:
    running.until(lambda: running.shown.rows[-1] == "4")
    running.process.send_signal(signal.SIGTERM)
    assert ended(running) == 143
