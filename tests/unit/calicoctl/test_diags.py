"""What ends up in an archive for whoever looks into a fault, and what must not."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from calico_openstack.agent.introspection.protocol import Answer, Question
from calico_openstack.calicoctl.diags.archive import Archive
from calico_openstack.calicoctl.diags.host import collect_files, output_of, recent_files
from calico_openstack.calicoctl.diags.redaction import redacted
from calico_openstack.calicoctl.diags.tables import collect_tables
from calico_openstack.calicoctl.main import cli
from calico_openstack.calicoctl.store import StoreError

SECRET = "S3cr,t-x{y}"
# A secret that could not be told from what stands around it would prove nothing.
secrets = st.text(
    st.characters(exclude_categories=("C", "Z"), exclude_characters="SECRT"), min_size=6
).map(lambda text: f"q7Z{text}")
names = st.sampled_from([
    "password", "etcdPassword", "admin_password", "memcache_secret_key", "auth_token",
    "metadata_proxy_shared_secret", "transport_url", "MetadataSecret", "private_key_passphrase",
])  # fmt: skip


@given(names, secrets)
def test_no_secret_survives_in_any_syntax(name: str, secret: str) -> None:
    member = {name: secret, "host": "compute-1"}
    inner = json.dumps(member)
    for text in (
        f"[section]\n{name} = {secret}\nhost = compute-1\n",
        f"{name}={secret}\nhost = compute-1",
        yaml.safe_dump({"spec": member}, allow_unicode=True, width=10_000),
        json.dumps(member),
        json.dumps(member, indent=2, ensure_ascii=False),
        json.dumps({"annotations": {"projectcalico.org/metadata": inner}}),
        yaml.safe_dump({"annotation": inner}, allow_unicode=True, width=10_000),
    ):
        shown = redacted(text)
        assert "compute-1" in shown or text.startswith("annotation")
        assert secret not in shown
        assert json.dumps(secret)[1:-1] not in shown


@pytest.mark.parametrize(
    "text",
    [
        f'neighbor 10.0.0.1 as 64512;\n  password "{SECRET}";\n',
        f"connection = mysql+pymysql://neutron:{SECRET}@db/neutron",
        f"rabbit://u:{SECRET}@one:5672,u:{SECRET}@two:5672/",
        f"sh -c client --password {SECRET} --host h",
        f"X-Auth-Token: {SECRET}\n",
        f"spec:\n  password: |\n    {SECRET}\n    {SECRET}\n",
        f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----",
        f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n",
    ],
)
def test_known_places_of_secrets_are_emptied(text: str) -> None:
    assert SECRET not in redacted(text)


@pytest.mark.parametrize(
    "text",
    [
        "etcd_key_file = /etc/calico/key.pem",
        '{"secretKeyRef": {"name": "bgp", "key": "rr"}}',
        "auth_type = password",
        "max_connections = 10",
        "etcdEndpoints: http://127.0.0.1:2379\nnode: compute-1\n",
        "10.65.0.2 dev tap1f0c4a5e proto 80 metric 1024",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redacted(text) == text


def _files(path: Path) -> dict[str, str]:
    with tarfile.open(path) as tar:
        return {
            member.name.partition("/")[2]: (tar.extractfile(member) or io.BytesIO()).read().decode()
            for member in tar
        }


def test_an_archive_is_its_owners_and_replaces_nothing(tmp_path: Path) -> None:
    path = tmp_path / "diags.tar.gz"
    with Archive(path, print) as archive:
        archive.add("a/b", f"password = {SECRET}")
    assert path.stat().st_mode & 0o777 == 0o600
    assert _files(path) == {"a/b": "password = REDACTED"}
    with pytest.raises(StoreError, match="--output-dir"):
        Archive(path, print)


def test_settings_are_taken_and_secrets_left(tmp_path: Path) -> None:
    for name in ("etc/felix.cfg", "etc/ca.pem", "etc/bgp-secrets/rr.conf", "etc/gone.cfg"):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    (tmp_path / "etc/gone.cfg").unlink()
    (tmp_path / "etc/gone.cfg").symlink_to("nowhere")
    with Archive(tmp_path / "d.tar.gz", print) as archive:
        collect_files(archive, [tmp_path / "etc", tmp_path / "no"], "files", any_name=False)
    assert list(_files(tmp_path / "d.tar.gz").values()) == ["etc/felix.cfg"]


def test_recent_logs_are_taken_the_newest_first(tmp_path: Path) -> None:
    for name, written in (("old", 10), ("b", 200), ("c", 300), ("a", 100)):
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, (written, written))
    assert [file.name for file in recent_files(tmp_path, 50, 2)] == ["c", "b"]
    assert [file.name for file in recent_files(tmp_path, 150, 9)] == ["c", "b"]
    assert recent_files(tmp_path / "none", 0, 9) == []


@pytest.mark.parametrize("words", [("--since", "soon"), ("--since", "0s"), ("--max-logs", "-1")])
def test_limits_that_are_none_are_refused(words: tuple[str, str]) -> None:
    for group in ("node", "cluster"):
        refused = CliRunner().invoke(cli, [group, "diags", *words])
        assert refused.exit_code != 0
        assert words[1] in refused.output


def test_a_program_that_fails_or_is_absent_says_so() -> None:
    assert "is not installed" in output_of(["no-such-program-here"])
    assert "exit status 3" in output_of(["sh", "-c", "echo out; exit 3"])
    assert output_of(["echo", "out"]) == "# echo out\nout\n"


def test_tables_that_would_trace_packets_are_not_asked(tmp_path: Path) -> None:
    asked: list[str] = []

    def ask(questions: Sequence[tuple[str, Question]]) -> list[Answer]:
        answers = []
        for _, question in questions:
            asked.append(question.table)
            if question.program != "calico-felix":
                answers.append(Answer(error="does not run on this host"))
            elif question.table:
                answers.append(Answer(rows=({"route": "10.0.0.1/32"},), total=2))
            else:
                rows = tuple({"table": name} for name in ("routes", "drops", "trace"))
                answers.append(Answer(rows=rows, total=3))
        return answers

    with Archive(tmp_path / "d.tar.gz", print) as archive:
        collect_tables(archive, ["one"], ask, "hosts")
    files = _files(tmp_path / "d.tar.gz")
    assert set(asked) == {"", "routes"}
    assert files["hosts/one/calico-dhcp-agent/error"] == "does not run on this host\n"
    assert "10.0.0.1/32" in files["hosts/one/calico-felix/routes"]
    assert "1 rows are left out" in files["hosts/one/calico-felix/routes"]
