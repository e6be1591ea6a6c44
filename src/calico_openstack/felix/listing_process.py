"""A process that lists the cluster's endpoints while Felix starts.

Most of a start's time goes into reading the endpoints of other hosts, and Python's threads share
one processor. So a second process begins to list and read them at once, while the first one imports
its modules and takes up policies, and hands over what is left of each: see `listing_frames`. It is
made before there is anything that could not be shared, and ends with the listing. Whatever goes
wrong in it, the first process does the rest itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import signal
from typing import Final, NoReturn

# Tens of thousands of endpoints, as the reader has other things to do first. What needs
# CAP_SYS_RESOURCE comes first, then what everybody may have (fs.pipe-max-size).
_PIPE_SIZES: Final = (16 << 20, 1 << 20)


class ListingProcess:
    """A running process, to be ended by the one that made it; *descriptor* is where it writes."""

    def __init__(self, process: int, descriptor: int) -> None:
        self.descriptor = descriptor
        self._process = process

    def end(self) -> None:
        """End it, if it has not ended. May be called again, and by any thread."""
        process, self._process = self._process, 0
        if process:
            # It is already gone where the signals of children are ignored.
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)


def start(config_file: str) -> ListingProcess | None:
    """Begin to list, with Felix's file of settings; None where that is not possible.

    To be called before there are threads.
    """
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    for size in _PIPE_SIZES:
        with contextlib.suppress(OSError):
            fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, size)
            break
    try:
        process = os.fork()
    except OSError:
        os.close(ours)
        os.close(theirs)
        return None
    if not process:
        os.close(ours)
        _work(config_file, theirs)
    os.close(theirs)
    return ListingProcess(process, ours)


def _work(config_file: str, descriptor: int) -> NoReturn:
    """List and write; nothing of what the other process prepares for its own end is done here."""
    try:
        # What is wrong with the settings, or with etcd, is told by the process that stays.
        logging.disable()
        from calico_openstack.felix.listing_work import list_endpoints  # noqa: PLC0415

        list_endpoints(config_file, descriptor)
    finally:
        # Also after an exception, which the other process sees as an end that comes too early.
        os._exit(0)
