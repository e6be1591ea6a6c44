"""``plan``: what a change of policy would do to whom, before it is made.

``proposals`` turns what an operator would do into changed resources. ``world`` answers what policy
decides in one state of all resources, ``alike`` groups ends about which policy cannot tell a
difference, ``probes`` says which packets are worth asking about, ``comparison`` asks about them
before and after. ``command`` is the command.
"""
