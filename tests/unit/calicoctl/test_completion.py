"""What the shell is told to complete."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from calico_openstack.calicoctl.main import cli


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("calicoctl pa", ["patch"]),
        ("calicoctl datastore migrate l", ["lock"]),
        ("calicoctl get workl", ["workloadendpoints"]),
        ("calicoctl patch globalnetworkp", ["globalnetworkpolicies"]),
        ("calicoctl explain a b --fail", ["--fail-if-refused"]),
    ],
)
def test_commands_and_kinds_are_completed(words: str, completed: list[str]) -> None:
    environment = {
        "_CALICOCTL_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    result = CliRunner().invoke(cli, prog_name="calicoctl", env=environment)
    assert result.output.split() == [f"plain,{word}" for word in completed]
