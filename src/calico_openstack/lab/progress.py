"""What a command tells while it works: one line per step with its time.

On a terminal the running step is shown with a spinner and results have colours; through a pipe
the same lines come out plain, each when its step has ended.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status
from rich.text import Text

# Tables keep their columns when they go to a file or another program.
PIPE_WIDTH = 200


def output() -> Console:
    """The console of a command: the terminal's width and colours, or plain and wide."""
    return Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH)


class Progress:
    """Steps of one command, also of several threads of it.

    Times are seconds: since the command began, and of the step.
    """

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self.console = console
        self._quiet = quiet
        self._begin = time.monotonic()
        self._lock = threading.Lock()
        self._running: list[str] = []
        self._spinner: Status | None = None

    @property
    def elapsed(self) -> float:
        """Seconds since the command began."""
        return time.monotonic() - self._begin

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Time a step; when it raises, say that it failed and let the exception pass."""
        begin = time.monotonic()
        self._show(title, running=True)
        try:
            yield
        except BaseException:
            self._show(title, running=False)
            self._line("✗", "red", title, time.monotonic() - begin)
            raise
        self._show(title, running=False)
        self._line("✓", "green", title, time.monotonic() - begin)

    def note(self, text: str) -> None:
        """Say something that is not a step."""
        if not self._quiet:
            self.console.print(f"    {text}", highlight=False, soft_wrap=True)

    def _show(self, title: str, *, running: bool) -> None:
        """Keep the spinner, of which a terminal has only one, at the steps that run."""
        with self._lock:
            if running:
                self._running.append(title)
            else:
                self._running.remove(title)
            if self._quiet or not self.console.is_terminal:
                return
            text = Text(", ".join(f"{title} …" for title in self._running), overflow="ellipsis")
            if self._spinner is None:
                self._spinner = self.console.status(text)
                self._spinner.start()
            elif self._running:
                self._spinner.update(text)
            else:
                self._spinner.stop()
                self._spinner = None

    def _line(self, mark: str, style: str, title: str, seconds: float) -> None:
        if self._quiet:
            return
        line = Text.assemble(
            (f"{mark} ", style),
            (f"{self.elapsed:6.1f} s  ", "dim"),
            title,
            (f"  ({seconds:.1f} s)", "dim"),
        )
        self.console.print(line)
