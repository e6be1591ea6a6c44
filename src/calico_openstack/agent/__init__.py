"""What every agent process shares.

=================  =================================================================
``configuration``  file, environment, and from them how to reach etcd
``command``        the command line of an agent
``mainloop``       the synchronous core loop: queue, timers, descriptors, coalescing
``delta``          desired and actual state, and the difference (pure)
``backoff``        how long to wait before trying again (pure)
``introspection``  questions about the inside of a running agent
``health``         liveness and readiness from progress, and their HTTP server
``metrics``        the Prometheus server, summaries with quantiles
``life_signs``     a sign of life in etcd, for those who watch hosts
``log``            the format of log lines and their sinks
``notify``         readiness and the watchdog, told to systemd
``supervision``    a child process that outlives the agent
=================  =================================================================
"""
