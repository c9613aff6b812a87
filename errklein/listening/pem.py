"""Private keys and certificates in PEM files (RFC 7468), and the matching of keys with certificates."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

_CERTIFICATE = re.compile(rb"-----BEGIN (?:X509 )?CERTIFICATE-----")
_END = re.compile(rb"-----END [^-\r\n]+-----")
_LARGEST = 256 * 1024


class CertificateError(ValueError):
    """A key or certificate can't be used. `str()` is one line that names the file."""


@dataclass(frozen=True)
class PEMFile:
    """The first private key and the certificates of a file."""

    path: Path
    key: PrivateKeyTypes | None
    certificates: tuple[x509.Certificate, ...]


_Held = tuple[x509.Certificate, Path]
_Index = Mapping[Hashable, Sequence[_Held]]  # certificates with their files, by public key or subject


@dataclass(frozen=True, eq=False)
class Identity:
    """A private key with its certificate chain, the server's own certificate first."""

    key: PrivateKeyTypes
    chain: tuple[x509.Certificate, ...]
    key_path: Path
    path: Path  # the file with the server's certificate

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
        return self.chain[0].not_valid_after_utc

    def is_valid(self, now: datetime) -> bool:
        return self.chain[0].not_valid_before_utc <= now < self.expires

    def is_expired(self, now: datetime) -> bool:
        return self.expires <= now


def read_pem(path: Path) -> PEMFile:
    """Read the first private key and all certificates of a file. Other PEM blocks are skipped.

    :raises CertificateError: The file can't be read, is too large, or has an invalid key or certificate.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise CertificateError(f"{path} is not a regular file")
        if status.st_size > _LARGEST:
            raise CertificateError(f"{path} is larger than {_LARGEST // 1024} kB")
        text = path.read_bytes()
    except OSError as error:
        raise CertificateError(f"{path} can't be read: {error.strerror}") from None
    # load_pem_x509_certificates ignores a block without an end.
    if text.count(b"-----BEGIN ") != len(_END.findall(text)):
        raise CertificateError(f"{path} is incomplete: a PEM block has no END line")
    return PEMFile(path, _key_in(path, text), _certificates_in(path, text))


def _key_in(path: Path, text: bytes) -> PrivateKeyTypes | None:
    if b"PRIVATE KEY-----" not in text:
        return None
    try:
        # Validating an RSA key blocks the reactor for up to 0.3 s. Other servers don't validate keys either. The match with a
        # certificate is checked below.
        return load_pem_private_key(text, None, unsafe_skip_rsa_key_validation=True)
    except TypeError:
        reason = f"the private key in {path} has a passphrase; remove it, for example with 'openssl pkey'"
    except (ValueError, UnsupportedAlgorithm):
        reason = f"{path} contains an invalid private key"
    raise CertificateError(reason)


def _certificates_in(path: Path, text: bytes) -> tuple[x509.Certificate, ...]:
    if _CERTIFICATE.search(text) is None:
        return ()
    try:
        return tuple(x509.load_pem_x509_certificates(text))
    except ValueError:
        raise CertificateError(f"{path} contains an invalid certificate") from None


def identities(files: Sequence[PEMFile]) -> tuple[list[Identity], dict[Path, str]]:
    """Return each private key with its certificate chain, and an error by file for each key without a certificate. The
    certificate of a key is searched in the same file, then in the same directory, then in all files. Of several
    candidates at one of these places, the one that expires last is used."""
    found = []
    problems = {}
    # Indices avoid comparing all pairs in a directory with a thousand certificates.
    by_key = _index(files, _public_key)
    by_subject = _index(files, lambda certificate: certificate.subject)
    for file in files:
        if file.key is None:
            continue
        candidates = by_key.get(_encode(file.key.public_key()))
        if not candidates:
            problems[file.path] = f"the private key in {file.path} matches no certificate"
            continue
        latest_first = sorted(candidates, key=lambda held: held[0].not_valid_after_utc, reverse=True)
        leaf, path = _nearest_first(file.path, latest_first)[0]
        found.append(Identity(file.key, _chain(leaf, path, by_subject), file.path, path))
    return found, problems


def _index(files: Sequence[PEMFile], of: Callable[[x509.Certificate], Hashable]) -> _Index:
    index: dict[Hashable, list[_Held]] = {}
    for file in files:
        for certificate in file.certificates:
            index.setdefault(of(certificate), []).append((certificate, file.path))
    return index


def _nearest_first(path: Path, held: Sequence[_Held]) -> list[_Held]:
    """Return the certificates in the same file, then those in the same directory, then the others."""
    return sorted(held, key=lambda one: (one[1] != path, one[1].parent != path.parent))


def _chain(leaf: x509.Certificate, path: Path, by_subject: _Index) -> tuple[x509.Certificate, ...]:
    """Return the certificate and those of its issuers, as far as they are known. A self-signed one ends the chain."""
    chain = [leaf]
    while chain[-1].issuer != chain[-1].subject:
        named = _nearest_first(path, by_subject.get(chain[-1].issuer, ()))
        issuer = next((other for other, _ in named if other not in chain and _has_issued(other, chain[-1])), None)
        if issuer is None:
            break
        chain.append(issuer)
    return tuple(chain)


def _has_issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _public_key(certificate: x509.Certificate) -> bytes:
    """Return the public key in DER; empty if its type isn't supported."""
    try:
        return _encode(certificate.public_key())
    except (ValueError, UnsupportedAlgorithm):
        return b""


def _encode(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
