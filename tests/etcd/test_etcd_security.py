"""Users with passwords and short-lived tokens; TLS with certificates for both sides."""

from __future__ import annotations

import datetime
import ipaddress
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from msgspec.structs import replace

from calico_openstack.etcd import EtcdAuthError, EtcdClient, EtcdConfig, EtcdUnavailable
from tests.support.etcd import EtcdServer
from tests.support.view import watching

TOKEN_LIFETIME = 1


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    """An etcd that demands a user, whose tokens live for a second, and who may use /w/ only."""
    options = (f"--auth-token-ttl={TOKEN_LIFETIME}", "--bcrypt-cost=4")
    server = EtcdServer(tmp_path_factory.mktemp("guarded"), options=options).start()
    server.etcdctl("user", "add", "root:secret")
    server.etcdctl("user", "grant-role", "root", "root")
    server.etcdctl("user", "add", "calico:password")
    server.etcdctl("role", "add", "w")
    server.etcdctl("role", "grant-permission", "w", "--prefix=true", "readwrite", "/w/")
    server.etcdctl("user", "grant-role", "calico", "w")
    server.etcdctl("auth", "enable")
    yield server
    server.stop()


def login(server: EtcdServer, username: str = "calico", password: str = "password") -> EtcdClient:
    return EtcdClient(replace(server.config(), username=username, password=password))


def test_user_is_needed(guarded: EtcdServer) -> None:
    with guarded.client() as client, pytest.raises(EtcdAuthError):
        client.get("/w/a")


def test_wrong_password_is_refused(guarded: EtcdServer) -> None:
    with login(guarded, password="wrong") as client, pytest.raises(EtcdAuthError):
        client.get("/w/a")


def test_only_granted_keys_can_be_used(guarded: EtcdServer) -> None:
    with login(guarded) as client:
        client.put("/w/a", b"1")
        with pytest.raises(EtcdAuthError):
            client.put("/other", b"1")


def test_expired_tokens_are_renewed(guarded: EtcdServer) -> None:
    with login(guarded) as client:
        for number in range(3):
            client.put("/w/a", str(number).encode())
            assert [kv.key for kv in client.get_prefix("/w/").kvs] == ["/w/a"]
            assert client.lease_keep_alive(client.lease_grant(60)) == 60
            time.sleep(TOKEN_LIFETIME + 1.2)  # the server looks for expired ones once a second


def test_watch_comes_back_with_a_new_token_and_resumes(guarded: EtcdServer) -> None:
    with login(guarded) as writer, watching(login(guarded)) as view:
        writer.delete_prefix("/w/")
        view.wait_for({})
        guarded.kill()  # tokens are lost with the server's memory
        view.wait_connected(False)
        guarded.start()
        writer.put("/w/b", b"1")
        view.wait_for({"/w/b": b"1"})
        time.sleep(TOKEN_LIFETIME + 1.2)
        writer.delete("/w/b")
        view.wait_for({})


def test_changed_permissions_make_tokens_old_but_not_useless(guarded: EtcdServer) -> None:
    with login(guarded) as client:
        client.put("/w/a", b"1")
        guarded.etcdctl("--user=root:secret", "role", "add", "another")
        client.put("/w/a", b"2")


def test_user_is_ignored_until_one_is_demanded(tmp_path: Path) -> None:
    server = EtcdServer(tmp_path, options=("--bcrypt-cost=4",)).start()
    with login(server, "root", "secret") as client:
        client.put("/w/a", b"1")
        server.etcdctl("user", "add", "root:secret")
        server.etcdctl("user", "grant-role", "root", "root")
        server.etcdctl("auth", "enable")
        client.put("/w/a", b"2")
    server.stop()


# --- TLS ----------------------------------------------------------------------------------------


class Authority:
    """A certificate authority that writes PEM files into a directory."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        extension = x509.BasicConstraints(ca=True, path_length=None)
        certificate = self._builder(self._name, self._key).add_extension(extension, critical=True)
        self.file = self._write(name, certificate, self._key)[0]

    def issue(self, name: str) -> tuple[str, str]:
        """Return the files of a certificate for 127.0.0.1 and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, name)])
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        extension = x509.SubjectAlternativeName([address])
        certificate = self._builder(subject, key).add_extension(extension, critical=False)
        return self._write(name, certificate, key)

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
        )

    def _write(
        self, name: str, builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey
    ) -> tuple[str, str]:
        certificate = builder.sign(self._key, hashes.SHA256())
        certificate_file = self._directory / f"{name}.pem"
        certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_file = self._directory / f"{name}-key.pem"
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return str(certificate_file), str(key_file)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "ours")


@pytest.fixture(scope="module")
def encrypted(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EtcdServer]:
    """An etcd that talks TLS and demands certificates of its clients."""
    certificate, key = authority.issue("server")
    options = (
        f"--cert-file={certificate}",
        f"--key-file={key}",
        f"--trusted-ca-file={authority.file}",
        "--client-cert-auth",
    )
    directory = tmp_path_factory.mktemp("encrypted")
    server = EtcdServer(directory, scheme="https", options=options).start()
    yield server
    server.stop()


def with_certificate(server: EtcdServer, authority: Authority, trusted: str) -> EtcdConfig:
    certificate, key = authority.issue("client")
    return EtcdConfig(
        (server.endpoint,), ca_file=trusted, cert_file=certificate, key_file=key, timeout=3
    )


def test_certificates_on_both_sides(encrypted: EtcdServer, authority: Authority) -> None:
    config = with_certificate(encrypted, authority, authority.file)
    with EtcdClient(config) as client, watching(EtcdClient(config)) as view:
        client.put("/w/a", b"1")
        view.wait_for({"/w/a": b"1"})


def test_client_without_certificate_is_refused(encrypted: EtcdServer, authority: Authority) -> None:
    config = EtcdConfig((encrypted.endpoint,), ca_file=authority.file, timeout=1)
    with EtcdClient(config) as client, pytest.raises(EtcdUnavailable):
        client.get("/a")


def test_server_of_a_stranger_is_refused(
    encrypted: EtcdServer, authority: Authority, tmp_path: Path
) -> None:
    strange = Authority(tmp_path, "strange")
    config = replace(with_certificate(encrypted, authority, strange.file), timeout=1)
    with EtcdClient(config) as client, pytest.raises(EtcdUnavailable):
        client.get("/a")


def test_missing_file_is_named(encrypted: EtcdServer) -> None:
    config = EtcdConfig((encrypted.endpoint,), ca_file="/no/such/ca.pem", timeout=0.2)
    with EtcdClient(config) as client, pytest.raises(EtcdUnavailable, match=r"no/such/ca\.pem"):
        client.get("/a")
