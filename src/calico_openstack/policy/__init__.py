"""The meaning of policy: which packets pass, and why. Pure.

- `rules`: policy in evaluated form; `conversion` makes it from stored resources, `ordering` sorts
  tiers and policies.
- `evaluation`: a packet against the policy of one endpoint: verdict with every step to it.
- `passage`: a packet's whole way through a host, with all that is asked on it;
  `host_interfaces`: which host endpoint governs which interface.
- `cluster`: a whole cluster from scratch, for explanations and as the reference in tests.
- `packet`, `addresses`: what is judged.
"""
