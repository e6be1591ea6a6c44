"""Answering questions about this process, on a socket of the host.

One thread takes one question after the other and hands it to the agent's loop, which is the only
one that may look at its tables. A table that fails spoils its answer and nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import socket
import threading
from collections.abc import Callable
from typing import Final

from calico_openstack.agent.introspection.local import is_trusted, received, socket_name
from calico_openstack.agent.introspection.protocol import (
    LARGEST_QUESTION,
    Answer,
    Question,
    Tables,
    answer,
    decoded_question,
    encoded,
)
from calico_openstack.agent.log import fields

_log = logging.getLogger(__name__)

_LOOP_PATIENCE: Final = 5.0
_PEER_PATIENCE: Final = 5.0
_LARGEST_HERE: Final = 32 << 20


class IntrospectionServer:
    """Answers until closed. *call* has a function called by the thread that owns the *tables*.

    Without its name, which another process has, nothing is answered; the agent works as always.
    """

    def __init__(
        self,
        program: str,
        host: str,
        tables: Tables,
        call: Callable[[Callable[[], None]], None],
    ) -> None:
        self._host = host
        self._tables = tables
        self._call = call
        self._closing = False
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.bind(socket_name(program))
            self._socket.listen(8)
        except OSError as error:
            _log.warning("Nobody can look inside", extra=fields(reason=str(error)))
            self._socket.close()
            return
        thread = threading.Thread(target=self._serve, name="introspection", daemon=True)
        thread.start()

    def close(self) -> None:
        """Answer no more."""
        self._closing = True
        with contextlib.suppress(OSError):
            # What waits in accept(2) comes back by this; closing alone would leave it there.
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                if not self._closing:
                    _log.warning("Nobody can look inside any more", exc_info=True)
                return
            with connection:
                connection.settimeout(_PEER_PATIENCE)
                try:
                    if is_trusted(connection):
                        question = decoded_question(received(connection, LARGEST_QUESTION + 1))
                        connection.sendall(encoded(self._answer(question), _LARGEST_HERE))
                except OSError as error:
                    _log.debug("A question was not answered", extra=fields(reason=str(error)))

    def _answer(self, question: Question | str) -> Answer:
        if isinstance(question, str):
            return Answer(self._host, error=question)
        table = self._tables.get(question.table)
        if table is not None and table.apart:
            return self._safe_answer(question)
        found: queue.SimpleQueue[Answer] = queue.SimpleQueue()
        self._call(lambda: found.put(self._safe_answer(question)))
        try:
            return found.get(timeout=_LOOP_PATIENCE)
        except queue.Empty:
            return Answer(self._host, error=f"is busy: no answer within {_LOOP_PATIENCE:g} s")

    def _safe_answer(self, question: Question) -> Answer:
        try:
            return answer(self._tables, question, self._host)
        except Exception as error:
            # Whoever looks must never harm what is looked at.
            _log.exception("A table cannot be shown", extra=fields(table=question.table))
            return Answer(self._host, error=f"table {question.table}: {error}")
