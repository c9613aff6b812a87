"""Private keys and certificates in PEM files (RFC 7468), and the matching of keys and certificates."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

_BEGIN = b"-----BEGIN "
_LARGEST = 256 * 1024


class CertificateError(ValueError):
    """A key or certificate can't be used; str() is one line that names the file."""


@dataclass(frozen=True)
class PEMFile:
    """The private keys and certificates of a file, in its order."""

    path: Path
    keys: tuple[PrivateKeyTypes, ...]
    certificates: tuple[x509.Certificate, ...]


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
    for file in files:
        neighbours = [other for other in files if other.path.parent == file.path.parent]
        for key in file.keys:
            for group in ([file], neighbours, files):
                leaf = certificate_of(key, _certificates(group))
                if leaf is not None:
                    owner = next(other for other in group if leaf in other.certificates)
                    issuers = _certificates([owner, *neighbours, *files])
                    found.append(Identity(key, chain_of(leaf, issuers), file.path, owner.path))
                    break
            else:
                problems[file.path] = f"the private key in {file.path} matches no certificate"
    return found, problems


def _certificates(files: Sequence[PEMFile]) -> list[x509.Certificate]:
    return [certificate for file in files for certificate in file.certificates]


def certificate_of(key: PrivateKeyTypes, certificates: Sequence[x509.Certificate]) -> x509.Certificate | None:
    """The certificate for the key; of several, the one that expires last. None if there is none."""
    public = _encoded(key.public_key())
    matching = [certificate for certificate in certificates if _public_key(certificate) == public]
    return max(matching, key=lambda certificate: certificate.not_valid_after_utc, default=None)


def chain_of(leaf: x509.Certificate, others: Sequence[x509.Certificate]) -> tuple[x509.Certificate, ...]:
    """The certificate, that of its issuer, and so on, as far as they are in `others`, whose order doesn't matter.

    A self-signed certificate ends the chain.
    """
    chain = [leaf]
    while chain[-1].issuer != chain[-1].subject:
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
