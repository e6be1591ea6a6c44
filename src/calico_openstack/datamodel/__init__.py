"""What is stored in etcd: typed resources, keys, codec and validation. Pure."""
