"""Felix: programs this host's kernel from the cluster's state in etcd."""
