"""Annotations: what they may say, and what becomes of the rest."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from calico_openstack.bgp.extras import (
    DEFAULT_RECEIVE_LIMIT,
    DOMAIN,
    NO_EXTRAS,
    Aggregates,
    Bfd,
    Limit,
    boolean,
    extras_of,
)
from tests.unit.bgp.builders import annotated


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("bfd", "100ms/200ms/5", Bfd(100, 200, 5)),
        ("bfd", " 1s / 50ms / 255 ", Bfd(1000, 50, 255)),
        ("bfd", "on", Bfd()),
        ("bfd", "300ms/300ms/3/graceful", Bfd(graceful=True)),
        ("bfd", str(Bfd(100, 200, 5, graceful=True)), Bfd(100, 200, 5, graceful=True)),
        ("bfd", "false", None),
        ("receive_limit", "50000/restart", Limit(50000, "restart")),
        ("receive_limit", "7", Limit(7, "warn")),
        ("export_limit", "2000/block", Limit(2000, "block")),
        ("hold_time", "1m30s", 90),
        ("direct", "true", True),
        ("aggregates", "subnets", Aggregates(subnets=True)),
        (
            "aggregates",
            "203.0.113.9/24, fd65::/48,203.0.113.0/24",
            Aggregates((ip_network("203.0.113.0/24"), ip_network("fd65::/48"))),
        ),
        ("aggregates", "", None),
    ],
)
def test_what_can_be_said(name: str, text: str, value: object) -> None:
    extras, problems = extras_of("BGPPeer p", annotated({name.replace("_", "-"): text}))
    assert problems == ()
    assert getattr(extras, name) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("bfd", "300/300/3"),
        ("bfd", "300ms/300ms/3/"),
        ("bfd", "300ms/300ms/3/hasty"),
        ("bfd", "300ms/300ms"),
        ("bfd", "300ms/300ms/0"),
        ("bfd", "300ms/300ms/256"),
        ("bfd", "1ms/300ms/3"),
        ("bfd", "300ms/2m/3"),
        ("bfd", "maybe"),
        ("receive-limit", "many"),
        ("receive-limit", "0"),
        ("receive-limit", "9/explode"),
        ("export-limit", "2000 block"),
        ("hold-time", "2s"),
        ("hold-time", "24h"),
        ("hold-time", "90"),
        ("direct", "perhaps"),
        ("aggregates", "0.0.0.0/0"),
        ("aggregates", "all"),
        ("aggregates", "10.0.0.0/33"),
    ],
)
def test_what_cannot_be_read_counts_as_absent(name: str, text: str) -> None:
    extras, (problem,) = extras_of("BGPPeer p", annotated({name: text}))
    assert extras == NO_EXTRAS
    assert problem.resource == "BGPPeer p"
    assert problem.field == f"metadata.annotations[{DOMAIN}{name}]"


def test_annotations_of_others_mean_nothing() -> None:
    extras, problems = extras_of("BGPPeer p", {"bfd": "nonsense", DOMAIN + "other": "x"})
    assert (extras, problems) == (NO_EXTRAS, ())
    assert extras.receive_limit == DEFAULT_RECEIVE_LIMIT


def test_one_bad_annotation_leaves_the_others() -> None:
    extras, problems = extras_of("BGPPeer p", annotated({"bfd": "?", "hold-time": "9s"}))
    assert extras.hold_time == 9
    assert len(problems) == 1


def test_booleans() -> None:
    assert boolean(" True ")
    assert not boolean("off")
    with pytest.raises(ValueError, match="neither"):
        boolean("2")
