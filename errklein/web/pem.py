"""Private keys and certificates in PEM files (RFC 7468), and the matching of keys and certificates."""

from __future__ import annotations

import stat
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

_BEGIN = b"-----BEGIN "
_LARGEST = 256 * 1024

K = TypeVar("K", bound=Hashable)


class CertificateError(ValueError):
    """A key or certificate can't be used; str() is one line that names the file."""


@dataclass(frozen=True)
class PEMFile:
    """The private keys and certificates of a file, in its order."""

    path: Path
    keys: tuple[PrivateKeyTypes, ...]
    certificates: tuple[x509.Certificate, ...]


_Held = tuple[PEMFile, x509.Certificate]


@dataclass(frozen=True)
class Identity:
    """A private key with its certificate chain, the server's own certificate first."""

    key: PrivateKeyTypes
    chain: tuple[x509.Certificate, ...]
    key_path: Path
    path: Path
    """The file with the server's certificate."""

    @cached_property
    def names(self) -> frozenset[str]:
        """The DNS names of the certificate (subjectAltName) in lower case; wildcards as `*.example.org`."""
        try:
            names = self.chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
            return frozenset()
        return frozenset(name.lower() for name in names.get_values_for_type(x509.DNSName))

    @property
    def expires(self) -> datetime:
        """The end of the certificate's validity."""
        return self.chain[0].not_valid_after_utc

    @property
    def paths(self) -> tuple[Path, Path]:
        """The files of the key and of the certificate."""
        return self.key_path, self.path

    def is_valid(self, now: datetime) -> bool:
        """Whether the certificate's validity has begun and not ended."""
        return self.chain[0].not_valid_before_utc <= now < self.expires

    def is_expired(self, now: datetime) -> bool:
        """Whether the certificate's validity has ended."""
        return self.expires <= now


def read_pem(path: Path) -> PEMFile:
    """The keys and certificates of a file; blocks of other kinds are skipped. Raises CertificateError."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise CertificateError(f"{path} is not a regular file")
        if status.st_size > _LARGEST:
            raise CertificateError(f"{path} is larger than {_LARGEST // 1024} kB")
        text = path.read_bytes()
    except OSError as error:
        raise CertificateError(f"{path} can't be read: {error.strerror}") from None
    keys: list[PrivateKeyTypes] = []
    certificates: list[x509.Certificate] = []
    for label, block in _blocks(path, text):
        if label in (b"CERTIFICATE", b"X509 CERTIFICATE"):
            try:
                certificates.append(x509.load_pem_x509_certificate(block))
            except ValueError:
                raise CertificateError(f"{path} has a certificate that can't be read") from None
        elif label.endswith(b"PRIVATE KEY"):
            try:
                # Validating an RSA key blocks the reactor for up to 0.3 s. Other servers don't validate keys either;
                # whether the key matches a certificate is checked below.
                keys.append(load_pem_private_key(block, None, unsafe_skip_rsa_key_validation=True))
            except TypeError:
                raise CertificateError(
                    f"the private key in {path} has a passphrase; remove it, for example with openssl pkey"
                ) from None
            except (ValueError, UnsupportedAlgorithm):
                raise CertificateError(f"{path} has a private key that can't be read") from None
    return PEMFile(path, tuple(keys), tuple(certificates))


def _blocks(path: Path, text: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The PEM blocks in a text, each with its label. Raises CertificateError if one has no end."""
    for part in text.split(_BEGIN)[1:]:
        label, separator, _ = part.partition(b"-----")
        end = b"-----END " + label + b"-----"
        at = part.find(end)
        if not separator or at < 0:
            raise CertificateError(f"{path} is incomplete: a PEM block has no END line")
        yield label, _BEGIN + part[: at + len(end)] + b"\n"


def identities(files: Sequence[PEMFile]) -> tuple[list[Identity], dict[Path, str]]:
    """Each private key with its certificate, and a problem by file for each key without one.

    The certificate is searched in the same file, then in the same directory, then in all files.
    """
    found = []
    problems = {}
    # Indices, since in a directory with a thousand certificates each pair can't be looked at.
    by_key = _indexed(files, _public_key)
    by_subject = _indexed(files, lambda certificate: certificate.subject)
    for file in files:
        for key in file.keys:
            candidates = sorted(by_key.get(_encoded(key.public_key()), ()), key=lambda held: _distance(file, held[0]))
            if not candidates:
                problems[file.path] = f"the private key in {file.path} matches no certificate"
                continue
            nearest = _distance(file, candidates[0][0])
            leaf, owner = max(
                ((certificate, other) for other, certificate in candidates if _distance(file, other) == nearest),
                key=lambda held: held[0].not_valid_after_utc,
            )

            def issuers(subject: x509.Name, file: PEMFile = file, owner: PEMFile = owner) -> list[x509.Certificate]:
                held = by_subject.get(subject, ())
                nearest_first = sorted(held, key=lambda one: 0 if one[0] is owner else 1 + _distance(file, one[0]))
                return [certificate for _, certificate in nearest_first]

            found.append(Identity(key, _chain(leaf, issuers), file.path, owner.path))
    return found, problems


def _indexed(files: Sequence[PEMFile], of: Callable[[x509.Certificate], K]) -> dict[K, list[_Held]]:
    """The certificates by what `of` returns for them, each with its file."""
    index: dict[K, list[_Held]] = {}
    for file in files:
        for certificate in file.certificates:
            index.setdefault(of(certificate), []).append((file, certificate))
    return index


def _distance(file: PEMFile, other: PEMFile) -> int:
    """0 for the same file, 1 for one in the same directory, 2 for others."""
    return 0 if other is file else 1 if other.path.parent == file.path.parent else 2


def certificate_of(key: PrivateKeyTypes, certificates: Sequence[x509.Certificate]) -> x509.Certificate | None:
    """The certificate for the key; of several, the one that expires last. None if there is none."""
    public = _encoded(key.public_key())
    matching = [certificate for certificate in certificates if _public_key(certificate) == public]
    return max(matching, key=lambda certificate: certificate.not_valid_after_utc, default=None)


def chain_of(leaf: x509.Certificate, others: Sequence[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """The certificate, that of its issuer, and so on, as far as they are in `others`, whose order doesn't matter.

    A self-signed certificate ends the chain.
    """
    return _chain(leaf, lambda subject: [other for other in others if other.subject == subject])


def _chain(
    leaf: x509.Certificate, named: Callable[[x509.Name], Sequence[x509.Certificate]]
) -> tuple[x509.Certificate, ...]:
    """As `chain_of`; `named` returns the certificates of a subject."""
    chain = [leaf]
    while chain[-1].issuer != chain[-1].subject:
        others = named(chain[-1].issuer)
        issuer = next((other for other in others if other not in chain and _has_issued(other, chain[-1])), None)
        if issuer is None:
            break
        chain.append(issuer)
    return tuple(chain)


def _has_issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    if issuer.subject != certificate.issuer:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _public_key(certificate: x509.Certificate) -> bytes:
    """The public key in DER; empty if it is of a kind that can't be used."""
    try:
        return _encoded(certificate.public_key())
    except (ValueError, UnsupportedAlgorithm):
        return b""


def _encoded(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
