"""The operator's command: reads and writes resources in etcd as upstream's calicoctl does.

``main`` is the command line and ``command_line`` what its commands share. ``reading``, ``writing``,
``editing``, ``datastore``, ``node``, ``explaining`` and ``showing`` hold the commands and are
imported when they are used, as are ``dropping`` and ``tracing``; ``doctor`` and ``plan`` are
packages of their own. ``kinds`` knows names and columns,
``documents`` reads YAML and JSON into resources, ``store`` does the compare-and-swap writes,
``output`` prints, ``excerpt`` reads what matters to two ends, ``asking`` asks running agents and
``kernels`` makes something of their answers. ``patches``, ``labelling``, ``ends``, ``explanation``,
``treatment``, ``picture`` and ``wording`` decide on plain data.
"""
