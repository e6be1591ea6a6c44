"""What operators are told when a command fails says what they can do."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from calico_openstack.calicoctl import failures


def test_a_wrong_command_line_leads_to_the_right_one() -> None:
    known = ("get", "explain", "trace")
    told = failures.of_usage("No such command 'explan'.", "calicoctl", known)
    assert told == "No such command 'explan'. Did you mean 'explain'?"
    told = failures.of_usage("No such command 'zzz'.", "calicoctl", known)
    assert told.endswith("See calicoctl --help.")
    told = failures.of_usage("No such option '--x'.", "calicoctl get", known)
    assert told == "No such option '--x'. See calicoctl get --help."


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("127.0.0.1:2379: cannot connect", "See whether it runs there"),
        ("a:2379: [Errno 2] No such file or directory: '/ca.pem'", "Correct the file"),
    ],
)
def test_etcd_that_is_away_is_told_with_what_to_look_at(reason: str, words: str) -> None:
    told = failures.of_etcd(reason, "/etc/calico/calicoctl.cfg")
    assert reason in told
    assert words in told
    assert "/etc/calico/calicoctl.cfg" in told


@pytest.mark.parametrize(
    ("host", "reason", "root", "words"),
    [
        ("", "calico-felix does not run on this host", True, "systemctl start calico-felix"),
        ("", "the answer is none", False, "sudo calicoctl show"),
        ("", "is busy", True, "calico-felix of this host: is busy"),
        ("compute-1", "no answer", False, "calico-felix of compute-1: no answer"),
    ],
)
def test_an_agent_that_does_not_answer(host: str, reason: str, root: bool, words: str) -> None:
    assert words in failures.of_agent("calico-felix", host, reason, root=root)


def test_files_are_named_with_the_systems_words() -> None:
    error = FileNotFoundError(2, "No such file or directory", "/x")
    assert failures.of_file("/x", error) == "cannot read /x: No such file or directory"


@pytest.mark.parametrize("traced", [False, True])
def test_nobody_sees_a_stack_trace_who_does_not_ask_for_one(traced: bool) -> None:
    program = (
        "import sys; sys.argv = ['calicoctl', 'version', '--client']\n"
        "from calico_openstack.calicoctl import main\n"
        "main.calico_openstack = None\n"
        "main.main()"
    )
    environment = {**os.environ, "CALICOCTL_TRACEBACK": "1" if traced else ""}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 1
    assert ("Traceback" in done.stderr) == traced
    assert ("calicoctl failed: AttributeError" in done.stderr) != traced
