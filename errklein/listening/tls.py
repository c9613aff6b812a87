"""TLS endpoints, and self-signed certificates for them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from twisted.internet.endpoints import TCP4ServerEndpoint

from errklein.listening._certificates import CertificateDirectory, CertificateFiles, CertificateStore


def tls_endpoint(
    reactor: Any, kind: str, arguments: Mapping[str, str]
) -> tuple[TCP4ServerEndpoint, CertificateStore]:
    """Return the endpoint and the certificates for an `ssl:` or `tls:` description.

    The arguments and their defaults are Twisted's.

    Relative paths are resolved against the current directory immediately.

    :param kind: "ssl" or "tls".
    :param arguments: The arguments of the description by name.
    :raises ValueError: An argument is missing, unknown or invalid.
    :raises CertificateError: No certificate can be used.
    """
    left = {"backlog": "50", "interface": "", **arguments}
    source: CertificateDirectory | CertificateFiles
    if kind == "tls":
        if "path" not in left:
            raise ValueError(
                "'path' is missing, the directory of the certificates, as in tls:path=/etc/errklein/tls:port=8443"
            )
        left = {"port": "443", **left, "interface": arguments.get("interface", "::")}
        source = CertificateDirectory(Path(left.pop("path")).absolute())
    else:
        if "port" not in left:
            raise ValueError("'port' is missing, as in ssl:port=8443:privateKey=/etc/errklein/server.pem")
        key = left.pop("privateKey", "server.pem")
        chain = left.pop("extraCertChain", None)
        source = CertificateFiles(
            Path(key).absolute(),
            Path(left.pop("certKey", key)).absolute(),
            None if chain is None else Path(chain).absolute(),
        )
    port, backlog, interface = int(left.pop("port")), int(left.pop("backlog")), left.pop("interface")
    if left:
        raise ValueError(f"{kind}: has no argument {min(left)}")
    return TCP4ServerEndpoint(reactor, port, backlog, interface), CertificateStore(source)


def generate_certificate(hosts: Sequence[str], key_path: Path, certificate_path: Path) -> None:
    """Write a new private key and a self-signed certificate, which is valid for 365 days.

    Existing files are replaced. Only the owner can read the key.

    :param hosts: The host names and addresses of the server. localhost and its addresses are added.
    """
    names: list[str] = list(dict.fromkeys((*hosts, "localhost", "127.0.0.1", "::1")))
    key = generate_private_key(SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:64])])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, SHA256())
    )
    _write(key_path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    _write(certificate_path, certificate.public_bytes(Encoding.PEM), 0o644)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(path: Path, contents: bytes, mode: int) -> None:
    """Replace the file atomically, with the permissions `mode` from the beginning."""
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.unlink(missing_ok=True)
    with open(unfinished, "xb", opener=partial(os.open, mode=mode)) as file:
        file.write(contents)
    unfinished.replace(path)
