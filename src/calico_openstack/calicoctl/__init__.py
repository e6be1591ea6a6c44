"""The operator's command: reads and writes resources in etcd as upstream's calicoctl does.

``kinds`` knows names and columns, ``documents`` reads YAML and JSON into resources, ``store`` does
the compare-and-swap writes, ``output`` prints, ``main`` is the command line.
"""
