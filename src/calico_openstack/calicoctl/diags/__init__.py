"""``node diags`` and ``cluster diags``: an archive for whoever looks into a fault elsewhere.

``redaction`` takes secrets out of text (pure), ``archive`` writes what is collected, ``host`` and
``tables`` collect from this host and from agents, ``cluster`` from etcd. Whatever fails leaves a
line in the archive and ends nothing.
"""
