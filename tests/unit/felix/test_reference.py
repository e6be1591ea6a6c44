"""The operator's page about Felix says what the code does."""

from __future__ import annotations

from pathlib import Path

from calico_openstack.felix.reference import reference

PAGE = Path(__file__).parents[3] / "docs" / "felix-reference.md"


def test_the_page_is_what_the_code_says() -> None:
    assert PAGE.read_text() == reference(), (
        "make it anew: python -m calico_openstack.felix.reference > docs/felix-reference.md"
    )
