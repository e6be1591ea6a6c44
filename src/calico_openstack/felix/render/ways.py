"""The points on a packet's way where policy decides, and what its answers become there.

The same rules are asked at several hooks, and "allow" means something else at each: the packet has
arrived, or the other end is to be asked, or it is not to be tracked. So a policy has a chain for
each *form* of the answer that is in use, and a class of endpoints one for each *way*.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from calico_openstack.felix.render import names
from calico_openstack.felix.render.nft import ACCEPT, RETURN, Verdict, VerdictKind
from calico_openstack.policy.packet import Direction


class Form(Struct, frozen=True):
    """How the rules of one direction answer.

    *name* begins the names of the chains. *allowed* is what becomes of a packet that is allowed;
    with *marks* the class chain does that, to packets that come back from the policy's chain with
    the mark for it. With *counts* rules only count what they would do. Where *rejects* is false,
    denied packets are dropped silently: the kernel cannot answer there.
    """

    name: str
    direction: Direction
    allowed: Verdict = ACCEPT
    marks: bool = False
    counts: bool = False
    rejects: bool = True


class Way(Struct, frozen=True):
    """A point where policy decides.

    *undecided* is what becomes of packets that no tier decides; None: the profiles decide, and deny
    in the end.
    """

    name: str
    form: Form
    undecided: Verdict | None = None

    @property
    def direction(self) -> Direction:
        """The direction as the endpoint sees it."""
        return self.form.direction


def _goto(chain: str) -> Verdict:
    return Verdict(VerdictKind.GOTO, chain)


_IN = Form("in", Direction.INGRESS)
_HOST_OUT = Form("host-out", Direction.EGRESS)

STAGED: Final = {
    Direction.INGRESS: Form("staged-in", Direction.INGRESS, RETURN, counts=True),
    Direction.EGRESS: Form("staged-out", Direction.EGRESS, RETURN, counts=True),
}
"""What staged policies do, wherever they stand."""

WORKLOAD: Final = {
    Direction.INGRESS: Way("in", _IN),
    Direction.EGRESS: Way(
        "out", Form("out", Direction.EGRESS, _goto(names.EGRESS_ALLOWED), marks=True)
    ),
}
"""To and from workloads. What they may send goes back to where the class chain was jumped to."""

HOST: Final = {
    Direction.INGRESS: WORKLOAD[Direction.INGRESS],
    Direction.EGRESS: Way("host-out", _HOST_OUT),
}
"""To and from the host itself."""

FORWARD: Final = {
    Direction.INGRESS: Way(
        "forward-in",
        Form("forward-in", Direction.INGRESS, _goto(names.FORWARDED_FROM_HOST)),
        _goto(names.FORWARDED_FROM_HOST),
    ),
    Direction.EGRESS: Way("forward-out", _HOST_OUT, ACCEPT),
}
"""Through an interface of the host, to or from somebody else."""

PRE_DNAT: Final = Way(
    "pre-dnat",
    Form("pre-dnat", Direction.INGRESS, _goto(names.PRE_DNAT_ALLOWED), rejects=False),
    ACCEPT,
)
"""Into an interface of the host, before the destination is translated."""

UNTRACKED: Final = {
    Direction.INGRESS: Way(
        "untracked-in",
        Form("untracked-in", Direction.INGRESS, _goto(names.UNTRACKED_ALLOWED), rejects=False),
        ACCEPT,
    ),
    Direction.EGRESS: Way(
        "untracked-out",
        Form("untracked-out", Direction.EGRESS, _goto(names.UNTRACKED_ALLOWED), rejects=False),
        ACCEPT,
    ),
}
"""Through an interface of the host, before connections are tracked."""
