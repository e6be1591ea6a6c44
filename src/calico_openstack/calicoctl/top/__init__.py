"""``top``: what the cloud does now.

``samples`` turns two answers of a host into rates, ``screen`` into lines (both pure), ``command``
asks and prints.
"""
