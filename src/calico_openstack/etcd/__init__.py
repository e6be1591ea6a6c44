"""The etcd client: key-value, transactions, leases, snapshot-and-watch."""
