"""What happens to a request while etcd does not work.

The database is the truth and stays it: the request succeeds. What it could not write to etcd is
written by a resynchronisation, which runs when ``neutron-periodic-workers`` regains its
connection to etcd and at an interval. Until then a new port does not become ACTIVE, because
nothing was programmed for it, which Nova and users see.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from oslo_log import log

from calico_openstack.etcd import EtcdError

LOG = log.getLogger(__name__)


@contextmanager
def left_to_resync(subject: str) -> Iterator[None]:
    """Log that ``subject`` could not be written instead of raising `EtcdError`."""
    try:
        yield
    except EtcdError as error:
        LOG.error("etcd does not have %s, the next resynchronisation will: %s", subject, error)
