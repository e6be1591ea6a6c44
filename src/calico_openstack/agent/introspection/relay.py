"""Questions of other hosts: they come as keys in etcd, and so do the answers go.

No port is open for this. Who may write to etcd may command this host anyhow; who asks needs no
more.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

import msgspec

from calico_openstack.agent.introspection.local import PROGRAMS, ask_here
from calico_openstack.agent.introspection.protocol import (
    Answer,
    Question,
    answer_key,
    decoded_question,
    encoded,
    request_prefix,
)
from calico_openstack.agent.log import fields
from calico_openstack.etcd import Batch, EtcdClient, EtcdError, SnapshotWatch

_log = logging.getLogger(__name__)

# However many ask, this host answers no more often.
_PAUSE: Final = 0.05


class IntrospectionRelay:
    """Answers what is asked of *host* through etcd, one question after the other."""

    def __init__(
        self, client: EtcdClient, host: str, ask: Callable[[Question], Answer] = ask_here
    ) -> None:
        self._client = client
        self._host = host
        self._ask = ask
        self._prefix = request_prefix(host)
        self._watch = SnapshotWatch(client, [self._prefix], self._take)
        self._stopping = threading.Event()

    def start(self) -> None:
        """Begin to answer."""
        self._watch.start()

    def stop(self) -> None:
        """Answer no more."""
        self._stopping.set()
        self._watch.stop()

    def _take(self, batch: Batch) -> None:
        """Answer what came; called by the watch's thread."""
        for update in batch.updates:
            if update.value is None or self._stopping.is_set():
                continue
            try:
                self._answer(update.key)
            except EtcdError as error:
                _log.warning("A question is not answered", extra=fields(reason=str(error)))
            time.sleep(_PAUSE)

    def _answer(self, key: str) -> None:
        asked = self._client.get(key)
        if asked is None or not asked.lease:
            # Nobody waits any more; or the answer would stay for ever.
            return
        question = decoded_question(asked.value)
        if isinstance(question, str):
            found = Answer(error=question)
        elif question.program not in PROGRAMS:
            found = Answer(error=f"'{question.program}' is none of {', '.join(PROGRAMS)}")
        else:
            found = self._ask(question)
        found = msgspec.structs.replace(found, host=self._host)
        self._client.put(answer_key(key.removeprefix(self._prefix)), encoded(found), asked.lease)
