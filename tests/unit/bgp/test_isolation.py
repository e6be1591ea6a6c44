"""Objects that only BIRD itself finds fault with."""

from __future__ import annotations

from collections.abc import Mapping

from calico_openstack.bgp.isolation import culprit, render_accepted
from calico_openstack.bgp.render import Rendered, render
from calico_openstack.bgp.stanza import HostOptions
from tests.unit.bgp.builders import nodes, peer, state_of
from tests.unit.bgp.test_filters import EVERYTHING

STATE = state_of(
    *nodes(),
    EVERYTHING,
    peer("a", peer_ip="10.0.0.50", as_number=1),
    peer("b", peer_ip="10.0.0.51", as_number=1, filters=("every.thing",)),
)


def rendering(excluded: Mapping[str, str]) -> Rendered:
    return render(STATE, "n2", {}, HostOptions(), excluded)


def complain_about(word: str) -> str:
    """Return a complaint in BIRD's words about the line that holds *word*, if there is one."""
    for number, line in enumerate(rendering({}).text.splitlines(), start=1):
        if word in line:
            return f"bird: /x/bird.conf:{number}:18 Not allowed"
    raise AssertionError(word)


def test_a_line_leads_to_its_owner() -> None:
    text = rendering({}).text
    assert culprit(text, complain_about("neighbor 10.0.0.50")) == (
        "Global_10_0_0_50",
        "Not allowed",
    )
    symbol = "'bgp_every.thing_importFilterV4'"
    assert culprit(text, complain_about("10.0.0.0/8{8,30}")) == (symbol, "Not allowed")
    assert culprit(text, complain_about("router id")) is None
    assert culprit(text, "bird: cannot be started") is None


def test_the_end_of_a_stanza_belongs_to_it() -> None:
    text = "protocol bgp A from t {\n  x;\n}\n\nprotocol bgp B from t {\n}\n"
    assert culprit(text, "f:3:1 Remote AS number must be set") == (
        "A",
        "Remote AS number must be set",
    )


def test_only_what_is_refused_is_left_out() -> None:
    refused = ("Global_10_0_0_50", "'bgp_every.thing_exportFilterV6'")

    def check(text: str) -> str:
        for number, line in enumerate(text.splitlines(), start=1):
            if any(line.startswith((f"protocol bgp {n} ", f"function {n}")) for n in refused):
                return f"bird: /x/bird.conf:{number}:1 Not allowed"
        return ""

    result = render_accepted(rendering, check)
    disabled = {session.name: session.disabled for session in result.sessions if session.disabled}
    assert disabled["Global_10_0_0_50"] == "BIRD refuses it: Not allowed"
    assert "every.thing" in disabled["Global_10_0_0_51"]
    assert len(disabled) == 2
    assert "protocol bgp Mesh_10_0_0_3 " in result.text
    assert "protocol bgp Global_10_0_0_50 " not in result.text


def test_a_fault_of_everybody_is_given_back() -> None:
    assert render_accepted(rendering, lambda _: "no idea").text == rendering({}).text
    assert render_accepted(rendering, lambda _: "f:5:1 no").text == rendering({}).text
