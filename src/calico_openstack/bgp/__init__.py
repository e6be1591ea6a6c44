"""The BGP agent: from the datastore's BGP resources to a running BIRD.

The flow, in the order of the modules::

    etcd ─ state ─ settings, extras ─ peering, origination ─ render (+ filters, stanza, templates)
         ─▶ text of bird.conf
    text ─ install ─ bird -p, rename, configure ─▶ BIRD
    BIRD ─ birdc, birdstatus ─▶ status file, log, metrics; connectivity ─▶ the next rendering
    BIRD ─ birdc, birdstatus, birdroutes ─ nodestatus, reporter ─▶ etcd

Contracts:

* ``state``, ``settings``, ``extras``, ``peering``, ``origination``, ``filters``, ``stanza``,
  ``render``, ``isolation``, ``connectivity``, ``tor``, ``version``, ``replies``, ``birdstatus``,
  ``birdroutes``, ``nodestatus``, ``detection``, ``node`` and ``debounce`` are pure: plain data in,
  plain data out.
* The text of a configuration is a function of the current state of its inputs. Two renders of one
  state are identical to the byte, whatever order the inputs came in.
* What cannot be trusted stays closed: an invalid resource is left out, a session whose password
  or filter cannot be had is disabled with its reason, and a state that says nothing dependable
  about this host (``RefusedError``) keeps the configuration that runs.
* A configuration that BIRD does not accept is never installed.
* BIRD outlives the agent. Only an explicit option of the agent stops it; what replaces a BIRD
  kills it, since an orderly end tells its neighbours to forget this host's routes.
"""
