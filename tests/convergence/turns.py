"""Threads of which one runs at a time; who is next is chosen by a seed."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Sequence


class Turns:
    """Runs functions as threads that hand the turn to each other where they call `switch`."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._own = threading.local()
        self._waiting: dict[int, threading.Semaphore] = {}
        self._done = threading.Semaphore(0)
        self._failures: list[BaseException] = []

    def run(self, functions: Sequence[Callable[[], None]]) -> None:
        """Run functions to their ends; raise the first exception that ended one."""
        self._waiting = {number: threading.Semaphore(0) for number in range(len(functions))}
        for number, function in enumerate(functions):
            threading.Thread(target=self._run, args=(number, function), daemon=True).start()
        self._next().release()
        self._done.acquire()
        if self._failures:
            raise self._failures[0]

    def switch(self) -> None:
        """Let somebody else run, or go on; nothing for a thread that takes no turns."""
        number = getattr(self._own, "number", None)
        if number is None:
            return
        own, following = self._waiting[number], self._next()
        if following is not own:
            following.release()
            own.acquire()

    def _run(self, number: int, function: Callable[[], None]) -> None:
        self._own.number = number
        own = self._waiting[number]
        own.acquire()
        try:
            function()
        except BaseException as error:
            self._failures.append(error)
        del self._waiting[number]
        if self._failures or not self._waiting:
            self._done.release()
        else:
            self._next().release()

    def _next(self) -> threading.Semaphore:
        return self._rng.choice(list(self._waiting.values()))
