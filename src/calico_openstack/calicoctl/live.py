"""A terminal whose whole screen is drawn again and again, and given back as it was.

Lines are written over the old ones and the rest of each is cleared, so nothing flickers; the
escape sequences are those of xterm (ECMA-48), which all terminals in use know.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any, Final, Self

_ENTER: Final = "\x1b[?1049h\x1b[?25l"  # another screen; no cursor
_LEAVE: Final = "\x1b[?25h\x1b[?1049l"
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"
# Terminals that know it show all of a page at once; the others ignore it.
_BEGIN, _END = "\x1b[?2026h", "\x1b[?2026l"
_POLL: Final = 0.2
_USUAL: Final = (80, 24)
_QUIT: Final = frozenset("qQ\x03\x04\x1b")  # and ctrl-C, ctrl-D, escape
_TERMINATED: Final = 128 + signal.SIGTERM


def size() -> tuple[int, int]:
    """Return the columns and rows of the terminal of standard output, as it is now."""
    try:
        found = os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        return _USUAL
    return (found.columns or _USUAL[0], found.lines or _USUAL[1])


def fitted(lines: Iterable[str], columns: int, rows: int) -> list[str]:
    """Return what of *lines* a screen has room for; what is cut ends with an ellipsis."""
    found: list[str] = []
    for line in lines:
        if len(found) >= rows:
            break
        shown = "".join(letter if letter.isprintable() else "?" for letter in line)
        found.append(shown if len(shown) <= columns else shown[: max(0, columns - 1)] + "…")
    return found


def page(lines: Iterable[str], columns: int, rows: int) -> str:
    """Return what draws *lines* over whatever is on the screen."""
    drawn = f"{_REST_OF_LINE}\r\n".join(fitted(lines, columns, rows))
    return f"{_BEGIN}{_HOME}{drawn}{_REST_OF_LINE}{_REST_OF_SCREEN}{_END}"


class Screen:
    """The terminal of standard output, and the keys of standard input if that is one too.

    A context manager. *content* returns the lines for a number of columns and rows.
    """

    def __init__(self, content: Callable[[int, int], Iterable[str]]) -> None:
        self._content = content
        self._size = (0, 0)
        self._keys = sys.stdin.fileno() if sys.stdin.isatty() else -1
        self._attributes: list[Any] = []
        self._handler: Any = signal.SIG_DFL

    def __enter__(self) -> Self:
        if self._keys >= 0:
            self._attributes = termios.tcgetattr(self._keys)
            # Keys come at once and are not shown; ctrl-C and ctrl-Z are keys like others, so that
            # the terminal is never left as it is now.
            tty.setcbreak(self._keys)
            changed = termios.tcgetattr(self._keys)
            changed[3] &= ~termios.ISIG
            termios.tcsetattr(self._keys, termios.TCSADRAIN, changed)
        self._handler = signal.signal(signal.SIGTERM, _terminated)
        _write(_ENTER)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGTERM, self._handler)
        # Whoever has closed the terminal needs nothing given back.
        with contextlib.suppress(OSError):
            _write(_LEAVE)
        if self._attributes:
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._keys, termios.TCSADRAIN, self._attributes)

    def draw(self) -> None:
        """Show the content of this moment."""
        self._size = size()
        _write(page(self._content(*self._size), *self._size))

    def wait(self, seconds: float) -> str:
        """Return a key that was pressed within *seconds*, "" for none, "q" for all that quit.

        Meanwhile a screen that changes its size is drawn anew.
        """
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if size() != self._size:
                self.draw()
            if self._keys < 0:
                time.sleep(min(left, _POLL))
                continue
            if select.select([self._keys], [], [], min(left, _POLL))[0]:
                pressed = os.read(self._keys, 64).decode(errors="replace")
                # The end of input is that of the terminal; other keys send more than escape.
                if not pressed or pressed in _QUIT:
                    return "q"
                return pressed
        return ""


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _terminated(_number: int, _frame: FrameType | None) -> None:
    sys.exit(_TERMINATED)
