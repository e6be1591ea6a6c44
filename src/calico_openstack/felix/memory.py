"""Memory around the first snapshot: many objects that come together and stay for ever."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

# A parameter of mallopt(3), from malloc.h.
_M_ARENA_MAX: Final = -8


def share_memory() -> None:
    """Let all threads allocate from one arena; call it before there are any.

    By default the C library gives each thread its own, and what one thread reads from etcd and
    another releases leaves holes that nobody fills. Other C libraries than glibc may lack the call.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)


@contextmanager
def growing() -> Iterator[None]:
    """Do not look for garbage inside the ``with`` statement, which makes what stays."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def expect_growth() -> None:
    """Do not look for garbage while the snapshot makes objects and none of them dies."""
    gc.disable()


def settle_memory() -> None:
    """Return what the snapshot needed only for a moment, and never again look at what stays.

    Garbage is not looked for a last time: a start makes next to none, and looking at everything
    takes a tenth of a second. The C library keeps freed memory for later use unless it is told to
    give it back, see malloc_trim(3); other C libraries than glibc may lack the call.
    """
    gc.freeze()
    gc.enable()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
