"""The BGP agent: BIRD's configuration from etcd."""
