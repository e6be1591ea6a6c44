"""Local settings: file, environment, host name and etcd's parameters."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from calico_openstack.agent.configuration import (
    ConfigurationError,
    LocalSettings,
    etcd_config,
    host_name,
    read_environment,
    read_file,
)


def test_sections_and_case_are_irrelevant(tmp_path: Path) -> None:
    path = tmp_path / "felix.cfg"
    path.write_text(
        "Bare = 1\n# comment\n; comment\n[global]\nMetadataAddr=192.0.2.1\n[other]\n"
        "INTERFACEPREFIX = tap,cali\nEmpty =\nPercent = 100%(x)s # kept\n[DEFAULT]\nlast: 2\n"
    )
    assert read_file(path) == {
        "bare": "1",
        "metadataaddr": "192.0.2.1",
        "interfaceprefix": "tap,cali",
        "percent": "100%(x)s # kept",
        "last": "2",
    }


def test_missing_file_has_no_settings(tmp_path: Path) -> None:
    assert read_file(tmp_path / "none") == {}


@pytest.mark.parametrize("content", [b"no equals sign", b"[global\na=1", b"a = \xff"])
def test_malformed_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "felix.cfg"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"felix\.cfg"):
        read_file(path)


def test_environment_names_match_in_any_case() -> None:
    variables = {"FELIX_MetadataAddr": "a", "felix_IPV6SUPPORT": "true", "FELIX_X": " ", "PATH": ""}
    assert read_environment(variables, "FELIX_") == {"metadataaddr": "a", "ipv6support": "true"}


def test_more_specific_spelling_of_etcd_parameters_wins() -> None:
    variables = {"ETCD_ENDPOINTS": "a", "ETCD_KEY_FILE": "k"}
    assert read_environment(variables, "FELIX_")["etcdendpoints"] == "a"
    variables["CALICO_ETCD_ENDPOINTS"] = "b"
    assert read_environment(variables, "FELIX_")["etcdendpoints"] == "b"
    variables["FELIX_ETCDENDPOINTS"] = "c"
    assert read_environment(variables, "FELIX_") == {"etcdendpoints": "c", "etcdkeyfile": "k"}


def test_environment_wins_over_file() -> None:
    settings = LocalSettings({"a": "file", "b": "file"}, {"a": "environment"})
    assert (settings.text("A"), settings.text("B"), settings.text("C", "default")) == (
        "environment",
        "file",
        "default",
    )


def test_typed_settings() -> None:
    settings = LocalSettings({"yes": "Y", "no": "FALSE", "n": "7", "s": "1.5", "p": "/x"})
    assert settings.boolean("Yes", False) is True
    assert settings.boolean("No", True) is False
    assert settings.boolean("Other", True) is True
    assert settings.integer("N", 1) == 7
    assert settings.seconds("S", 1) == 1.5
    assert settings.path("P", "/y") == Path("/x")
    for read in (
        lambda: settings.boolean("n", True),
        lambda: settings.integer("yes", 1),
        lambda: settings.integer("n", 1, high=6),
        lambda: settings.seconds("no", 1),
    ):
        with pytest.raises(ConfigurationError):
            read()


def test_host_name() -> None:
    settings = LocalSettings({"felixhostname": "Compute-1"})
    assert host_name(settings, "FelixHostname", "Hostname") == "Compute-1"
    assert host_name(settings, "Hostname") == socket.gethostname().strip().lower()


def test_etcd_parameters(tmp_path: Path) -> None:
    assert etcd_config(LocalSettings()).endpoints == ("http://127.0.0.1:2379",)
    settings = LocalSettings({"etcdscheme": "HTTPS", "etcdaddr": "192.0.2.1:1"})
    assert etcd_config(settings).endpoints == ("https://192.0.2.1:1",)
    ca = tmp_path / "ca.pem"
    ca.write_text("")
    settings = LocalSettings(
        {
            "etcdendpoints": "http://a:1, http://b:2,",
            "etcdaddr": "unused:1",
            "etcdcafile": str(ca),
            "etcdusername": "u",
            "etcdpassword": "p",
        }
    )
    config = etcd_config(settings)
    assert config.endpoints == ("http://a:1", "http://b:2")
    assert (config.ca_file, config.username, config.password) == (str(ca), "u", "p")


@pytest.mark.parametrize(
    "values",
    [{"etcdendpoints": "nonsense:port"}, {"etcdcafile": "/no/such/file"}, {"etcdscheme": "ftp"}],
)
def test_unusable_etcd_parameters_are_refused(values: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError):
        etcd_config(LocalSettings(values))
