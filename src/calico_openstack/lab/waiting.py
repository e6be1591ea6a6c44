"""Waiting for a condition, with the reason when it does not come."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class NotReadyError(Exception):
    """What was waited for has not come."""


def wait_until(
    condition: Callable[[], T | None],
    what: str,
    *,
    timeout: float,
    interval: float = 0.05,
    reason: Callable[[], str] = lambda: "",
) -> T:
    """Return the first true value of `condition`, asked every `interval` seconds.

    Raises NotReadyError after `timeout` seconds with what was waited for and the reason, asked
    then. Exceptions of `condition` pass.
    """
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            why = reason()
            raise NotReadyError(
                f"{what} did not come within {timeout:g} s" + (f": {why}" if why else "")
            )
        time.sleep(interval)
