"""Keys and certificates: reading them, reading them again, and making a first one."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL, crypto
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import (
    IListeningPort,
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.internet.ssl import AcceptableCiphers, CertificateOptions, TLSVersion
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

# Forward secrecy and authenticated encryption only; TLS 1.3 has nothing else (RFC 9325, 4.2).
_CIPHERS = AcceptableCiphers.fromOpenSSLCipherString(
    "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:"
    "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:"
    "ECDHE-RSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
)
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


class CertificateError(ValueError):
    """A key or certificate can't be used; str() is one line."""


@implementer(IOpenSSLServerConnectionCreator)
class ServerCertificate:
    """A key and certificate in files, for new connections. Raises CertificateError if they can't be used or are expired.

    `certificate` may go on with the certificates of its issuers, as may `chain`.
    """

    def __init__(
        self,
        key: Path,
        certificate: Path,
        chain: Path | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._key = key
        self._certificate = certificate
        self._chain = chain
        self._now = now
        self._options, self.expires = self._read()

    def reload(self) -> None:
        """Read the files again; raises CertificateError, and goes on with what was read before, if they are no good."""
        self._options, self.expires = self._read()

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Called by Twisted for each connection."""
        return self._options.serverConnectionForTLS(protocol)

    def _read(self) -> tuple[CertificateOptions, datetime]:
        key_pem = _contents(self._key)
        pems = _PEM.findall(_contents(self._certificate))
        if self._chain is not None:
            pems += _PEM.findall(_contents(self._chain))
        if not pems:
            raise CertificateError(f"{self._certificate} has no certificate in PEM format")
        try:
            certificates = [crypto.load_certificate(crypto.FILETYPE_PEM, pem) for pem in pems]
        except crypto.Error:
            raise CertificateError(f"{self._certificate} has a certificate that can't be read") from None
        expires = certificates[0].to_cryptography().not_valid_after_utc
        if expires <= self._now():
            raise CertificateError(f"{self._certificate} has a certificate that expired on {expires:%Y-%m-%d}")
        try:
            key = crypto.load_privatekey(crypto.FILETYPE_PEM, key_pem, passphrase=b"")
        except (crypto.Error, ValueError, TypeError):
            raise CertificateError(f"{self._key} has no private key in PEM format without a passphrase") from None
        options = CertificateOptions(
            privateKey=key,
            certificate=certificates[0],
            extraCertChain=certificates[1:],
            raiseMinimumTo=TLSVersion.TLSv1_2,
            acceptableCiphers=_CIPHERS,
        )
        try:
            options.getContext().check_privatekey()
        except SSL.Error:
            raise CertificateError(f"the key in {self._key} isn't that of {self._certificate}") from None
        return options, expires


@implementer(IStreamServerEndpoint)
class TLSEndpoint:
    """Takes TLS connections at a port, with the certificate as it is then.

    Twisted's own endpoint would have small writes wait for a turn of the process's reactor, which may be another one than
    this, as in tests, and may not run.
    """

    def __init__(
        self, reactor: Any, port: int, certificate: ServerCertificate, backlog: int = 50, interface: str = ""
    ) -> None:
        self._reactor = reactor
        self._port = port
        self._certificate = certificate
        self._backlog = backlog
        self._interface = interface

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Begin to take connections."""
        factory = TLSMemoryBIOFactory(self._certificate, False, protocolFactory, clock=self._reactor)
        return maybeDeferred(self._reactor.listenTCP, self._port, factory, self._backlog, self._interface)


def _contents(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(f"{path} can't be read: {error.strerror}") from None


def generate_certificate(hosts: Sequence[str], key_path: Path, certificate_path: Path) -> None:
    """Write a new key and a certificate for it, signed by itself, for 365 days.

    `hosts` are the names and addresses under which the server is reached; localhost is always among them. Files that
    exist are replaced; the key can be read by its owner alone.
    """
    names: list[str] = list(dict.fromkeys((*hosts, "localhost", "127.0.0.1", "::1")))
    key = ec.generate_private_key(ec.SECP256R1())
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
        .sign(key, hashes.SHA256())
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(key_path, key_pem, 0o600)
    _write(certificate_path, certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(path: Path, contents: bytes, mode: int) -> None:
    """Replace the file in one step, never readable by others than `mode` says."""
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(contents)
    unfinished.replace(path)
