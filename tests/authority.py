"""A certificate authority for tests, and a TLS client in memory."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Issued:
    """A certificate and its private key."""

    key: Any
    certificate: x509.Certificate

    @property
    def key_pem(self) -> bytes:
        """The key in PEM format."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # type: ignore[no-any-return]

    @property
    def encrypted_key_pem(self) -> bytes:
        """The key in PEM format, with a passphrase."""
        return self.key.private_bytes(  # type: ignore[no-any-return]
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        )

    @property
    def pem(self) -> bytes:
        """The certificate in PEM format."""
        return self.certificate.public_bytes(Encoding.PEM)


def issue(
    *names: str,
    issuer: Issued | None = None,
    key: Any = None,
    subject: str = "",
    days: float = 90,
    begins: float = -1,
    authority: bool = False,
) -> Issued:
    """Return a certificate for the names, signed by its issuer or by itself. Its validity is given in days from now."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject or (names or ("nobody",))[0])])
    now = datetime.now(UTC).replace(microsecond=0)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name if issuer is None else issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins * DAY)
        .not_valid_after(now + days * DAY)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_name(name) for name in names]), critical=False)
    if authority:
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        builder = builder.add_extension(usage, critical=True)
    signer = key if issuer is None else issuer.key
    if issuer is not None:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
        builder = builder.add_extension(identifier, critical=False)
    algorithm = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return Issued(key, builder.sign(signer, algorithm))


def _name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class Authority:
    """A root certificate and an intermediate one, which issues certificates."""

    def __init__(self) -> None:
        self.root = issue(subject="Test Root", authority=True)
        self.intermediate = issue(subject="Test Intermediate", issuer=self.root, authority=True)

    def issue(self, *names: str, **options: Any) -> Issued:
        """Return a certificate for the names; `options` are those of the function `issue`."""
        return issue(*names, issuer=self.intermediate, **options)

    def bundle(self, issued: Issued, *more: Issued) -> bytes:
        """Return a file for `tls:`: the key, the certificate, the intermediate certificate, and further certificates."""
        return b"".join([issued.key_pem, issued.pem, self.intermediate.pem, *(other.pem for other in more)])

    def client(self) -> ssl.SSLContext:
        """Return a TLS context that trusts the root."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self.root.pem.decode())
        return context


class _Echo(Protocol):
    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        self.transport.write(data)


class TLSPair:
    """A client of Python's ssl module that is connected to a server in memory.

    `factory` creates the server's TLS protocol, and `clock` is its clock.
    """

    def __init__(
        self,
        factory: IProtocolFactory,
        clock: Clock,
        context: ssl.SSLContext,
        name: str | None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        self._to_client = ssl.MemoryBIO()
        self._to_server = ssl.MemoryBIO()
        self.client = context.wrap_bio(self._to_client, self._to_server, server_hostname=name, session=session)
        self._clock = clock
        self._server: Any = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        self._transport = StringTransport()
        self._server.makeConnection(self._transport)

    def handshake(self) -> ssl.SSLObject:
        """Complete the handshake; raises ssl.SSLError if the client or the server refuses it."""
        self._repeat(self.client.do_handshake)
        return self.client

    def echo(self, data: bytes) -> bytes:
        """Send bytes and return the server's response."""
        self.client.write(data)
        return self._repeat(lambda: self.client.read(1000))  # type: ignore[no-any-return]

    def _repeat(self, step: Any) -> Any:
        for _ in range(20):
            try:
                return step()
            except ssl.SSLWantReadError:
                self._exchange()
        raise AssertionError("client and server have nothing more to say")

    def _exchange(self) -> None:
        sent = self._to_server.read()
        if sent:
            self._server.dataReceived(sent)
        self._clock.advance(0)
        self._to_client.write(self._transport.value())
        self._transport.clear()
        if self._transport.disconnecting or self._transport.disconnected:
            self._to_client.write_eof()


def connect(
    certificates: IOpenSSLServerConnectionCreator,
    context: ssl.SSLContext,
    name: str | None,
    session: ssl.SSLSession | None = None,
    factory: IProtocolFactory | None = None,
) -> TLSPair:
    """Return a client that is connected to an echo server with the certificates."""
    clock = Clock()
    tls = TLSMemoryBIOFactory(certificates, False, factory or Factory.forProtocol(_Echo), clock=clock)  # type: ignore[arg-type]
    return TLSPair(tls, clock, context, name, session)


def certificate_of(pair: TLSPair) -> x509.Certificate:
    """Return the certificate that the client gets. The client checks the chain, and the name if it requests one."""
    encoded = pair.handshake().getpeercert(binary_form=True)
    assert encoded is not None
    return x509.load_der_x509_certificate(encoded)


def serials(certificates: Sequence[x509.Certificate]) -> list[int]:
    """Return the serial numbers of certificates."""
    return [certificate.serial_number for certificate in certificates]
