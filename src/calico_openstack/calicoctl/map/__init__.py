"""``map``: hosts, peers, networks and workloads as a picture.

``chart`` says what is in it, ``terminal`` and ``svg`` draw it (all pure), ``command`` reads etcd
and asks the hosts.
"""
