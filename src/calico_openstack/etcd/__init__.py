"""The etcd client: key-value, transactions, leases, snapshot-and-watch.

`EtcdClient` does single requests, `SnapshotWatch` keeps a process up to date about whole prefixes.
The map of the package:

==============  ====================================================================
``config``      how to reach the cluster
``records``     what is read, and what a transaction consists of
``client``      the operations
``session``     which connection and token a call uses; failover
``forks``       keeps calls and forks apart
``connection``  one gRPC channel
``failures``    what a failed call means
``replica``     what is known of a prefix, and the difference to a new listing (pure)
``watch``       list, then watch, then for ever again
``pulse``       signs of life of the peer of a watch
``proto``       generated messages
==============  ====================================================================
"""

from calico_openstack.etcd.client import EtcdClient
from calico_openstack.etcd.config import EtcdConfig
from calico_openstack.etcd.errors import EtcdAuthError, EtcdCompacted, EtcdError, EtcdUnavailable
from calico_openstack.etcd.pages import StoredPage
from calico_openstack.etcd.records import (
    Compare,
    Delete,
    Get,
    KeyValue,
    Put,
    Snapshot,
    Status,
    TxnResult,
    to_text,
    unchanged,
)
from calico_openstack.etcd.replica import Ahead, ListedPage
from calico_openstack.etcd.watch import Batch, SnapshotWatch, Update

__all__ = [
    "Ahead",
    "Batch",
    "Compare",
    "Delete",
    "EtcdAuthError",
    "EtcdClient",
    "EtcdCompacted",
    "EtcdConfig",
    "EtcdError",
    "EtcdUnavailable",
    "Get",
    "KeyValue",
    "ListedPage",
    "Put",
    "Snapshot",
    "SnapshotWatch",
    "Status",
    "StoredPage",
    "TxnResult",
    "Update",
    "to_text",
    "unchanged",
]
